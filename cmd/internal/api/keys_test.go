package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// ring is a KeyRing that notes what it is asked for.
type ring struct {
	asked []string
	err   error
}

func (r *ring) Keys(context.Context) (api.Keys, error) {
	return api.Keys{Gossip: []api.GossipKey{{ID: "g1", State: api.KeyInUse, Waiting: []string{}}},
		Authorities: []api.Authority{{Pin: "a1", State: api.KeyInUse, Waiting: []string{}}}}, r.err
}

func (r *ring) RotateGossipKey(_ context.Context, req api.RotateRequest) error {
	r.asked = append(r.asked, fmt.Sprint("gossip ", req.Force))
	return r.err
}

func (r *ring) RotateAuthority(_ context.Context, req api.RotateRequest) error {
	r.asked = append(r.asked, fmt.Sprint("authority ", req.Force))
	return r.err
}

func TestKeysAreRotatedOnDemand(t *testing.T) {
	w := newWorld(t)
	if got := w.call(http.MethodGet, "/v1/keys", nil); got.status != http.StatusOK || !strings.Contains(got.body, `"id":"g1"`) {
		t.Errorf("keys: %d %s", got.status, got.body)
	}
	for _, c := range []struct {
		path string
		body any
	}{
		{"/v1/keys/gossip/rotate", nil},
		{"/v1/keys/gossip/rotate", api.RotateRequest{Force: true}},
		{"/v1/keys/authority/rotate", api.RotateRequest{Force: true}},
	} {
		if got := w.call(http.MethodPost, c.path, c.body); got.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", c.path, got.status, got.body)
		}
	}
	if got, want := fmt.Sprint(w.ring.asked), "[gossip false gossip true authority true]"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	w.ring.err = fmt.Errorf("one is under way: %w", state.ErrWrongState)
	if got := w.call(http.MethodPost, "/v1/keys/gossip/rotate", nil); got.status != http.StatusConflict || !strings.Contains(got.body, "under way") {
		t.Errorf("a second one: %d %s", got.status, got.body)
	}
}
