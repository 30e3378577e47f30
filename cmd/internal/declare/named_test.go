package declare

import (
	"slices"
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

func named(nodes ...state.NamedNode) func(*state.Cluster) {
	return func(c *state.Cluster) { c.Specs[0].Nodes = nodes }
}

func TestNamedNodesAreMadeFirstAndKeepWhatTheyHad(t *testing.T) {
	m := newMesh(t)
	const uuid = "0e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11"
	want := demo(3, named(state.NamedNode{Name: "tk1", UUID: uuid, Hypervisor: "hv1", BMCPort: 6235}, state.NamedNode{Name: "old"}))
	p := m.do(want)
	if got, want := summary(p), []string{"create tk1", "create old", "create tk0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	n, ok := m.snap().NodeByName("tk1")
	if !ok || n.UUID != uuid || n.Origin == nil || n.Pinned() != "hv1" || n.Origin.BMCPort != 6235 {
		t.Errorf("tk1: %+v", n)
	}
	if n, _ := m.snap().NodeByName("old"); n.Origin != nil || n.UUID == "" {
		t.Errorf("old: %+v", n)
	}
	if p := m.plan(want, Options{}); !p.Empty(m.snap()) {
		t.Errorf("a second plan: %q", summary(p))
	}
	// They are no longer needed in the file once they are there; then they may be anywhere.
	p = m.do(demo(3))
	if got := summary(p); !slices.Equal(got, []string{"change tk1"}) || texts(p.Steps[0])[0] != "nodes.hypervisor hv1 → any" || p.Steps[0].When != AtPlacement {
		t.Errorf("without names: %q %+v", got, p.Steps)
	}
	if p := m.plan(demo(3), Options{}); !p.Empty(m.snap()) || m.node("tk1").Pinned() != "" {
		t.Errorf("and again: %q", summary(p))
	}
}

func TestAPlanSaysWhatBecomesOfPinnedNodes(t *testing.T) {
	m := newMesh(t)
	m.join(10, "hv1", "hv2")
	pinned := func(to string) state.Cluster { return demo(1, named(state.NamedNode{Name: "old", Hypervisor: to})) }
	m.do(pinned("hv2"))
	m.place()
	if m.node("old").Placement.Hypervisor != "hv2" {
		t.Fatalf("%+v", m.node("old"))
	}
	m.apply(state.PutPeer{Peer: state.Peer{ID: "hv2", Name: "hv2"}})
	m.apply(state.DrainPeer{ID: "hv2", Draining: true})
	want := "old: its hypervisor hv2 is draining, and specs.nodes.hypervisor pins it there, so it stays: tenks peer drain --ignore-pins hv2 moves it, or take that key out and apply"
	if p := m.plan(pinned("hv2"), Options{}); !slices.Equal(p.Notes, []string{want}) {
		t.Errorf("notes %q, want %q", p.Notes, want)
	}
	// One that the file pins to a peer that there is not stays as it was.
	if p := m.plan(pinned("hv9"), Options{}); len(p.Steps) > 0 {
		t.Errorf("to a peer that there is not: %q", texts(p.Steps[0]))
	}
	if p := m.plan(pinned("hv1"), Options{}); len(p.Steps) != 1 || texts(p.Steps[0])[0] != "nodes.hypervisor hv2 → hv1" {
		t.Errorf("to another: %+v", p.Steps)
	}
	// What was told to move elsewhere is not pinned again.
	m.apply(state.DrainPeer{ID: "hv2", Draining: true, Pins: state.PinsForget})
	if p := m.plan(pinned("hv2"), Options{}); len(p.Steps) > 0 || !strings.Contains(strings.Join(p.Notes, ""), "is draining: it moves while it is off") {
		t.Errorf("once its pin is forgotten: %+v, notes %q", p.Steps, p.Notes)
	}
}

func TestNamedNodesThatCannotBe(t *testing.T) {
	m := newMesh(t)
	other := demo(1)
	other.Name = "other"
	m.do(other)
	tk0, _ := m.snap().NodeByName("tk0")
	for name, c := range map[string]struct {
		node state.NamedNode
		want string
	}{
		"another cluster's name": {state.NamedNode{Name: "tk0"}, `a node of cluster "other" has that name`},
		"another node's UUID":    {state.NamedNode{Name: "x", UUID: tk0.UUID}, `is that of node "tk0"`},
		"no such peer":           {state.NamedNode{Name: "x", Hypervisor: "hv9"}, `no peer named "hv9" offers to run nodes`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Cluster(m.snap(), demo(1, named(c.node)), Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestANamedNodeThatIsBeingRemovedIsNotReplacedByAnother(t *testing.T) {
	m := newMesh(t)
	want := demo(1, named(state.NamedNode{Name: "old", Hypervisor: "hv1"}))
	m.do(want)
	m.place()
	none := demo(0, named(state.NamedNode{Name: "old", Hypervisor: "hv1"}))
	m.do(none)
	if n := m.node("old"); !n.Removing {
		t.Fatalf("%+v", n)
	}
	if p, err := Cluster(m.snap(), want, Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), `node "old": is being removed: apply again when it is gone`) {
		t.Errorf("error %v, plan %+v", err, p)
	}
	if p := m.plan(none, Options{}); !p.Empty(m.snap()) {
		t.Errorf("that it goes is nothing against: %q", summary(p))
	}
}
