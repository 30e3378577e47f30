package client

import (
	"context"
	"io"
	"net/http"
)

// Freshness says which state Backup is of.
type Freshness int

// The choices.
const (
	// Current has everything that was acknowledged before.
	Current Freshness = iota
	// Stale is what the agent has, for a mesh without a leader.
	Stale
)

// Backup returns the whole state as a file, which ends with a checksum. The caller
// closes it.
func (c *Client) Backup(ctx context.Context, f Freshness) (io.ReadCloser, error) {
	path := "/v1/backup"
	if f == Stale {
		path += "?stale=true"
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
