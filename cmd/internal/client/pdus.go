package client

import (
	"context"
	"net/http"
	"net/url"

	"tenks/cmd/internal/api"
)

// PDUs returns the PDUs and their outlets.
func (c *Client) PDUs(ctx context.Context) (v []api.PDU, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/pdus", nil, &v)
	return v, err
}

// Outlet switches a node's outlet: on, off, reboot.
func (c *Client) Outlet(ctx context.Context, node, command string) (v api.Chassis, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/outlet", api.OutletRequest{Command: command}, &v)
	return v, err
}
