package declare

import (
	"slices"
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
	order := strings.Fields("tk9 tk2 tk0 tk1 tk3 tk5 tk4 tk6 tk8 tk7")
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
	if diff := cmp.Diff("remove tk9, remove tk2, remove tk0, remove tk1, remove tk3, remove tk4", strings.Join(summary(p), ", ")); diff != "" {
		t.Errorf("tk5 is on, and tk4 off: %s", diff)
	}
	p = m.plan(demo(9, enrolled), Options{})
	if want := "count of compute is 9, and it has no place yet"; p.Steps[0].Reasons[0] != want {
		t.Errorf("reason %q, want %q", p.Steps[0].Reasons[0], want)
	}
}

// Each provision state of Ironic (ironic.common.states), in the order in which nodes in it go.
func TestEveryProvisionStateHasItsPlaceWhenACountShrinks(t *testing.T) {
	groups := [][]string{
		{"clean failed", "inspect failed"},
		{"enroll", "manageable"},
		{"available"},
		{"verifying", "inspecting", "inspect wait", "cleaning", "clean wait", "clean hold"},
		{"active", "deploying", "wait call-back", "deploy failed", "deploy hold", "deleting", "error", "rescue", "rescuing", "rescue wait", "rescue failed", "unrescuing",
			"unrescue failed", "servicing", "service wait", "service failed", "service hold", "adopting", "adopt failed"},
	}
	of := func(provision string) use {
		return useOf(&state.Node{Placement: &state.Placement{}, Ironic: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: provision}})
	}
	for i, group := range groups {
		for _, provision := range group {
			if of(provision) != of(group[0]) {
				t.Errorf("%s: goes when what %q, want as %s", provision, uses[of(provision)], group[0])
			}
			if i > 0 && of(provision) <= of(groups[i-1][0]) {
				t.Errorf("%s goes before %s", provision, groups[i-1][0])
			}
		}
	}
	lost := &state.Node{Placement: &state.Placement{}, Lost: true, Ironic: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "active"}}
	if useOf(lost) != inUse {
		t.Error("a lost node with an instance goes before others")
	}
}

// What Ironic does not let go is not chosen while there are others: a removal of it would be
// refused, or wait for ever.
func TestWhatIronicKeepsGoesLast(t *testing.T) {
	m := newMesh(t)
	m.do(demo(6, enrolled))
	m.place()
	m.provision(map[string]string{"tk0": "active", "tk1": "active", "tk2": "available", "tk3": "available", "tk4": "manageable", "tk5": "available"})
	in := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, name := range names {
			out[m.node(name).UUID] = name + " is kept"
		}
		return out
	}
	asked := 0
	ask := func(_ []*state.Node, force bool) map[string]string {
		asked++
		if force {
			return in("tk1")
		}
		return in("tk0", "tk1", "tk5")
	}
	if got, want := summary(m.plan(demo(0, enrolled), Options{Kept: ask, Force: true})), strings.Fields("tk4 tk3 tk2 tk5 tk0 tk1"); strings.ReplaceAll(strings.Join(got, " "), "remove ", "") != strings.Join(want, " ") {
		t.Errorf("%q, want %q", got, want)
	}
	reasons := map[string]string{}
	for _, s := range m.plan(demo(0, enrolled), Options{Kept: ask, Force: true}).Steps {
		reasons[s.Node] = s.Reasons[0]
	}
	for name, want := range map[string]string{"tk1": "is protected in Ironic", "tk5": "is kept in Ironic", "tk0": "is in use", "tk3": "is not used"} {
		if !strings.HasSuffix(reasons[name], "and it "+want) {
			t.Errorf("%s goes because %q, want %q", name, reasons[name], want)
		}
	}
	if got := summary(m.plan(demo(4, enrolled), Options{Kept: ask, Remove: []string{"tk5"}})); !slices.Equal(got, []string{"remove tk5", "remove tk4"}) {
		t.Errorf("who is named goes first all the same: %q", got)
	}
	asked = 0
	m.plan(demo(6, enrolled), Options{Kept: ask})
	m.plan(demo(5, enrolled), Options{Kept: ask, Forget: true})
	if asked > 0 {
		t.Error("Ironic is asked although nothing shrinks, or although its records stay")
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
