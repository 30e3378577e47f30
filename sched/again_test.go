package sched

import (
	"testing"

	"tenks/raftfsm/state"
)

func TestANodeThatIsPlacedAgainKeepsItsPortWhereThatIsFree(t *testing.T) {
	was := func(port int) func(*state.Node) {
		return func(n *state.Node) {
			n.LastPlacement = &state.Placement{Hypervisor: "z", Epoch: 1, BMC: state.Endpoint{Address: "192.0.2.9", Port: port}}
		}
	}
	for name, tt := range map[string]struct {
		nodes []*state.Node
		want  string
	}{
		"free":              {[]*state.Node{node("n1", was(6234)), node("n2")}, "n1=a:6234 n2=a:6230"},
		"taken":             {[]*state.Node{node("n1", on("a", 6234)), node("n2", was(6234))}, "n2=a:6230"},
		"wanted by two":     {[]*state.Node{node("n1", was(6231)), node("n2", was(6231))}, "n1=a:6231 n2=a:6230"},
		"over Redfish":      {[]*state.Node{node("n1", was(6234), redfish), node("n2", redfish)}, "n1=a:0 n2=a:0"},
		"outside the range": {[]*state.Node{node("n1", was(7000)), node("n2", was(0))}, "n1=a:6230 n2=a:6231"},
	} {
		snap := load(t, []*state.Hypervisor{hypervisor("a", func(h *state.Hypervisor) { h.Redfish = 8000 })}, tt.nodes)
		if got := show(snap, nil, Place(snap, nil)); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
