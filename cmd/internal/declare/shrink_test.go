package declare

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
	"tenks/sched"
)

// place gives all nodes that have none a place.
func (m *mesh) place() {
	m.t.Helper()
	m.apply(state.PlaceNodes{Placements: sched.Place(m.snap(), nil).Placements})
}

func (m *mesh) node(name string) *state.Node {
	m.t.Helper()
	n, ok := m.snap().NodeByName(name)
	if !ok {
		m.t.Fatalf("no node %q", name)
	}
	return n
}

// provision reports what Ironic says of nodes.
func (m *mesh) provision(states map[string]string) {
	m.t.Helper()
	for name, provision := range states {
		m.apply(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: m.node(name).UUID,
			Status: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: provision}}}})
	}
}

// host reports what a node's host says of it.
func (m *mesh) host(name string, s state.HostStatus) {
	m.t.Helper()
	n := m.node(name)
	m.apply(state.ReportHost{Hypervisor: n.Placement.Hypervisor, Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: s}}})
}

func enrolled(c *state.Cluster) { enrolAs("rc")(c) }

func enrolAs(class string, traits ...string) func(*state.Cluster) {
	return func(c *state.Cluster) {
		c.Ironic = &state.IronicAccess{Auth: "none", Endpoint: "http://192.0.2.1:6385"}
		c.Specs[0].Enrol = &state.Enrolment{ResourceClass: class, Traits: traits}
	}
}

func TestWhichNodesGoWhenACountShrinks(t *testing.T) {
	m := newMesh(t)
	m.do(demo(9, enrolled))
	m.place()
	m.do(demo(10, enrolled)) // tk9 has no place
	m.provision(map[string]string{"tk8": "active", "tk7": "deploy failed", "tk6": "cleaning", "tk5": "available", "tk4": "available", "tk3": "manageable", "tk2": "clean failed"})
	m.host("tk0", state.HostStatus{Phase: state.HostError, Error: "no disk"})
	order := strings.Fields("tk9 tk0 tk1 tk3 tk2 tk5 tk4 tk6 tk8 tk7")
	for count := range 10 {
		var want []string
		for _, name := range order[:10-count] {
			want = append(want, "remove "+name)
		}
		if diff := cmp.Diff(want, summary(m.plan(demo(count, enrolled), Options{}))); diff != "" {
			t.Errorf("count %d: %s", count, diff)
		}
	}
	on := func(uuid string) bool { return uuid == m.node("tk5").UUID || uuid == m.node("tk9").UUID }
	p := m.plan(demo(4, enrolled), Options{On: on})
	if diff := cmp.Diff("remove tk9, remove tk0, remove tk1, remove tk3, remove tk2, remove tk4", strings.Join(summary(p), ", ")); diff != "" {
		t.Errorf("tk5 is on, and tk4 off: %s", diff)
	}
	p = m.plan(demo(9, enrolled), Options{})
	if want := "count of compute is 9, and it has no place yet"; p.Steps[0].Reasons[0] != want {
		t.Errorf("reason %q, want %q", p.Steps[0].Reasons[0], want)
	}
}

func TestNodesThatAreNamedGoFirst(t *testing.T) {
	m := newMesh(t)
	m.do(demo(5))
	p := m.plan(demo(3), Options{Remove: []string{"tk1"}})
	if diff := cmp.Diff([]string{"remove tk1", "remove tk4"}, summary(p)); diff != "" {
		t.Error(diff)
	}
	if want := "count of compute is 3, and it is named by --remove"; p.Steps[0].Reasons[0] != want {
		t.Errorf("reason %q, want %q", p.Steps[0].Reasons[0], want)
	}
	other := demo(1)
	other.Name = "other"
	m.do(other)
	m.apply(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: m.node("tk2").UUID}}})
	m.provision(map[string]string{})
	for name, want := range map[string]string{
		"tk0,tk1,tk3": "--remove tk0,tk1,tk3: 3 of the spec of type compute (prefix tk) would have to go, and its count of 2 takes 2 away: lower the count to 1",
		"tk5":         `--remove tk5: is a node of cluster "other", not "demo"`,
		"tk99":        "--remove tk99: there is no such node",
	} {
		_, err := Cluster(m.snap(), demo(2), Options{Random: m.seed, Remove: strings.Split(name, ",")})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestNamesInOneLine(t *testing.T) {
	for names, want := range map[string]string{
		"tk0":                          "tk0",
		"tk1 tk0":                      "tk0, tk1",
		"tk10 tk9 tk8 tk11":            "tk8…tk11",
		"a b c":                        "a, b, c",
		"tk0 tk2 tk3 tk4 x7 tk6":       "tk0, tk2…tk4, tk6, x7",
		"tk01 tk02 tk03":               "tk01, tk02, tk03",
		"a0 b0 c0 d0 e0 f0 g0 h0 h1":   "a0, b0, c0, d0, e0, f0 and 3 more",
		"tk-1-0 tk-1-1 tk-1-2 tk-2-3":  "tk-1-0…tk-1-2, tk-2-3",
		"n99999999999999999999 n0 n1 ": "n0, n1, n99999999999999999999",
	} {
		if got := Names(strings.Fields(names)); got != want {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}
