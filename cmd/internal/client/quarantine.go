package client

import (
	"context"
	"net/http"
	"net/url"

	"tenks/cmd/internal/api"
)

// Quarantine returns the nodes whose disks this host keeps although the mesh has them
// elsewhere.
func (c *Client) Quarantine(ctx context.Context) (v []api.Quarantined, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/quarantine", nil, &v)
	return v, err
}

// DeleteQuarantined deletes the disks of one of them, by name or UUID.
func (c *Client) DeleteQuarantined(ctx context.Context, name string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/quarantine/"+url.PathEscape(name), nil, nil)
	return err
}

// ClearHost removes all of the mesh's nodes and links that are on this host, which must be
// the peer with that ID.
func (c *Client) ClearHost(ctx context.Context, peer string, force bool) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/clear", api.ClearRequest{Peer: peer, Force: force}, nil)
	return err
}
