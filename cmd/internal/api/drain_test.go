package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

// A drain of a peer that nodes are pinned to says so at once, instead of waiting for ever.
func TestDrainAsksAboutPinnedNodes(t *testing.T) {
	store := state.New()
	if err := store.Load(state.Dump{Index: 5, Peers: []*state.Peer{{ID: "p1", Name: "hv1"}}, Hypervisors: []*state.Hypervisor{{ID: "p1", Name: "hv1"}},
		Nodes: []*state.Node{{UUID: "u1", Name: "tk0", LinkName: "tk0", Cluster: "demo", Pin: "p1", Placement: &state.Placement{Hypervisor: "p1"}}}}); err != nil {
		t.Fatal(err)
	}
	index := uint64(5)
	s := New(Config{Source: store, Propose: func(_ context.Context, _ string, c state.Command) (uint64, error) {
		index++
		return index, store.Apply(index, state.Envelope{Command: c})
	}})
	drain := func(draining bool, body string) error {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.SetPathValue("name", "hv1")
		return s.drainPeer(draining)(httptest.NewRecorder(), r)
	}
	for _, c := range []struct {
		draining bool
		body     string
		refused  bool
		pin      string
	}{{true, `{}`, true, "p1"}, {false, `{}`, false, "p1"}, {true, `{"ignore_pins":true}`, false, ""}} {
		err := drain(c.draining, c.body)
		if errors.Is(err, state.ErrRefused) != c.refused || c.refused && (!strings.Contains(err.Error(), "tk0") || !strings.Contains(err.Error(), "--ignore-pins")) {
			t.Errorf("drain %t %s: %v", c.draining, c.body, err)
		}
		snap, _ := store.Snapshot()
		n, _ := snap.Node("u1")
		if p, _ := snap.Peer("p1"); p.Draining != (c.draining && !c.refused) || n.Pin != c.pin {
			t.Errorf("drain %t %s: draining %t, pinned to %q", c.draining, c.body, p.Draining, n.Pin)
		}
	}
}
