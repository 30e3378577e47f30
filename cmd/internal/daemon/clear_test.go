package daemon

import (
	"errors"
	"testing"

	"tenks/raftfsm/state"
)

// A node may come while its host leaves: a move that was under way ends. It is not deleted with
// what is to be cleared unless somebody said so.
func TestAHostIsNotClearedOfNodesThatNobodyGaveUp(t *testing.T) {
	at := func(host string) *state.Placement { return &state.Placement{Hypervisor: host, Epoch: 5} }
	for name, tt := range map[string]struct {
		nodes   []*state.Node
		kept    int
		refused bool
	}{
		"nothing":             {nodes: []*state.Node{{UUID: "u", Name: "tk0", LinkName: "tk0", Cluster: "c", Placement: at("p2")}}},
		"a node":              {nodes: []*state.Node{{UUID: "u", Name: "tk0", LinkName: "tk0", Cluster: "c", Placement: at("p1")}}, refused: true},
		"one that moves here": {nodes: []*state.Node{{UUID: "u", Name: "tk0", LinkName: "tk0", Cluster: "c", Placement: at("p2"), Move: &state.Move{To: "p1", Start: 6}}}, refused: true},
		"disks in quarantine": {kept: 1, refused: true},
		"one that moves away": {nodes: []*state.Node{{UUID: "u", Name: "tk0", LinkName: "tk0", Cluster: "c", Placement: at("p1"), Move: &state.Move{To: "p2", Start: 6}}}, refused: true},
		"one that moved away": {nodes: []*state.Node{{UUID: "u", Name: "tk0", LinkName: "tk0", Cluster: "c", Placement: at("p2"), Discard: []string{"p1"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			store := state.New()
			if err := store.Load(state.Dump{Index: 9, Nodes: tt.nodes}); err != nil {
				t.Fatal(err)
			}
			snap, _ := store.Snapshot()
			if err := mayClear(snap, "p1", tt.kept); errors.Is(err, state.ErrRefused) != tt.refused {
				t.Errorf("error %v, want refused: %v", err, tt.refused)
			}
		})
	}
}
