package api

import (
	"context"
	"net/http"
)

// KeyRing is what peers of the mesh recognise each other by.
type KeyRing interface {
	// Keys says what there is, and what a rotation that is under way waits for.
	Keys(ctx context.Context) (Keys, error)
	// RotateGossipKey begins to replace the gossip key. With Force the rotation, also one
	// that is under way, does not wait for lost peers.
	RotateGossipKey(ctx context.Context, r RotateRequest) error
	// RotateAuthority is the same for the authority that signs certificates.
	RotateAuthority(ctx context.Context, r RotateRequest) error
}

// What a key is.
const (
	KeyInUse  = "in use"
	KeyComing = "coming"
	KeyGoing  = "going"
)

// Keys are what peers recognise each other by. It holds no secret.
type Keys struct {
	Gossip      []GossipKey `json:"gossip"`
	Authorities []Authority `json:"authorities"`
	// Lost are the peers that are lost while keys change.
	Lost []string `json:"lost,omitempty"`
}

// GossipKey is one row of "gossip-key list -o json".
type GossipKey struct {
	// ID is a hash of the key.
	ID string `json:"id"`
	// State is in use, coming (accepted, and used once all accept it) or going.
	State string `json:"state"`
	Added string `json:"added,omitempty"`
	// Waiting are the peers that the next step waits for.
	Waiting []string `json:"waiting"`
}

// Authority is one row of "ca list -o json".
type Authority struct {
	// Pin is the SHA-256 of its key: what tokens name it by.
	Pin     string   `json:"pin"`
	State   string   `json:"state"`
	Added   string   `json:"added,omitempty"`
	Expires string   `json:"expires"`
	Waiting []string `json:"waiting"`
}

// RotateRequest asks for a new key.
type RotateRequest struct {
	Force bool `json:"force,omitempty"`
}

func (s *Server) keyRoutes() []route {
	return []route{
		{"GET", "/v1/keys", "gossip keys and authorities, and what a rotation waits for", s.keys},
		{"POST", "/v1/keys/gossip/rotate", "replace the gossip key", s.rotate(KeyRing.RotateGossipKey)},
		{"POST", "/v1/keys/authority/rotate", "replace the certificate authority", s.rotate(KeyRing.RotateAuthority)},
	}
}

func (s *Server) keys(w http.ResponseWriter, r *http.Request) error {
	k, err := s.KeyRing.Keys(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, k)
	return nil
}

func (s *Server) rotate(do func(KeyRing, context.Context, RotateRequest) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var req RotateRequest
		if err := readJSON(r, &req); err != nil {
			return err
		}
		if err := do(s.KeyRing, r.Context(), req); err != nil {
			return err
		}
		writeJSON(w, http.StatusAccepted, struct{}{})
		return nil
	}
}
