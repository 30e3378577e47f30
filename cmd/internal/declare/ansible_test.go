package declare

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
	"tenks/sched"
)

// Tests of what the Ansible tool got wrong: docs/from-ansible.md has the list.

// join has hypervisors of that many BMC ports, and takes newMesh's away.
func (m *mesh) join(ports int, ids ...string) {
	m.t.Helper()
	for i, id := range ids {
		m.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: id, Name: id, Physnets: []string{"physnet1", "physnet2"}, Drivers: []string{"fake", "libvirt"},
			Capacity: state.Resources{VCPUs: 100, MemoryMB: 1 << 16, DiskGB: 1000},
			BMC:      state.PortRange{Address: "192.0.2." + string(rune('1'+i)), First: 6230, Last: 6230 + ports - 1}}})
	}
}

// on counts the nodes of each hypervisor.
func (m *mesh) on() map[string]int {
	out := map[string]int{}
	for _, n := range m.snap().Nodes() {
		if n.Placement != nil {
			out[n.Placement.Hypervisor]++
		}
	}
	return out
}

// Round-robin began anew with each run: nodes that were added one by one were all on the
// first host.
func TestB3NodesAddedOneByOneAreSpread(t *testing.T) {
	m := newMesh(t)
	m.join(100, "hv1", "hv2", "hv3")
	for count := 1; count <= 9; count++ {
		m.do(demo(count))
		m.place()
	}
	if diff := cmp.Diff(map[string]int{"hv1": 3, "hv2": 3, "hv3": 3}, m.on()); diff != "" {
		t.Error(diff)
	}
}

// What a type declares was looked at for new nodes only.
func TestB4EveryKeyOfATypeReachesNodesThatExist(t *testing.T) {
	for key, change := range map[string]func(*state.Machine){
		"memory":  func(m *state.Machine) { m.MemoryMB = 1024 },
		"vcpus":   func(m *state.Machine) { m.VCPUs = 2 },
		"volumes": func(m *state.Machine) { m.Volumes = append(m.Volumes, state.Volume{CapacityBytes: 1 << 30}) },
		"physical_networks": func(m *state.Machine) {
			m.Physnets = []string{"physnet2"}
		},
		"driver": func(m *state.Machine) { m.Driver = "fake" },
	} {
		m := newMesh(t)
		m.do(demo(3))
		m.place()
		want := demo(3, machine(change))
		p := m.plan(want, Options{})
		if len(p.Steps) != 3 || !strings.HasPrefix(p.Steps[0].Changes[0].Field, key) {
			t.Errorf("%s: %+v", key, p.Steps)
			continue
		}
		m.apply(p.Command)
		for _, n := range m.snap().Nodes() {
			if diff := cmp.Diff(want.Types["compute"], n.Machine); diff != "" {
				t.Errorf("%s: %s (-want +got)\n%s", key, n.Name, diff)
			}
		}
	}
}

// A change of ironic_config made a second node of the same name and removed the first,
// disks and all: on one host while both were there.
func TestB5IronicConfigChangesTheNodeThatThereIs(t *testing.T) {
	m := newMesh(t)
	m.do(demo(2, enrolled))
	m.place()
	before := m.snap().Nodes()
	p := m.do(demo(2, enrolAs("other", "CUSTOM_A")))
	if diff := cmp.Diff([]string{"change tk0", "change tk1"}, summary(p)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"resource_class rc → other", "traits none → [CUSTOM_A]"}, texts(p.Steps[0])); diff != "" || p.Steps[0].When != Now {
		t.Error(diff)
	}
	after := m.snap().Nodes()
	for i, n := range before {
		if is := after[i]; len(after) != 2 || is.UUID != n.UUID || is.Removing || is.Enrol.ResourceClass != "other" || *is.Placement != *n.Placement || !slices.Equal(is.Ports, n.Ports) {
			t.Errorf("was %+v, is %+v", n, is)
		}
	}
}

// Across hosts it made the new node on one, and took the record of that name away when it
// came to the other: silently not enrolled.
func TestB6ANodeIsOnOneHostOnlyWhateverItsIronicConfig(t *testing.T) {
	m := newMesh(t)
	m.join(10, "hv1", "hv2")
	m.do(demo(4, enrolled))
	m.place()
	was := m.on()
	for _, class := range []string{"a", "b", "c"} {
		m.do(demo(4, enrolAs(class)))
		m.place()
	}
	if diff := cmp.Diff(was, m.on()); diff != "" {
		t.Error(diff)
	}
	names := map[string]bool{}
	for _, n := range m.snap().Nodes() {
		if names[n.Name] || n.Removing || len(n.Past) > 0 || n.Enrol.ResourceClass != "c" {
			t.Errorf("%+v", n)
		}
		names[n.Name] = true
	}
}

// 6230 to 6240 had eleven nodes scheduled, and then ten ports.
func TestB9BothEndsOfTheRangeOfPortsAreOfIt(t *testing.T) {
	m := newMesh(t)
	m.join(11, "hv1")
	m.do(demo(11))
	m.place()
	ports := map[int]bool{}
	for _, n := range m.snap().Nodes() {
		ports[n.Placement.BMC.Port] = true
	}
	if len(ports) != 11 || !ports[6230] || !ports[6240] {
		t.Errorf("ports %v, want 6230 to 6240", ports)
	}
	_, err := Cluster(m.snap(), demo(12), Options{Random: m.seed})
	if want := "no hypervisor can take node tk11: hv1: bmc: all ports are taken: 11 of 6230-6240"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("one more: %v, want %q", err, want)
	}
}

// Another range was a traceback once there were nodes.
func TestB10AnotherRangeOfPortsGivesNodesAPortInIt(t *testing.T) {
	m := newMesh(t)
	m.join(3, "hv1")
	m.do(demo(3))
	m.place()
	m.hypervisor(func(h *state.Hypervisor) { h.BMC.First, h.BMC.Last = 7000, 7099 })
	p := m.do(demo(3))
	if len(p.Steps) != 3 || p.Steps[0].When != Now || !strings.HasPrefix(texts(p.Steps[0])[0], "bmc.endpoint 192.0.2.1:6230 → 192.0.2.1:7000") {
		t.Errorf("%+v", p.Steps)
	}
	for i, name := range []string{"tk0", "tk1", "tk2"} {
		if at := m.node(name).Placement.BMC; at != (state.Endpoint{Address: "192.0.2.1", Port: 7000 + i}) {
			t.Errorf("%s is at %s", name, at)
		}
	}
	if p = m.plan(demo(3), Options{}); !p.Empty(m.snap()) || len(p.Notes) > 0 {
		t.Errorf("again: %+v, %q", p.Steps, p.Notes)
	}
}

// Nothing was compared with what hosts have.
func TestB11ANodeOfAPebibyteIsRefused(t *testing.T) {
	huge := machine(func(m *state.Machine) { m.MemoryMB, m.VCPUs = 1<<30, 1_000_000 })
	m := newMesh(t)
	if _, err := Cluster(m.snap(), demo(1, huge), Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), "hv1: vcpus: needs 1000000, 1000 of 1000 free") {
		t.Errorf("new: %v", err)
	}
	m.do(demo(1))
	m.place()
	if _, err := Cluster(m.snap(), demo(1, huge), Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), "node tk0 cannot grow: hv1: vcpus") {
		t.Errorf("one that there is: %v", err)
	}
}

// A host that had left the inventory went on counting as where its nodes are.
func TestB12NodesOfAHypervisorThatLeftAreMadeAnewElsewhere(t *testing.T) {
	m := newMesh(t)
	m.join(10, "hv1", "hv2")
	m.apply(state.PutPeer{Peer: state.Peer{ID: "hv1", Name: "hv1", Address: "192.0.2.1:7740", Role: state.RoleVoter}})
	m.apply(state.PutToken{Token: state.Token{ID: "t", Hash: make([]byte, 32), Uses: -1}})
	m.apply(state.AdmitPeer{Peer: state.Peer{ID: "hv2", Name: "hv2", Address: "192.0.2.2:7740", Role: state.RoleVoter}, Token: "t", Hash: make([]byte, 32)})
	m.do(demo(4))
	m.place()
	m.apply(state.MarkPeers{Lost: []string{"hv1"}})
	p := m.plan(demo(4), Options{})
	if !p.Empty(m.snap()) || len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], "tk0, tk2: its hypervisor hv1 is lost, and on_host_loss is hold") {
		t.Errorf("lost: %v, %q", summary(p), p.Notes)
	}
	m.apply(state.RemovePeer{ID: "hv1", Force: true})
	p = m.plan(demo(4), Options{})
	if !p.Empty(m.snap()) || len(p.Notes) != 1 || p.Notes[0] != "tk0, tk2: not placed: its hypervisor hv1 was removed, and placed once a hypervisor can take it" {
		t.Errorf("removed: %v, %q", summary(p), p.Notes)
	}
	m.place()
	if diff := cmp.Diff(map[string]int{"hv2": 4}, m.on()); diff != "" {
		t.Error(diff)
	}
}

// The first bytes of node names were the names of links, whoever had them.
func TestB13NoTwoNodesHaveALinkNameInCommon(t *testing.T) {
	m := newMesh(t)
	seen := map[string]string{}
	for i, prefix := range []string{"compute-rack-a-", "compute-rack-b-", "c", "compu", "contr", "controller"} {
		c := demo(30, func(c *state.Cluster) { c.Name, c.Specs[0].Prefix = string(rune('a'+i)), prefix })
		m.do(c)
	}
	for _, n := range m.snap().Nodes() {
		if len(n.LinkName) > maxLinkName || n.LinkName == "" || seen[n.LinkName] != "" {
			t.Errorf("%s: link name %q (also of %q)", n.Name, n.LinkName, seen[n.LinkName])
		}
		seen[n.LinkName] = n.Name
	}
	if len(seen) != 180 {
		t.Errorf("%d link names", len(seen))
	}
}

// The BMCs' settings were those of the host that Ansible ran on, and unknown on others.
func TestB14ABMCHasTheAddressOfItsOwnHost(t *testing.T) {
	m := newMesh(t)
	m.join(10, "hv1", "hv2", "hv3")
	m.do(demo(6))
	m.place()
	for _, n := range m.snap().Nodes() {
		h, _ := m.snap().Hypervisor(n.Placement.Hypervisor)
		if at, ok := m.snap().BMC(n); !ok || at.Address != h.BMC.Address || at.Port < h.BMC.First || at.Port > h.BMC.Last {
			t.Errorf("%s on %s has its BMC at %s", n.Name, h.Name, at)
		}
	}
	if len(m.on()) != 3 {
		t.Errorf("nodes on %v", m.on())
	}
}

// A physnet that was no longer mapped left its bridge and links behind without a word.
func TestB17APhysnetThatIsNoLongerMappedIsInThePlan(t *testing.T) {
	m := newMesh(t)
	m.do(demo(2))
	m.place()
	m.hypervisor(func(h *state.Hypervisor) { h.Physnets = []string{"physnet1"} })
	p := m.plan(demo(2), Options{})
	if len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], "tk0, tk1: on hv1, which has no physnet2, only physnet1") {
		t.Errorf("notes %q", p.Notes)
	}
	if r := sched.Place(m.snap(), []*state.Node{{UUID: "x", Name: "x", Machine: m.node("tk0").Machine}}); len(r.Placements) != 0 {
		t.Error("a new node is placed where its physnet is not")
	}
}
