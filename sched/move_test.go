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
	pin := func(host string) func(*state.Node) { return func(n *state.Node) { n.Pin = host } }
	found := func(n *state.Node) {
		n.Origin = &state.Origin{Hypervisor: "a", Volumes: []state.OriginVolume{{Path: "/tk0vol0", Format: "qcow2"}}}
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
		"not if it is pinned to where it is": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b")},
			[]*state.Node{node("n1", on("a", 6230), pin("a"))}, []string{"n1"}, "n1 refused"},
		"to where it is pinned to": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b"), hypervisor("c")},
			[]*state.Node{node("n1", on("a", 6230), pin("c"))}, []string{"n1"}, "n1=c:6230"},
		"wherever it was found": {
			[]*state.Hypervisor{hypervisor("a"), hypervisor("b")},
			[]*state.Node{node("n1", on("a", 6230), found)}, []string{"n1"}, "n1=b:6230"},
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

func TestWhatIsPinnedSaysSo(t *testing.T) {
	pinned := func(n *state.Node) { n.Pin = "a" }
	hosts := []*state.Hypervisor{hypervisor("a"), hypervisor("b")}
	n := node("n1", on("a", 6230), pinned)
	r := Move(load(t, hosts, []*state.Node{n}), []*state.Node{n})
	if want := "node n1 is pinned to host-a by specs.nodes.hypervisor: tenks peer drain --ignore-pins host-a moves it"; len(r.Refusals) != 1 || r.Refusals[0].Reason != want {
		t.Errorf("%+v, want %q", r, want)
	}
	for name, c := range map[string]struct {
		peer *state.Peer
		want string
	}{
		"to one that drains":  {&state.Peer{ID: "a", Name: "host-a", Draining: true}, "host-a: peer: is draining (specs.nodes.hypervisor pins it there)"},
		"to one that is lost": {&state.Peer{ID: "a", Name: "host-a", Lost: true}, "host-a: peer: is lost (specs.nodes.hypervisor pins it there)"},
		"to one that left":    {&state.Peer{ID: "z", Name: "host-z", Removed: true}, "host-z is not in the mesh, and specs.nodes.hypervisor pins it there"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Place(load(t, hosts, []*state.Node{node("n1", func(n *state.Node) { n.Pin = c.peer.ID })}, c.peer), nil)
			if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Reason, c.want) {
				t.Errorf("%+v, want %q", r, c.want)
			}
		})
	}
}
