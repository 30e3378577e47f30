package client

import (
	"context"
	"net/http"
	"net/url"

	"tenks/cmd/internal/api"
)

// Peer returns one peer, by name or ID.
func (c *Client) Peer(ctx context.Context, name string) (v api.Peer, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/peers/"+url.PathEscape(name), nil, &v)
	return v, err
}

// ChangePeer asks for drain, undrain, leave or declare-lost.
func (c *Client) ChangePeer(ctx context.Context, name, change string) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/peers/"+url.PathEscape(name)+"/"+change, nil, nil)
	return err
}

// DrainPeer asks for a peer's nodes to move away.
func (c *Client) DrainPeer(ctx context.Context, name string, r api.DrainRequest) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/peers/"+url.PathEscape(name)+"/drain", r, nil)
	return err
}

// RemovePeer removes a peer from the mesh.
func (c *Client) RemovePeer(ctx context.Context, name string, r api.PeerRequest) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/peers/"+url.PathEscape(name), r, nil)
	return err
}

// Tokens returns the join tokens.
func (c *Client) Tokens(ctx context.Context) (v []api.Token, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/tokens", nil, &v)
	return v, err
}

// CreateToken makes a join token.
func (c *Client) CreateToken(ctx context.Context, r api.TokenRequest) (v api.Token, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/tokens", r, &v)
	return v, err
}

// RevokeToken makes a join token useless.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil)
	return err
}

// Raft returns who follows the log.
func (c *Client) Raft(ctx context.Context) (v []api.RaftPeer, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/raft", nil, &v)
	return v, err
}

// TransferLeader hands leadership to a voter, by name; empty: to any.
func (c *Client) TransferLeader(ctx context.Context, peer string) (v []api.RaftPeer, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/raft/transfer", api.TransferRequest{Peer: peer}, &v)
	return v, err
}
