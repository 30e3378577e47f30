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
	if !ok || n.UUID != uuid || n.Origin == nil || n.Origin.Hypervisor != "hv1" || n.Origin.BMCPort != 6235 {
		t.Errorf("tk1: %+v", n)
	}
	if n, _ := m.snap().NodeByName("old"); n.Origin != nil || n.UUID == "" {
		t.Errorf("old: %+v", n)
	}
	if p := m.plan(want, Options{}); !p.Empty(m.snap()) {
		t.Errorf("a second plan: %q", summary(p))
	}
	// They are no longer needed in the file once they are there.
	if p := m.plan(demo(3), Options{}); len(p.Steps) > 0 {
		t.Errorf("without names: %q", summary(p))
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
