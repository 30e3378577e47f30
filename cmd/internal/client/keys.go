package client

import (
	"context"
	"net/http"

	"tenks/cmd/internal/api"
)

// Keys returns gossip keys and authorities.
func (c *Client) Keys(ctx context.Context) (v api.Keys, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/keys", nil, &v)
	return v, err
}

// RotateGossipKey begins to replace the gossip key.
func (c *Client) RotateGossipKey(ctx context.Context, r api.RotateRequest) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/keys/gossip/rotate", r, nil)
	return err
}

// RotateAuthority begins to replace the certificate authority.
func (c *Client) RotateAuthority(ctx context.Context, r api.RotateRequest) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/keys/authority/rotate", r, nil)
	return err
}
