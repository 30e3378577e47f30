package declare

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/link"
	"tenks/raftfsm/state"
	"tenks/sched"
)

// mesh is a state under test; it applies commands at rising indexes.
type mesh struct {
	t     *testing.T
	store *state.Store
	index uint64
	seed  *rand.ChaCha8
}

func newMesh(t *testing.T) *mesh {
	m := &mesh{t: t, store: state.New(), seed: rand.NewChaCha8([32]byte{1})}
	m.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", Physnets: []string{"physnet1", "physnet2"},
		Drivers: []string{"fake", "libvirt"}, Capacity: state.Resources{VCPUs: 1000, MemoryMB: 1 << 20, DiskGB: 1 << 20},
		BMC: state.PortRange{Address: "192.0.2.1", First: 6230, Last: 16229}}})
	return m
}

func (m *mesh) apply(c state.Command) {
	m.t.Helper()
	m.index++
	if err := m.store.Apply(m.index, state.Envelope{Command: c}); err != nil {
		m.t.Fatalf("apply %T: %v", c, err)
	}
}

func (m *mesh) snap() *state.Snapshot {
	s, _ := m.store.Snapshot()
	return s
}

func (m *mesh) plan(want state.Cluster, opt Options) *Plan {
	m.t.Helper()
	opt.Random = m.seed
	p, err := Cluster(m.snap(), want, opt)
	if err != nil {
		m.t.Fatalf("plan: %v", err)
	}
	return p
}

func (m *mesh) do(want state.Cluster) *Plan {
	m.t.Helper()
	p := m.plan(want, Options{})
	m.apply(p.Command)
	return p
}

// demo declares count nodes of one type.
func demo(count int, change ...func(*state.Cluster)) state.Cluster {
	c := state.Cluster{Name: "demo",
		Types: map[string]state.Machine{"compute": {Driver: "libvirt", MemoryMB: 512, VCPUs: 1,
			Volumes: []state.Volume{{CapacityBytes: 4 << 30}}, Physnets: []string{"physnet1", "physnet2"},
			BootMode: state.BootUEFI, IronicDriver: "ipmi"}},
		Specs: []state.Spec{{Key: "compute/tk/0", Type: "compute", Count: count, Prefix: "tk", OnHostLoss: state.LossHold}}}
	for _, f := range change {
		f(&c)
	}
	return c
}

// summary lists a plan's steps as "create tk0".
func summary(p *Plan) []string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, string(s.Action)+" "+s.Node)
	}
	return out
}

// texts are what a step changes, in words.
func texts(s Step) []string {
	var out []string
	for _, d := range s.Changes {
		out = append(out, d.String())
	}
	return out
}

func TestPlanCreatesNodesWithIdentitiesThatNobodyHas(t *testing.T) {
	m := newMesh(t)
	p := m.do(demo(3))
	if diff := cmp.Diff([]string{"create tk0", "create tk1", "create tk2"}, summary(p)); diff != "" {
		t.Error(diff)
	}
	other := demo(2)
	other.Name = "other"
	p = m.do(other)
	if diff := cmp.Diff([]string{"create tk3", "create tk4"}, summary(p)); diff != "" {
		t.Errorf("names of a second cluster: %s", diff)
	}
	macs, passwords := map[string]bool{}, map[string]bool{}
	for _, n := range m.snap().Nodes() {
		passwords[n.BMC.Password.Reveal()] = true
		for _, port := range n.Ports {
			if !strings.HasPrefix(port.MAC, "52:54:00:") || macs[port.MAC] {
				t.Errorf("node %s: MAC %q is not ours, or not unique", n.Name, port.MAC)
			}
			macs[port.MAC] = true
		}
		if !regexp.MustCompile(`^[a-zA-Z0-9]{16}$`).MatchString(n.BMC.Password.Reveal()) {
			t.Errorf("node %s: password %q", n.Name, n.BMC.Password.Reveal())
		}
	}
	if len(macs) != 10 || len(passwords) != 5 {
		t.Errorf("%d MACs and %d passwords, want 10 and 5", len(macs), len(passwords))
	}
}

func TestPlanOfWhatIsThereIsEmpty(t *testing.T) {
	m := newMesh(t)
	m.do(demo(3))
	p := m.plan(demo(3), Options{})
	if !p.Empty(m.snap()) || p.Unchanged != 3 {
		t.Errorf("steps %v, unchanged %d, empty %t", summary(p), p.Unchanged, p.Empty(m.snap()))
	}
}

func TestPlanFillsGapsInNames(t *testing.T) {
	m := newMesh(t)
	m.do(demo(3))
	n, _ := m.snap().NodeByName("tk1")
	m.apply(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: n.UUID}}})
	if diff := cmp.Diff([]string{"create tk1"}, summary(m.plan(demo(3), Options{}))); diff != "" {
		t.Error(diff)
	}
}

func TestPlanSaysWhatChangesAndWhen(t *testing.T) {
	cases := []struct {
		name   string
		change func(*state.Machine)
		want   string
	}{
		{"memory", func(m *state.Machine) { m.MemoryMB = 1024 }, "memory 512 → 1024 MiB"},
		{"vcpus", func(m *state.Machine) { m.VCPUs = 2 }, "vcpus 1 → 2"},
		{"secure boot", func(m *state.Machine) { m.SecureBoot = true }, "secure_boot false → true (unless a client of the BMC has set it)"},
		{"TPM", func(m *state.Machine) { m.TPM = state.TPM2 }, "tpm none → 2.0"},
		{"boot mode", func(m *state.Machine) { m.BootMode = state.BootBIOS }, "boot_mode uefi → bios"},
		{"volumes", func(m *state.Machine) { m.Volumes = append(m.Volumes, state.Volume{CapacityBytes: 1 << 30}) },
			"volumes[1] none → 1 GiB"},
		{"networks", func(m *state.Machine) { m.Physnets = []string{"physnet1"} },
			"physical_networks [physnet1 physnet2] → [physnet1]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			m.do(demo(1))
			want := demo(1)
			typ := want.Types["compute"]
			typ.Volumes = slices.Clone(typ.Volumes)
			c.change(&typ)
			want.Types["compute"] = typ
			p := m.plan(want, Options{})
			if len(p.Steps) != 1 || p.Steps[0].Action != Change || p.Steps[0].When != AtPowerOn || !slices.Contains(texts(p.Steps[0]), c.want) {
				t.Fatalf("steps %+v, want one change with %q", p.Steps, c.want)
			}
			if p.Command.Change[0].Restart {
				t.Error("a restart that nobody asked for")
			}
			if p = m.plan(want, Options{Restart: true}); !p.Command.Change[0].Restart {
				t.Error("no restart with --restart")
			}
			m.apply(p.Command)
			if p = m.plan(want, Options{}); !p.Empty(m.snap()) {
				t.Errorf("after the change: %v", p.Steps)
			}
		})
	}
}

func TestPlanKeepsTheMACsOfPortsThatStay(t *testing.T) {
	m := newMesh(t)
	m.do(demo(1))
	before, _ := m.snap().NodeByName("tk0")
	m.do(demo(1, func(c *state.Cluster) {
		typ := c.Types["compute"]
		typ.Physnets = []string{"physnet2", "physnet2", "physnet1"}
		c.Types["compute"] = typ
	}))
	after, _ := m.snap().NodeByName("tk0")
	for i := range before.Ports {
		if before.Ports[i].MAC != after.Ports[i].MAC {
			t.Errorf("port %d: MAC %s became %s", i, before.Ports[i].MAC, after.Ports[i].MAC)
		}
	}
	if after.Ports[2].MAC == "" {
		t.Error("port 2 has no MAC")
	}
}

func TestPlanRefusesWhatFitsNowhereWithTheReason(t *testing.T) {
	m := newMesh(t)
	want := demo(1, func(c *state.Cluster) {
		typ := c.Types["compute"]
		typ.MemoryMB = 1 << 30 // 1 PiB
		c.Types["compute"] = typ
	})
	_, err := Cluster(m.snap(), want, Options{Random: m.seed})
	var unplaced *UnplacedError
	if !errors.As(err, &unplaced) || !strings.Contains(err.Error(), "hv1") || !strings.Contains(err.Error(), "memory") {
		t.Fatalf("error %v, want one that names hv1 and memory", err)
	}
	if _, err := Cluster(m.snap(), want, Options{Random: m.seed, AllowUnplaced: true}); err != nil {
		t.Errorf("with AllowUnplaced: %v", err)
	}
}

func TestPlanRefusesIPMIForANodeThatHasNoPort(t *testing.T) {
	m := newMesh(t)
	m.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", Physnets: []string{"physnet1", "physnet2"}, Drivers: []string{"libvirt"},
		Capacity: state.Resources{VCPUs: 1000, MemoryMB: 1 << 20, DiskGB: 1 << 20}, BMC: state.PortRange{Address: "192.0.2.1", First: 6230, Last: 16229}, Redfish: 8000}})
	over := func(driver string) state.Cluster {
		return demo(1, func(c *state.Cluster) {
			typ := c.Types["compute"]
			typ.IronicDriver = driver
			c.Types["compute"] = typ
		})
	}
	m.do(over("redfish"))
	if _, err := Cluster(m.snap(), over("ipmi"), Options{Random: m.seed}); err != nil {
		t.Errorf("not placed yet: %v", err)
	}
	m.apply(state.PlaceNodes{Placements: sched.Place(m.snap(), nil).Placements})
	_, err := Cluster(m.snap(), over("ipmi"), Options{Random: m.seed})
	if err == nil || !strings.Contains(err.Error(), `node "tk0": was made for redfish and has no ipmi port`) {
		t.Errorf("error %v", err)
	}
}

func TestLinkNamesAreShortAndUnique(t *testing.T) {
	ids := newIdentities(newMesh(t).snap(), rand.NewChaCha8([32]byte{}))
	seen := map[string]string{}
	names := []string{"tk0", "controller0", "compute-a0", "compute-b0", "compute-c0", "n1234567", "compute12345"}
	for i := range 1000 {
		names = append(names, fmt.Sprintf("storage-node-%d", i))
	}
	for _, name := range names {
		short := ids.linkName(name, "uuid-"+name)
		if short == "" || len(short) > maxLinkName || seen[short] != "" {
			t.Fatalf("%s: link name %q (also of %q)", name, short, seen[short])
		}
		seen[short] = name
	}
	for short, name := range map[string]string{"tk0": "tk0", "contr0": "controller0", "compu0": "compute-a0"} {
		if seen[short] != name {
			t.Errorf("%s has %q, want the same as the Ansible Tenks gives", name, seen[short])
		}
	}
}

// A hundred thousand nodes, whose names differ in what a link name has no room for, or only in
// that, and the last port that there can be.
func TestLinkNamesOfAHundredThousandNodesFitAndAreUnique(t *testing.T) {
	ids := newIdentities(newMesh(t).snap(), rand.NewChaCha8([32]byte{}))
	const each, lastPort = 10_000, 31
	seen := make(map[string]string, 10*each)
	long := strings.Repeat("x", 57)
	for _, prefix := range []string{"tk", "compute-a", "compute-b", "compute.b_", "compute-c", "storage-1-", "9", "n00000", long + "y", long + "z"} {
		for i := range each {
			name := fmt.Sprintf("%s%d", prefix, i)
			short := ids.linkName(name, "uuid-"+name)
			if other, taken := seen[short]; taken {
				t.Fatalf("%s and %s have the link name %q", name, other, short)
			}
			seen[short] = name
			for _, name := range []string{link.TapName(short, lastPort), link.PeerName(short, lastPort), link.Bridge{Switch: true}.PeerName(short, lastPort)} {
				if len(name) > 15 || strings.ContainsAny(name, "/: \t") {
					t.Fatalf("%s: interface name %q", seen[short], name)
				}
			}
		}
	}
}

// plugged is a cluster whose nodes are plugged into a PDU.
func plugged(count int, pdu string, change ...func(*state.Cluster)) state.Cluster {
	return demo(count, append([]func(*state.Cluster){func(c *state.Cluster) {
		c.PDUs = []state.PDU{{Name: "rack1", Community: state.NewSecret("one")}, {Name: "rack2", User: "two", Password: state.NewSecret("password")}}
		c.Specs[0].PDU = pdu
	}}, change...)...)
}

// outletsOf lists the outlets of a mesh's nodes.
func (m *mesh) outletsOf() []string {
	var out []string
	for _, n := range m.snap().Nodes() {
		out = append(out, n.Name+": "+plug(n.Outlet))
	}
	return out
}

func TestNodesKeepTheirOutlets(t *testing.T) {
	m := newMesh(t)
	m.do(plugged(3, "rack1"))
	if diff := cmp.Diff([]string{"tk0: 1 of rack1", "tk1: 2 of rack1", "tk2: 3 of rack1"}, m.outletsOf()); diff != "" {
		t.Error(diff)
	}
	if p := m.plan(plugged(3, "rack1"), Options{}); !p.Empty(m.snap()) {
		t.Errorf("the same again: %+v", p.Steps)
	}
	n, _ := m.snap().NodeByName("tk1")
	m.apply(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: n.UUID}}})
	m.do(plugged(4, "rack1"))
	if diff := cmp.Diff([]string{"tk0: 1 of rack1", "tk1: 2 of rack1", "tk2: 3 of rack1", "tk3: 4 of rack1"}, m.outletsOf()); diff != "" {
		t.Errorf("after one was removed and two were made: %s", diff)
	}
	p := m.do(plugged(4, "rack2"))
	if want := "outlet 4 of rack1 → 4 of rack2"; len(p.Steps) != 4 || !slices.Contains(texts(p.Steps[3]), want) {
		t.Errorf("steps %+v, want %q", p.Steps, want)
	}
	p = m.do(plugged(4, "rack2", func(c *state.Cluster) { c.PDUs[1].Password = state.NewSecret("another password") }))
	if want := "pdu"; len(p.Steps) != 4 || !slices.Equal(texts(p.Steps[0]), []string{want}) {
		t.Errorf("steps %+v, want %q", p.Steps, want)
	}
	p = m.do(plugged(4, ""))
	if want := "outlet 1 of rack2 → none"; len(p.Steps) != 4 || !slices.Equal(texts(p.Steps[0]), []string{want}) {
		t.Errorf("steps %+v, want %q", p.Steps, want)
	}
}

func TestWhatClientsLogInWithSaysWhichPDUIsMeant(t *testing.T) {
	for _, c := range []struct {
		name string
		pdu  state.PDU
		want string
	}{
		{"its name", state.PDU{Name: "rack1", Community: state.NewSecret("x")}, `pdu "rack1": its name is that of PDU "rack1" of cluster "demo"`},
		{"its community", state.PDU{Name: "x", Community: state.NewSecret("one")}, `pdu "x": its community is that of PDU "rack1" of cluster "demo"`},
		{"its user", state.PDU{Name: "x", User: "two"}, `pdu "x": its user "two" is that of PDU "rack2" of cluster "demo"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			m.do(plugged(1, "rack1"))
			other := demo(0, func(cl *state.Cluster) { cl.Name, cl.PDUs = "other", []state.PDU{c.pdu} })
			_, err := Cluster(m.snap(), other, Options{Random: m.seed})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, err := Cluster(m.snap(), plugged(1, "rack1", func(cl *state.Cluster) { cl.PDUs[1].Community = cl.PDUs[0].Community }), Options{Random: m.seed}); err == nil {
				t.Error("one community for two PDUs of a cluster is taken")
			}
		})
	}
}

func TestAPlanNotesAPDUThatIronicCannotUse(t *testing.T) {
	for pdu, want := range map[string]int{"rack1": 0, "rack2": 1} {
		m := newMesh(t)
		m.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", Physnets: []string{"physnet1", "physnet2"}, Drivers: []string{"libvirt"},
			Capacity: state.Resources{VCPUs: 1000, MemoryMB: 1 << 20, DiskGB: 1 << 20}, SNMP: 1610}})
		p := m.plan(plugged(1, pdu, func(c *state.Cluster) {
			typ := c.Types["compute"]
			typ.IronicDriver = state.ProtocolSNMP
			c.Types["compute"], c.Specs[0].Enrol, c.Ironic = typ, &state.Enrolment{ResourceClass: "rc"}, &state.IronicAccess{Auth: "none"}
		}), Options{})
		if len(p.Notes) != want || want == 1 && !strings.Contains(p.Notes[0], "PDU rack2 does not take: give that a community_file") {
			t.Errorf("%s: notes %q", pdu, p.Notes)
		}
	}
}
