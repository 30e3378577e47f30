package client

import (
	"context"
	"net/http"
	"net/url"

	"tenks/cmd/internal/api"
)

// Faults returns the faults of BMCs that were declared.
func (c *Client) Faults(ctx context.Context) (v []api.Fault, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/faults", nil, &v)
	return v, err
}

// AddFault declares a fault of BMCs.
func (c *Client) AddFault(ctx context.Context, r api.FaultRequest) (v api.Fault, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/faults", r, &v)
	return v, err
}

// ClearFault ends a fault.
func (c *Client) ClearFault(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/faults/"+url.PathEscape(id), nil, nil)
	return err
}

// ClearFaults ends all faults.
func (c *Client) ClearFaults(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/faults", nil, nil)
	return err
}

// Audit says whether every request to a node's BMC is noted.
func (c *Client) Audit(ctx context.Context, node string, r api.AuditRequest) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/audit", r, nil)
	return err
}

// Recover has a node taken out of a failed state in Ironic, once more.
func (c *Client) Recover(ctx context.Context, node string) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/recover", nil, nil)
	return err
}
