package daemon

import (
	"testing"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/raftfsm"
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

func TestAPeerSignsOnceItsStateIsWholeAndNotOfAPart(t *testing.T) {
	const mesh = "0d5c8a3e-8b86-4d01-b42d-00cf4fc96401"
	authority, err := pki.NewAuthority(mesh, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key := authority.PEM()
	whole := state.New()
	for i, c := range []state.Command{
		state.SetMesh{Mesh: state.Mesh{ID: mesh, Name: "m", Generation: 1}},
		state.PutKeys{Keys: state.Keys{Authorities: []state.Authority{{CertPEM: cert, KeyPEM: state.NewSecret(string(key))}},
			Gossip: []state.GossipKey{{ID: "first", Key: state.NewSecret("0123456789abcdef0123456789abcdef")}}}},
		state.PutPeer{Peer: state.Peer{ID: "one", Name: "one"}},
	} {
		if err := whole.Apply(uint64(i+1), state.Envelope{UnixMilli: 1, Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	snap, _ := whole.Snapshot()
	replica := raftfsm.NewReplica()
	if err := replica.Apply(raftfsm.PartOf(snap, "one", 0)); err != nil {
		t.Fatal(err)
	}
	v := &views{source: replica}
	for _, step := range []struct {
		name  string
		signs bool
	}{{"a part", false}, {"the whole state", true}, {"a part again", false}} {
		if v.source = replica; step.signs {
			v.source = whole
		}
		view := v.view()
		if signs := view.Authority != nil; signs != step.signs || len(view.Roots) != 1 {
			t.Errorf("%s: it signs %t, want %t; it trusts %d authorities, want 1", step.name, signs, step.signs, len(view.Roots))
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
