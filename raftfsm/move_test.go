package raftfsm

import (
	"testing"

	"tenks/raftfsm/state"
)

func TestReplicasFollowAMove(t *testing.T) {
	f := newFeed(t)
	replicas := map[string]*Replica{"h1": NewReplica(), "h2": NewReplica(), "h3": NewReplica()}
	sync := func() {
		t.Helper()
		for h, r := range replicas {
			now, _ := r.Snapshot()
			if err := r.Apply(PartOf(f.snap(), h, now.Index())); err != nil {
				t.Fatal(err)
			}
		}
	}
	// as says what each hypervisor knows of the node: nothing, where it is, all of it.
	as := func(h string) string {
		snap, _ := replicas[h].Snapshot()
		n, ok := snap.Node("u1")
		switch {
		case !ok:
			return "nothing"
		case n.Machine.Driver == "" && n.Gone(h):
			return "delete it"
		case n.Machine.Driver == "":
			return "elsewhere"
		case n.Placement.Hypervisor == h && n.Moving():
			return "leaving"
		case n.Placement.Hypervisor == h:
			return "here"
		case n.Moving() && n.Move.To == h:
			return "coming"
		}
		return "too much"
	}
	f.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Create: []state.Node{{UUID: "u1", Name: "tk0", Cluster: "demo",
		LinkName: "tk0", Machine: state.Machine{Driver: "fake"}, Ports: []state.Port{{MAC: "52:54:00:00:00:01"}}}}})
	f.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "u1", Hypervisor: "h1", BMC: state.Endpoint{Address: "a", Port: 1}}}})
	start := func(to string, port int) state.Command {
		n, _ := f.snap().Node("u1")
		return state.StartMoves{Moves: []state.NodeMove{{UUID: "u1", Epoch: n.Placement.Epoch, To: to, BMC: state.Endpoint{Address: "a", Port: port}}}}
	}
	now := func() uint64 { n, _ := f.snap().Node("u1"); return n.Move.Start }
	for _, tt := range []struct {
		what       string
		do         func() state.Command
		h1, h2, h3 string
	}{
		{"started", func() state.Command { return start("h2", 2) }, "leaving", "coming", "nothing"},
		{"half done", func() state.Command {
			return state.ReportMoves{Hypervisor: "h2", Moves: []state.MoveReport{{UUID: "u1", Start: now(), Done: 1, Total: 2}}}
		}, "leaving", "coming", "nothing"},
		{"cancelled", func() state.Command {
			return state.CancelMoves{Moves: []state.MoveCancel{{UUID: "u1", Start: now(), Reason: "enough"}}}
		}, "here", "delete it", "nothing"},
		{"not to where it is to be deleted", func() state.Command { return start("h2", 2) }, "here", "delete it", "nothing"},
		{"deleted", func() state.Command { return state.ReportDiscarded{Hypervisor: "h2", Nodes: []string{"u1"}} }, "here", "nothing", "nothing"},
		{"started again", func() state.Command { return start("h3", 2) }, "leaving", "nothing", "coming"},
		{"finished", func() state.Command { return state.FinishMove{UUID: "u1", Start: now()} }, "delete it", "nothing", "here"},
		{"deleted again", func() state.Command { return state.ReportDiscarded{Hypervisor: "h1", Nodes: []string{"u1"}} }, "nothing", "nothing", "here"},
		{"back", func() state.Command { return start("h1", 1) }, "coming", "nothing", "leaving"},
		{"removed", func() state.Command { return state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: "u1"}}} }, "delete it", "nothing", "here"},
	} {
		f.apply(tt.do())
		sync()
		if got := [3]string{as("h1"), as("h2"), as("h3")}; got != [3]string{tt.h1, tt.h2, tt.h3} {
			t.Errorf("%s: h1, h2, h3 know %q, want %q", tt.what, got, [3]string{tt.h1, tt.h2, tt.h3})
		}
	}
}
