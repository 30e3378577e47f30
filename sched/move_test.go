package sched

import (
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

func TestMove(t *testing.T) {
	past := func(hosts ...string) func(*state.Node) { return func(n *state.Node) { n.Past = hosts } }
	to := func(host string, port int) func(*state.Node) {
		return func(n *state.Node) {
			n.Move = &state.Move{To: host, BMC: state.Endpoint{Address: "192.0.2.1", Port: port}}
		}
	}
	byZone := func(n *state.Node) { n.Constraints.Spread = "zone" }
	draining := &state.Peer{ID: "a", Name: "host-a", Draining: true}
	small := func(h *state.Hypervisor) { h.Capacity.MemoryMB = 1024 }
	for name, tt := range map[string]struct {
		hosts []*state.Hypervisor
		nodes []*state.Node
		move  []string
		want  string
	}{
		"to where there are fewest of its spec": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b"), hypervisor("c")},
			[]*state.Node{node("n1", on("a", 6230)), node("n2", on("b", 6230))}, []string{"n1"}, "n1=c:6230"},
		"one after the other": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b"), hypervisor("c")},
			[]*state.Node{node("n1", on("a", 6230)), node("n2", on("a", 6231))}, []string{"n1", "n2"}, "n1=b:6230 n2=c:6231"},
		"not to a port that is promised": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b")},
			[]*state.Node{node("n1", on("a", 6230), to("b", 6230)), node("n2", on("a", 6231))}, []string{"n2"}, "n2=b:6231"},
		"not to memory that is promised": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b", small)},
			[]*state.Node{node("n1", on("a", 6230), to("b", 6230)), node("n2", on("a", 6231))}, []string{"n2"}, "n2 refused"},
		"not to where it was": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b"), hypervisor("c")},
			[]*state.Node{node("n1", on("a", 6230), past("b"))}, []string{"n1"}, "n1=c:6230"},
		"its zone is free once it has left": {
			[]*state.Hypervisor{hypervisor("a", zone("z1")), hypervisor("b", zone("z1")), hypervisor("c", zone("z2"))},
			[]*state.Node{node("n1", on("a", 6230), byZone), node("n2", on("c", 6230), byZone)}, []string{"n1"}, "n1=b:6230"},
		"over Redfish, without a port": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b", func(h *state.Hypervisor) { h.Redfish, h.BMC = 8000, state.PortRange{} })},
			[]*state.Node{node("n1", on("a", 6230), redfish)}, []string{"n1"}, "n1=b:0"},
		"nowhere": {[]*state.Hypervisor{hypervisor("a")}, []*state.Node{node("n1", on("a", 6230))}, []string{"n1"}, "n1 refused"},
	} {
		t.Run(name, func(t *testing.T) {
			snap := load(t, tt.hosts, tt.nodes, draining)
			var nodes []*state.Node
			for _, name := range tt.move {
				n, _ := snap.NodeByName(name)
				nodes = append(nodes, n)
			}
			if got := show(snap, nil, Move(snap, nodes)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMoveSaysWhyNot(t *testing.T) {
	n := node("n1", on("a", 6230), func(n *state.Node) { n.Past, n.Machine.MemoryMB = []string{"b"}, 1<<20 })
	r := Move(load(t, []*state.Hypervisor{hypervisor("a"), hypervisor("b"), hypervisor("c")}, []*state.Node{n}), []*state.Node{n})
	if len(r.Refusals) != 1 {
		t.Fatalf("got %+v", r)
	}
	for _, want := range []string{"no other hypervisor can take node n1", "host-c: memory: needs 1048576 MiB", "host-b: has something left"} {
		if !strings.Contains(r.Refusals[0].Reason, want) {
			t.Errorf("reason %q, want one with %q", r.Refusals[0].Reason, want)
		}
	}
	if strings.Contains(r.Refusals[0].Reason, "host-a") {
		t.Errorf("reason %q names where it is", r.Refusals[0].Reason)
	}
}
