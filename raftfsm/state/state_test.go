package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// log applies commands to a store at growing indexes, and can give the same ones to
// another store.
type log struct {
	t     testing.TB
	store *Store
	index uint64
	past  []Envelope
}

func newLog(t testing.TB) *log { return &log{t: t, store: New()} }

func (l *log) try(c Command) error {
	l.t.Helper()
	return l.envelope(Envelope{UnixMilli: int64(l.index) * 1000, Command: c})
}

func (l *log) envelope(e Envelope) error {
	l.index++
	l.past = append(l.past, e)
	return l.store.Apply(l.index, e)
}

func (l *log) must(commands ...Command) {
	l.t.Helper()
	for _, c := range commands {
		if err := l.try(c); err != nil {
			l.t.Fatalf("%s: %v", Kind(c), err)
		}
	}
}

func (l *log) snap() *Snapshot {
	s, _ := l.store.Snapshot()
	return s
}

func (l *log) node(name string) *Node {
	l.t.Helper()
	n, ok := l.snap().NodeByName(name)
	if !ok {
		l.t.Fatalf("no node %q", name)
	}
	return n
}

// declared is node i of cluster demo: tk<i>, u<i>, one port.
func declared(i int) Node {
	return Node{UUID: fmt.Sprintf("u%d", i), Name: fmt.Sprintf("tk%d", i), LinkName: fmt.Sprintf("l%d", i),
		Cluster: "demo", Type: "small", Spec: "small/tk/0",
		Machine: Machine{Driver: "fake", MemoryMB: 1024, VCPUs: 1, Physnets: []string{"physnet1"}},
		Ports:   []Port{{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i), Physnet: "physnet1"}},
		BMC:     Account{Username: "admin", Password: NewSecret("hunter2")}}
}

func with(n Node, change func(*Node)) Node {
	change(&n)
	return n
}

func hypervisor(id string) PutHypervisor {
	return PutHypervisor{Hypervisor{ID: id, Name: "host-" + id, Networks: []string{"192.0.2.101/24"}, Drivers: []string{"fake"}, Physnets: []string{"physnet1"},
		Capacity: Resources{VCPUs: 8, MemoryMB: 8192, DiskGB: 100}, BMC: PortRange{"192.0.2.1", 6230, 6239}}}
}

func place(uuid, on string, port int) PlaceNodes {
	return PlaceNodes{Placements: []NodePlacement{{UUID: uuid, Hypervisor: on, BMC: Endpoint{"192.0.2.1", port}}}}
}

// demo is a mesh with hypervisors h1 and h2 and a cluster of tk1 (placed on h1,
// port 6230) and tk2 (not placed), at index 5.
func demo(t testing.TB) *log {
	l := newLog(t)
	l.must(SetMesh{Mesh{ID: "m1", Name: "lab", Generation: 1}}, hypervisor("h1"), hypervisor("h2"),
		ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{declared(1), declared(2)}},
		place("u1", "h1", 6230))
	return l
}

func names(nodes []*Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return strings.Join(out, " ")
}

func TestCommandsThatAreRefusedChangeOnlyTheIndex(t *testing.T) {
	other := func(n Node) ApplyCluster {
		n.Cluster = "other"
		return ApplyCluster{Cluster: Cluster{Name: "other"}, Create: []Node{n}}
	}
	tests := map[string]struct {
		command Command
		is      error
		text    string
	}{
		"a second mesh":        {SetMesh{Mesh{ID: "m2"}}, nil, "named already: m1"},
		"hypervisor, no ID":    {hypervisor(""), nil, "hypervisor ID"},
		"cluster, no name":     {ApplyCluster{}, nil, "cluster name"},
		"cluster changed":      {ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 3}, ErrConflict, "demo"},
		"cluster exists":       {ApplyCluster{Cluster: Cluster{Name: "demo"}}, ErrConflict, "demo"},
		"cluster is not there": {ApplyCluster{Cluster: Cluster{Name: "new"}, Expect: 4}, ErrConflict, "new"},
		"name taken":           {other(with(declared(3), func(n *Node) { n.Name = "tk1" })), ErrConflict, "tk1"},
		"UUID taken":           {other(with(declared(3), func(n *Node) { n.UUID = "u1" })), ErrConflict, "u1"},
		"link name taken":      {other(with(declared(3), func(n *Node) { n.LinkName = "l1" })), ErrConflict, "l1"},
		"MAC taken":            {other(with(declared(3), func(n *Node) { n.Ports = declared(1).Ports })), ErrConflict, "52:54:00:00:00:01"},
		"MAC twice in a node": {other(with(declared(3), func(n *Node) { n.Ports = append(n.Ports, n.Ports[0]) })),
			ErrConflict, "52:54:00:00:00:03"},
		"node, no name":                     {other(with(declared(3), func(n *Node) { n.Name = "" })), nil, "node name"},
		"node, no UUID":                     {other(with(declared(3), func(n *Node) { n.UUID = "" })), nil, "node UUID"},
		"node, no link name":                {other(with(declared(3), func(n *Node) { n.LinkName = "" })), nil, "link name"},
		"port, no MAC":                      {other(with(declared(3), func(n *Node) { n.Ports = []Port{{}} })), nil, "port MAC"},
		"name with the byte that ends keys": {other(with(declared(3), func(n *Node) { n.Name = "a\x00b" })), nil, "node name"},
		"node of another cluster":           {ApplyCluster{Cluster: Cluster{Name: "other"}, Create: []Node{declared(3)}}, nil, "tk3"},
		"names twice in one command": {ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 4,
			Create: []Node{declared(3), with(declared(4), func(n *Node) { n.Name = "tk3" })}}, ErrConflict, "tk3"},
		"change of a node that is gone": {ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 4,
			Change: []NodeChange{{UUID: "u9"}}}, ErrConflict, "u9"},
		"change takes a MAC": {ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 4,
			Change: []NodeChange{{UUID: "u1", Ports: declared(2).Ports}}}, ErrConflict, "52:54:00:00:00:02"},
		"change after a creation that is fine": {ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 4,
			Create: []Node{declared(3)}, Change: []NodeChange{{UUID: "u9"}}}, ErrConflict, "u9"},
		"removal of another cluster's node": {ApplyCluster{Cluster: Cluster{Name: "other"},
			Remove: []NodeRemoval{{UUID: "u1"}}}, ErrConflict, "tk1"},
		"cluster to remove is not there": {RemoveCluster{Name: "none"}, ErrNotFound, "none"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := demo(t)
			before := l.snap().Digest()
			err := l.try(tt.command)
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want one with %q that is %v", err, tt.text, tt.is)
			}
			if l.snap().Digest() != before {
				t.Error("the state changed")
			}
			if l.snap().Index() != l.index {
				t.Errorf("index %d, want %d", l.snap().Index(), l.index)
			}
		})
	}
}

func TestCommandsThatDoNotApplyToANodeSkipIt(t *testing.T) {
	report := func(hv, uuid string, epoch uint64) ReportHost {
		return ReportHost{hv, []NodeHostReport{{uuid, epoch, HostStatus{Phase: HostReady}}}}
	}
	tests := map[string]Command{
		"placement of a placed node":               place("u1", "h2", 6231),
		"placement of a node that is not there":    place("u9", "h1", 6231),
		"placement on no hypervisor":               place("u2", "h9", 6231),
		"placement at an endpoint that is taken":   place("u2", "h1", 6230),
		"refusal of a placed node":                 PlaceNodes{Refusals: []NodeRefusal{{"u1", "full"}}},
		"refusal of a node that is not there":      PlaceNodes{Refusals: []NodeRefusal{{"u9", "full"}}},
		"report of another epoch":                  report("h1", "u1", 4),
		"report of another hypervisor":             report("h2", "u1", 5),
		"report of a node that is not placed":      report("h1", "u2", 0),
		"report of a node that is not there":       report("h1", "u9", 5),
		"Ironic's report of no node":               ReportIronic{[]NodeIronicReport{{"u9", IronicStatus{Phase: IronicEnrolled}}}},
		"Ironic's report of what is known":         ReportIronic{[]NodeIronicReport{{"u1", IronicStatus{}}}},
		"host's report of what is known":           ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{}}}},
		"removal of a node that is not there":      RemoveNodes{[]NodeRemoval{{UUID: "u9"}}},
		"nothing to place, report, refuse, remove": PlaceNodes{},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			l := demo(t)
			before := l.snap().Digest()
			l.must(c)
			if l.snap().Digest() != before {
				t.Error("the state changed")
			}
		})
	}
}

func TestApplyClusterCreatesNodesWithoutAHistory(t *testing.T) {
	l := newLog(t)
	dirty := with(declared(1), func(n *Node) {
		n.Placement, n.Unplaced, n.RestartIndex = &Placement{Hypervisor: "h1"}, "why", 7
		n.Removing, n.Force, n.Forget = true, true, true
		n.Host, n.Ironic = HostStatus{Phase: HostReady}, IronicStatus{Phase: IronicEnrolled}
		n.CreateIndex, n.ModifyIndex = 9, 9
	})
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo", Removing: true}, Create: []Node{dirty}})
	want := declared(1)
	want.CreateIndex, want.ModifyIndex = 1, 1
	if diff := cmp.Diff(&want, l.node("tk1"), cmp.AllowUnexported(Secret{})); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	if c, _ := l.snap().Cluster("demo"); c.Removing || c.CreateIndex != 1 {
		t.Errorf("cluster %+v", c)
	}
}

func TestApplyClusterChangesWhatIsDeclaredAndNothingElse(t *testing.T) {
	l := demo(t)
	before := *l.node("tk1")
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo", Source: "v2"}, Expect: 4, Change: []NodeChange{{
		UUID: "u1", Spec: "s", Machine: Machine{Driver: "fake", MemoryMB: 2048}, Enrol: &Enrolment{ResourceClass: "rc"},
		DeployKernel: "k", DeployRamdisk: "r", Constraints: Constraints{Spread: "zone"}, OnHostLoss: LossRebuild, StopAfterMilli: 30000,
		Ports: before.Ports, BMC: Account{Username: "root"}, Restart: true}},
		Remove: []NodeRemoval{{UUID: "u9"}}})
	want := before
	want.Spec, want.Machine, want.Enrol = "s", Machine{Driver: "fake", MemoryMB: 2048}, &Enrolment{ResourceClass: "rc"}
	want.DeployKernel, want.DeployRamdisk, want.Constraints = "k", "r", Constraints{Spread: "zone"}
	want.StopAfterMilli = 30000
	want.OnHostLoss, want.BMC, want.RestartIndex, want.ModifyIndex = LossRebuild, Account{Username: "root"}, 6, 6
	if diff := cmp.Diff(&want, l.node("tk1"), cmp.AllowUnexported(Secret{})); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	if c, _ := l.snap().Cluster("demo"); c.Source != "v2" || c.CreateIndex != 4 || c.ModifyIndex != 6 {
		t.Errorf("cluster %+v", c)
	}
}

func TestPortsMayKeepSwapAndFreeTheirMACs(t *testing.T) {
	l := demo(t)
	a, b := Port{MAC: "52:54:00:00:00:01"}, Port{MAC: "52:54:00:00:00:aa"}
	change := func(expect uint64, ports ...Port) {
		t.Helper()
		l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: expect, Change: []NodeChange{{UUID: "u1", Ports: ports}}})
	}
	change(4, a, b)
	change(6, b, a)
	change(7, b)
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 8,
		Create: []Node{with(declared(3), func(n *Node) { n.Ports = []Port{a} })}})
	if got := l.node("tk3").Ports[0].MAC; got != a.MAC {
		t.Errorf("MAC %s", got)
	}
}

func TestPlacementsAndTheirRefusals(t *testing.T) {
	l := demo(t)
	l.must(PlaceNodes{Refusals: []NodeRefusal{{"u2", "all full"}}})
	if phase, why := l.node("tk2").Phase(); phase != PhasePending || why != "all full" {
		t.Errorf("phase %s, reason %q", phase, why)
	}
	l.must(place("u2", "h2", 6230))
	n := l.node("tk2")
	if want := (Placement{"h2", 7, Endpoint{"192.0.2.1", 6230}}); *n.Placement != want || n.Unplaced != "" {
		t.Errorf("placement %+v, refusal %q, want %+v", n.Placement, n.Unplaced, want)
	}
	if on1, on2 := names(l.snap().NodesOn("h1")), names(l.snap().NodesOn("h2")); on1 != "tk1" || on2 != "tk2" {
		t.Errorf("h1 has %q, h2 has %q", on1, on2)
	}
}

func TestTheSameEndpointGoesOnceWithinACommand(t *testing.T) {
	l := demo(t)
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 4, Create: []Node{declared(3)}})
	c := place("u2", "h1", 6231)
	c.Placements = append(c.Placements, place("u3", "h1", 6231).Placements...)
	l.must(c)
	if l.node("tk2").Placement == nil || l.node("tk3").Placement != nil {
		t.Errorf("placements %v and %v, want the first only", l.node("tk2").Placement, l.node("tk3").Placement)
	}
}

func TestARemovedNodeGoesOnceNobodyHasIt(t *testing.T) {
	gone := ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{Phase: HostGone}}}}
	enrolled := ReportIronic{[]NodeIronicReport{{"u1", IronicStatus{Phase: IronicEnrolled}}}}
	unenrolled := ReportIronic{[]NodeIronicReport{{"u1", IronicStatus{Phase: IronicGone}}}}
	remove := RemoveNodes{[]NodeRemoval{{UUID: "u1"}}}
	forget := RemoveNodes{[]NodeRemoval{{UUID: "u1", Forget: true}}}
	tests := map[string]struct {
		node     string
		commands []Command
		left     bool
	}{
		"not placed, not enrolled: at once":         {"tk2", []Command{RemoveNodes{[]NodeRemoval{{UUID: "u2"}}}}, false},
		"placed: only when the host says so":        {"tk1", []Command{remove}, true},
		"placed, host done":                         {"tk1", []Command{remove, gone}, false},
		"enrolled: not when only the host is done":  {"tk1", []Command{enrolled, remove, gone}, true},
		"enrolled: not when only Ironic is done":    {"tk1", []Command{enrolled, remove, unenrolled}, true},
		"enrolled, Ironic then host":                {"tk1", []Command{enrolled, remove, unenrolled, gone}, false},
		"enrolled, host then Ironic":                {"tk1", []Command{enrolled, remove, gone, unenrolled}, false},
		"forgotten: without Ironic":                 {"tk1", []Command{enrolled, remove, gone, forget}, false},
		"reports alone remove nothing":              {"tk1", []Command{gone, unenrolled}, true},
		"a placement comes too late":                {"tk2", []Command{RemoveNodes{[]NodeRemoval{{UUID: "u2"}}}, place("u2", "h1", 6231)}, false},
		"a removed node is not placed":              {"tk2", []Command{enrol("u2"), RemoveNodes{[]NodeRemoval{{UUID: "u2"}}}, place("u2", "h1", 6231)}, true},
		"its name may be had again when it is gone": {"tk1", []Command{remove, gone, ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 4, Create: []Node{declared(1)}}}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := demo(t)
			l.must(tt.commands...)
			n, left := l.snap().NodeByName(tt.node)
			if left != tt.left {
				t.Errorf("there: %t, want %t", left, tt.left)
			}
			if tt.node == "tk2" && left && n.Placement != nil {
				t.Error("placed while it is being removed")
			}
		})
	}
}

func enrol(uuid string) ReportIronic {
	return ReportIronic{[]NodeIronicReport{{uuid, IronicStatus{Phase: IronicEnrolling}}}}
}

func TestAClusterGoesWithItsLastNode(t *testing.T) {
	l := demo(t)
	l.must(RemoveCluster{Name: "demo", Force: true})
	c, ok := l.snap().Cluster("demo")
	if !ok || !c.Removing || names(l.snap().NodesOf("demo")) != "tk1" || !l.node("tk1").Force {
		t.Fatalf("cluster %+v with %q", c, names(l.snap().NodesOf("demo")))
	}
	if err := l.try(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: c.ModifyIndex}); err == nil {
		t.Error("a cluster that is being destroyed was declared anew")
	}
	l.must(ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{Phase: HostGone}}}})
	if _, ok := l.snap().Cluster("demo"); ok {
		t.Error("the cluster outlived its last node")
	}
	l.must(ApplyCluster{Cluster: Cluster{Name: "empty"}}, RemoveCluster{Name: "empty"})
	if _, ok := l.snap().Cluster("empty"); ok {
		t.Error("a cluster without nodes stayed")
	}
}

func TestPutHypervisorKeepsWhenItJoined(t *testing.T) {
	l := demo(t)
	l.must(hypervisor("h1"))
	h, _ := l.snap().Hypervisor("h1")
	if h.CreateIndex != 2 || h.ModifyIndex != 6 {
		t.Errorf("indexes %d and %d, want 2 and 6", h.CreateIndex, h.ModifyIndex)
	}
}

func TestARepeatedRequestGetsTheFirstResult(t *testing.T) {
	l := demo(t)
	tests := []struct {
		command Command
		is      error
	}{
		{ApplyCluster{Cluster: Cluster{Name: "other"}}, nil},
		{ApplyCluster{Cluster: Cluster{Name: "demo"}}, ErrConflict},
		{RemoveCluster{Name: "none"}, ErrNotFound},
		{SetMesh{Mesh{ID: "m2"}}, nil},
	}
	for i, tt := range tests {
		e := Envelope{Request: fmt.Sprint("r", i), Command: tt.command}
		first := l.envelope(e)
		digest := l.snap().Digest()
		second := l.envelope(e)
		if fmt.Sprint(first) != fmt.Sprint(second) || tt.is != nil && !errors.Is(second, tt.is) {
			t.Errorf("%s: first %v, then %v", Kind(tt.command), first, second)
		}
		if l.snap().Digest() != digest || l.snap().Index() != l.index {
			t.Errorf("%s: the repeat changed the state", Kind(tt.command))
		}
	}
	if err := l.try(RemoveCluster{Name: "none"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a request ID: %v", err)
	}
}

func TestARequestThatCannotBeRememberedIsRefused(t *testing.T) {
	l := demo(t)
	before := l.snap().Digest()
	if err := l.envelope(Envelope{Request: "a\x00b", Command: hypervisor("h3")}); err == nil || l.snap().Digest() != before || l.snap().Index() != l.index {
		t.Errorf("error %v; at %d, want %d", err, l.snap().Index(), l.index)
	}
}

func TestHistoryIsKeptUpToABound(t *testing.T) {
	l := newLog(t)
	for i := range keepRequests + 10 {
		h := hypervisor("h1")
		if err := l.envelope(Envelope{Request: fmt.Sprint("r", i), Command: h}); err != nil {
			t.Fatal(err)
		}
	}
	d := l.snap().Dump()
	if len(d.Requests) != keepRequests || d.Requests[0].ID != "r10" {
		t.Errorf("%d requests from %s, want %d from r10", len(d.Requests), d.Requests[0].ID, keepRequests)
	}
	events := l.snap().Events(0)
	if len(events) != keepEvents || events[0].Index != 11 || events[keepEvents-1].Index != l.index {
		t.Errorf("%d events from %d to %d", len(events), events[0].Index, events[len(events)-1].Index)
	}
}

func TestEventsAfterAnIndexInOrder(t *testing.T) {
	l := demo(t)
	var got []string
	for _, e := range l.snap().Events(3) {
		got = append(got, fmt.Sprintf("%d.%d %s %s", e.Index, e.Seq, e.Type, e.Node))
	}
	want := []string{"4.0 cluster-applied ", "4.1 node-created tk1", "4.2 node-created tk2", "5.0 node-placed tk1"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	for after, want := range map[uint64]int{0: 7, 5: 0, 6: 0, math.MaxUint64: 0} {
		if n := len(l.snap().Events(after)); n != want {
			t.Errorf("%d events after %d, want %d", n, after, want)
		}
	}
}

func TestEventsOfManyIndexesStayInOrder(t *testing.T) {
	l := newLog(t)
	for range 600 { // beyond one byte of the key
		l.must(hypervisor("h1"))
	}
	events := l.snap().Events(254)
	if len(events) != 346 || !slices.IsSortedFunc(events, func(a, b Event) int { return int(a.Index) - int(b.Index) }) {
		t.Errorf("%d events, or out of order", len(events))
	}
}

func TestAWatcherWakesWhenTheIndexMoves(t *testing.T) {
	l := demo(t)
	for name, do := range map[string]func(){
		"a command":         func() { l.must(hypervisor("h3")) },
		"a refused command": func() { _ = l.try(RemoveCluster{Name: "none"}) },
		"a load":            func() { _ = l.store.Load(l.snap().Dump()) },
	} {
		_, changed := l.store.Snapshot()
		select {
		case <-changed:
			t.Fatalf("%s: woken before", name)
		default:
		}
		do()
		select {
		case <-changed:
		default:
			t.Errorf("%s: not woken", name)
		}
	}
}

func TestSecretsAreSeenOnlyWhereTheyMustBe(t *testing.T) {
	s := NewSecret("hunter2")
	asJSON, err := json.Marshal(declared(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, seen := range []string{s.String(), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s),
		fmt.Sprintf("%+v", declared(1)), fmt.Sprintf("%#v", declared(1)), string(asJSON)} {
		if strings.Contains(seen, "hunter2") || strings.Contains(seen, fmt.Sprintf("%x", "hunter2")) || !strings.Contains(seen, "(hidden)") {
			t.Errorf("seen: %s", seen)
		}
	}
	b, err := s.MarshalBinary()
	if err != nil || string(b) != "hunter2" || s.Reveal() != "hunter2" {
		t.Errorf("binary %q, error %v", b, err)
	}
}

func TestDigestsTellSecretsAndHistoriesApart(t *testing.T) {
	digest := func(commands ...Command) string {
		l := newLog(t)
		l.must(commands...)
		return l.snap().Digest()
	}
	create := func(password string) Command {
		return ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{with(declared(1), func(n *Node) { n.BMC.Password = NewSecret(password) })}}
	}
	first, second := digest(create("a")), digest(create("a"))
	if digest(create("b")) == first {
		t.Error("two passwords, one digest")
	}
	if first != second {
		t.Error("one state, two digests")
	}
	if digest(create("a"), hypervisor("h1")) == digest(create("a"), hypervisor("h1"), hypervisor("h1")) {
		t.Error("two histories, one digest")
	}
}

func TestDiskBytesDoNotWrapAround(t *testing.T) {
	m := Machine{Volumes: []Volume{{CapacityBytes: 1 << 63}, {CapacityBytes: 1 << 63}, {CapacityBytes: 5}}}
	if got := m.DiskBytes(); got != math.MaxUint64 {
		t.Errorf("%d bytes", got)
	}
}

func TestPhaseOfANode(t *testing.T) {
	placed := &Placement{Hypervisor: "h1"}
	enrolment := &Enrolment{}
	tests := map[string]struct {
		node   Node
		phase  Phase
		reason string
	}{
		"new":                     {Node{}, PhasePending, ""},
		"fits nowhere":            {Node{Unplaced: "full"}, PhasePending, "full"},
		"placed":                  {Node{Placement: placed}, PhaseCreating, ""},
		"host fails":              {Node{Placement: placed, Host: HostStatus{Phase: HostError, Error: "no disk"}}, PhaseError, "no disk"},
		"ready, no Ironic":        {Node{Placement: placed, Host: HostStatus{Phase: HostReady}}, PhaseReady, ""},
		"ready, Ironic not begun": {Node{Placement: placed, Enrol: enrolment, Host: HostStatus{Phase: HostReady}}, PhaseReady, ""},
		"enrolling": {Node{Placement: placed, Enrol: enrolment, Host: HostStatus{Phase: HostReady},
			Ironic: IronicStatus{Phase: IronicEnrolling}}, PhaseEnrolling, ""},
		"Ironic down": {Node{Placement: placed, Enrol: enrolment, Host: HostStatus{Phase: HostReady},
			Ironic: IronicStatus{Phase: IronicEnrolling, Error: "refused"}}, PhaseReady, "refused"},
		"enrolled": {Node{Placement: placed, Enrol: enrolment, Host: HostStatus{Phase: HostReady},
			Ironic: IronicStatus{Phase: IronicEnrolled}}, PhaseEnrolled, ""},
		"removing": {Node{Placement: placed, Removing: true, Ironic: IronicStatus{Error: "active"}}, PhaseRemoving, "active"},
	}
	for name, tt := range tests {
		if phase, reason := tt.node.Phase(); phase != tt.phase || reason != tt.reason {
			t.Errorf("%s: %s %q, want %s %q", name, phase, reason, tt.phase, tt.reason)
		}
	}
}
