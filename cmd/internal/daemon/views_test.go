package daemon

import (
	"testing"

	"tenks/cluster"
	"tenks/raftfsm/state"
)

func TestAViewIsMadeAnewWhenPeersChangeAndNotForNodes(t *testing.T) {
	s := state.New()
	v := &views{source: s}
	index := uint64(0)
	apply := func(c state.Command) {
		t.Helper()
		index++
		if err := s.Apply(index, state.Envelope{UnixMilli: 1, Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	node := state.Node{UUID: "n1", Name: "tk0", Cluster: "demo", LinkName: "l1"}
	place := state.NodePlacement{UUID: "n1", Hypervisor: "one", BMC: state.Endpoint{Address: "127.0.0.1", Port: 6230}}
	for _, step := range []struct {
		change state.Command
		anew   bool
		barred bool
	}{
		{state.SetMesh{Mesh: state.Mesh{ID: "m", Name: "m", Generation: 1}}, true, false},
		{state.PutPeer{Peer: state.Peer{ID: "one", Name: "one"}}, true, false},
		{state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "one"}}, false, false},
		{state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Create: []state.Node{node}}, false, false},
		{state.PlaceNodes{Placements: []state.NodePlacement{place}}, false, false},
		{state.DrainPeer{ID: "one", Draining: true}, true, false},
		{state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: "n1", Epoch: 5}}}, true, true}, // the last node left; placed at index 5
		{state.DrainPeer{ID: "one"}, true, false},
		{state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "one", Name: "one"}}, false, false},
	} {
		before := v.view()
		apply(step.change)
		now := v.view()
		if made := !sameMap(before.ByID, now.ByID); made != step.anew {
			t.Errorf("after %T %+v: made anew %t, want %t", step.change, step.change, made, step.anew)
		}
		if p := now.ByID["one"]; p.Barred != step.barred {
			t.Errorf("after %T: barred %t, want %t", step.change, p.Barred, step.barred)
		}
		if len(now.ByID) != len(now.Peers) {
			t.Errorf("after %T: %d peers, %d of them by ID", step.change, len(now.Peers), len(now.ByID))
		}
	}
}

// sameMap reports whether both are one map: what is written to one shows in the other.
func sameMap(a, b map[string]cluster.Peer) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	a["probe"] = cluster.Peer{}
	_, same := b["probe"]
	delete(a, "probe")
	return same
}
