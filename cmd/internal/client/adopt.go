package client

import (
	"context"
	"net/http"

	"tenks/cmd/internal/api"
)

// Adopt takes over nodes that another tool made.
func (c *Client) Adopt(ctx context.Context, r api.AdoptRequest) (v api.Plan, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/adopt", r, &v)
	return v, err
}
