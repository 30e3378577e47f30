package ironiclab

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic"
	"tenks/raftfsm/state"
)

// redeclare changes what is declared of a node.
func (m *mesh) redeclare(i int, change func(*state.NodeChange, *state.Enrolment)) {
	m.t.Helper()
	n := m.node(i)
	enrol := *n.Enrol
	c := state.NodeChange{UUID: n.UUID, Machine: n.Machine, Enrol: &enrol, Ports: slices.Clone(n.Ports), BMC: n.BMC,
		DeployKernel: n.DeployKernel, DeployRamdisk: n.DeployRamdisk}
	change(&c, &enrol)
	cluster, _ := m.snap().Cluster("demo")
	m.apply(state.ApplyCluster{Cluster: *cluster, Expect: cluster.ModifyIndex, Change: []state.NodeChange{c}})
}

// show is a node as Ironic has it; nil: it has none.
func (i *Ironic) show(t *testing.T, uuid string) map[string]any {
	t.Helper()
	var out map[string]any
	if i.Call(t.Context(), "GET", "/v1/nodes/"+uuid, nil, &out) != nil {
		return nil
	}
	return out
}

func (i *Ironic) portsOf(t *testing.T, uuid string) []map[string]any {
	t.Helper()
	var out struct{ Ports []map[string]any }
	if err := i.Call(t.Context(), "GET", "/v1/nodes/"+uuid+"/ports?detail=True", nil, &out); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out.Ports, func(a, b map[string]any) int { return strings.Compare(a["address"].(string), b["address"].(string)) })
	return out.Ports
}

func (i *Ironic) groupsOf(t *testing.T, uuid string) []map[string]any {
	t.Helper()
	var out struct{ Portgroups []map[string]any }
	if err := i.Call(t.Context(), "GET", "/v1/nodes/"+uuid+"/portgroups?detail=True", nil, &out); err != nil {
		t.Fatal(err)
	}
	return out.Portgroups
}

// reached says that a node was taken to its state, and nothing is wrong with it.
func (m *mesh) reached(i int, provision string) func() bool {
	return func() bool {
		s := m.node(i).Ironic
		return s.Phase == state.IronicEnrolled && s.ProvisionState == provision && s.Error == ""
	}
}

// quiet waits for two more looks, which write nothing.
func (m *mesh) quiet(i *Ironic) {
	m.t.Helper()
	before := len(writes(m.t, i))
	looks := func() int { return strings.Count(tail(i.Log, 1<<30), `"GET /v1/ports?`) }
	from := looks()
	m.wait("two more looks", time.Minute, func() bool { return looks() >= from+2 })
	if w := writes(m.t, i); len(w) != before {
		m.t.Errorf("nothing changed, yet: %q", w[before:])
	}
}

func TestIntegrationIronicFieldsAreSetChangedAndTakenAway(t *testing.T) {
	i := startIronic(t, Options{AutomatedClean: true})
	m := newMesh(t)
	m.declare(state.IronicAccess{Auth: "none", Endpoint: i.URL}, "fake-hardware", 2)
	interfaces := map[string]string{"bios": "no-bios", "boot": "fake", "console": "no-console", "deploy": "fake", "inspect": "no-inspect",
		"management": "fake", "network": "noop", "power": "fake", "raid": "no-raid", "rescue": "no-rescue", "storage": "noop", "vendor": "no-vendor"}
	m.redeclare(0, func(c *state.NodeChange, e *state.Enrolment) {
		c.Machine.Physnets = []string{"physnet1", "physnet1"}
		c.Ports[1].Physnet = "physnet1"
		*e = state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_GPU", "CUSTOM_A"}, Description: "made by a test",
			Properties: map[string]string{"rack": "r1", "capabilities": "x:y"}, Interfaces: maps.Clone(interfaces),
			ConductorGroup: "elsewhere", Shard: "s1", Owner: "alice", Lessee: "bob", AutomatedClean: "false",
			Objects: map[string]string{"root_device": `{"size":">= 10","rotational":false}`},
			Extra:   map[string]string{"site": `"lab"`, "a-b": `{"n":[1,2.5,null]}`},
			NetworkData: `{"links":[{"id":"a","type":"phy","ethernet_mac_address":"port1"}],` +
				`"networks":[{"id":"n","type":"ipv4","link":"a","network_id":"n","ip_address":"192.0.2.20","netmask":"255.255.255.0","routes":[]}],"services":[]}`,
			PXE: []bool{false, false},
			PortGroups: []state.PortGroup{{Name: "bond0", Ports: []int{0, 1}, Mode: "802.3ad", FirstPort: true, Dependent: true,
				Properties: map[string]string{"miimon": "100"}}}}
	})
	m.redeclare(1, func(_ *state.NodeChange, e *state.Enrolment) {
		*e = state.Enrolment{ResourceClass: "baremetal", State: state.TargetEnroll}
	})
	m.lead()
	m.wait("left in enroll", time.Minute, m.reached(1, "enroll"))
	m.wait("no conductor of that group", time.Minute, func() bool {
		return strings.Contains(m.node(0).Ironic.Error, `for conductor group "elsewhere"`)
	})
	m.redeclare(0, func(_ *state.NodeChange, e *state.Enrolment) { e.ConductorGroup = "" })
	m.wait("available", time.Minute, m.reached(0, "available"))

	see := func(when string, fields map[string]any, interfaces map[string]string) {
		t.Helper()
		got := i.show(t, uuidOf(0))
		for field, want := range fields {
			have := got[field]
			if object, ok := have.(map[string]any); ok {
				have = maps.Clone(object)
				for _, key := range []string{"tenks", "cpus", "memory_mb", "local_gb", "cpu_arch"} {
					delete(have.(map[string]any), key)
				}
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", when, field, diff)
			}
		}
		for kind, name := range interfaces {
			if have := got[kind+"_interface"]; have != name {
				t.Errorf("%s: %s interface %v, want %s", when, kind, have, name)
			}
		}
		m.quiet(i)
	}
	see("declared", map[string]any{"shard": "s1", "owner": "alice", "lessee": "bob", "automated_clean": false, "description": "made by a test",
		"resource_class": "baremetal", "traits": []any{"CUSTOM_A", "CUSTOM_GPU"}, "maintenance": false,
		"properties": map[string]any{"rack": "r1", "capabilities": "boot_mode:uefi,x:y", "root_device": map[string]any{"size": ">= 10", "rotational": false}},
		"network_data": map[string]any{"services": []any{},
			"links": []any{map[string]any{"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:0b:00:01"}},
			"networks": []any{map[string]any{"id": "n", "type": "ipv4", "link": "a", "network_id": "n", "ip_address": "192.0.2.20",
				"netmask": "255.255.255.0", "routes": []any{}}}},
		"extra": map[string]any{"site": "lab", "a-b": map[string]any{"n": []any{1.0, 2.5, nil}}}}, interfaces)
	if g := i.groupsOf(t, uuidOf(0)); len(g) != 1 || g[0]["name"] != "tk0-bond0" || g[0]["mode"] != "802.3ad" || g[0]["address"] != "52:54:00:0b:00:00" ||
		g[0]["standalone_ports_supported"] != false || g[0]["properties"].(map[string]any)["miimon"] != 100.0 {
		t.Errorf("port groups %v", g)
	} else if p := i.portsOf(t, uuidOf(0)); p[0]["portgroup_uuid"] != g[0]["uuid"] || p[1]["portgroup_uuid"] != g[0]["uuid"] || p[0]["pxe_enabled"] != false {
		t.Errorf("ports %v", p)
	}

	m.redeclare(0, func(_ *state.NodeChange, e *state.Enrolment) {
		e.Shard, e.Owner, e.Lessee, e.AutomatedClean = "s2", "carol", "dave", "true"
		e.Objects, e.Extra = map[string]string{"root_device": `{"serial":"x"}`}, map[string]string{"site": `"other"`}
		e.NetworkData = `{"links":[],"networks":[],"services":[{"type":"dns","address":"192.0.2.1"}]}`
		e.PXE = []bool{false, true}
		e.PortGroups = []state.PortGroup{{Name: "bond0", Ports: []int{0}}}
	})
	m.wait("changed", time.Minute, func() bool {
		return i.portsOf(t, uuidOf(0))[1]["pxe_enabled"] == true && m.reached(0, "available")() && i.show(t, uuidOf(0))["maintenance"] == false
	})
	see("changed", map[string]any{"shard": "s2", "owner": "carol", "lessee": "dave", "automated_clean": true, "extra": map[string]any{"site": "other"}, "maintenance": false,
		"network_data": map[string]any{"links": []any{}, "networks": []any{}, "services": []any{map[string]any{"type": "dns", "address": "192.0.2.1"}}},
		"properties":   map[string]any{"rack": "r1", "capabilities": "boot_mode:uefi,x:y", "root_device": map[string]any{"serial": "x"}}}, interfaces)
	if g := i.groupsOf(t, uuidOf(0)); len(g) != 1 || g[0]["mode"] != "active-backup" || g[0]["address"] != nil || g[0]["standalone_ports_supported"] != true {
		t.Errorf("port groups %v", g)
	}

	m.redeclare(0, func(_ *state.NodeChange, e *state.Enrolment) { *e = state.Enrolment{} })
	m.wait("taken away", time.Minute, func() bool {
		return len(i.groupsOf(t, uuidOf(0))) == 0 && i.portsOf(t, uuidOf(0))[0]["pxe_enabled"] == true && m.reached(0, "available")() &&
			i.show(t, uuidOf(0))["maintenance"] == false
	})
	defaults := map[string]string{}
	for kind := range interfaces {
		defaults[kind], _ = i.show(t, uuidOf(1))[kind+"_interface"].(string)
	}
	see("taken away", map[string]any{"shard": nil, "owner": nil, "lessee": nil, "automated_clean": nil, "description": nil, "resource_class": nil,
		"traits": []any{}, "extra": map[string]any{}, "properties": map[string]any{"capabilities": "boot_mode:uefi"}, "network_data": map[string]any{}, "maintenance": false}, defaults)

	m.redeclare(1, func(_ *state.NodeChange, e *state.Enrolment) {
		e.Interfaces = map[string]string{"firmware": "no-firmware"}
	})
	m.wait("a newer key is told of", time.Minute, func() bool {
		return strings.HasPrefix(m.node(1).Ironic.Error, "node tk1: ironic_config.firmware_interface needs version 1.86 of Ironic's API, and this Ironic has 1.82 at most")
	})
	if strings.Contains(tail(i.Log, 1<<30), "Traceback") {
		t.Errorf("Ironic stumbled:\n%s", tail(i.Log, 3000))
	}
}

func TestIntegrationIronicFieldsOfStateAreFollowed(t *testing.T) {
	i := startIronic(t, Options{})
	m := newMesh(t)
	access := state.IronicAccess{Auth: "none", Endpoint: i.URL}
	// A record that is in use, as somebody else made it: tk1, with a UUID of its own.
	const old = "dddddddd-0000-4000-8000-000000000001"
	call := func(method, path string, body any) {
		t.Helper()
		if err := i.Call(t.Context(), method, path, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	provision := func(uuid, verb string) {
		t.Helper()
		call("PUT", "/v1/nodes/"+uuid+"/states/provision", map[string]any{"target": verb})
	}
	at := func(uuid, want string) func() bool {
		return func() bool { return i.show(t, uuid)["provision_state"] == want }
	}
	call("POST", "/v1/nodes", map[string]any{"uuid": old, "name": "tk1", "driver": "fake-hardware", "extra": map[string]any{"mine": true}, "resource_class": "baremetal",
		"properties": map[string]any{"vendor": "QEMU"}})
	call("POST", "/v1/ports", map[string]any{"node_uuid": old, "address": "52:54:00:0b:01:00"})
	call("POST", "/v1/ports", map[string]any{"node_uuid": old, "address": "52:54:00:ff:ff:01"})
	call("PUT", "/v1/nodes/"+old+"/traits", map[string]any{"traits": []string{"CUSTOM_OLD"}})
	for _, step := range [][2]string{{"manage", "manageable"}, {"provide", "available"}, {"active", "active"}} {
		provision(old, step[0])
		m.wait(step[1], time.Minute, at(old, step[1]))
	}

	m.declare(access, "fake-hardware", 2)
	m.redeclare(0, func(_ *state.NodeChange, e *state.Enrolment) {
		*e = state.Enrolment{State: state.TargetManageable, Inspect: true, AutomatedClean: "true",
			Interfaces: map[string]string{"inspect": "fake", "deploy": "direct", "boot": "fake", "network": "noop"}}
	})
	m.lead()
	m.wait("manageable, and no more", time.Minute, m.reached(0, "manageable"))
	if i.show(t, uuidOf(0))["inspection_finished_at"] == nil {
		t.Error("not inspected")
	}
	m.wait("a foreign record is left alone", time.Minute, func() bool { return strings.HasSuffix(m.node(1).Ironic.Error, "it is left alone") })

	t.Run("adoption keeps the state", func(t *testing.T) {
		m.redeclare(1, func(c *state.NodeChange, _ *state.Enrolment) { c.AdoptIronic = true })
		m.wait("adopted", time.Minute, func() bool { return m.node(1).Ironic.Record == old && m.node(1).Ironic.ProvisionState == "active" })
		m.wait("ports of ours", time.Minute, func() bool { return len(i.portsOf(t, old)) == 3 })
		m.quiet(i)
		got := i.show(t, old)
		if got["provision_state"] != "active" || got["extra"].(map[string]any)["mine"] != true || got["properties"].(map[string]any)["vendor"] != "QEMU" ||
			!cmp.Equal(got["traits"], []any{"CUSTOM_GPU", "CUSTOM_OLD"}) {
			t.Errorf("node %v", got)
		}
		if m.node(1).Ironic.Phase != state.IronicEnrolled {
			t.Errorf("status %+v", m.node(1).Ironic)
		}
	})

	t.Run("failed cleaning", func(t *testing.T) {
		m.redeclare(0, func(_ *state.NodeChange, e *state.Enrolment) { e.State = "" })
		m.wait("cleaning", time.Minute, at(uuidOf(0), "clean wait"))
		provision(uuidOf(0), "abort")
		m.wait("reported", time.Minute, func() bool {
			return strings.HasSuffix(m.node(0).Ironic.Error, "; tenks node recover tk0 tries again")
		})
		m.quiet(i)
		m.apply(state.RecoverNodes{Nodes: []string{uuidOf(0)}})
		m.wait("cleaning again", time.Minute, at(uuidOf(0), "clean wait"))
		m.redeclare(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover, e.AutomatedClean = true, "false" })
		provision(uuidOf(0), "abort")
		m.wait("recovered", time.Minute, m.reached(0, "available"))
		m.quiet(i)
	})

	t.Run("what people keep", func(t *testing.T) {
		patch := func(uuid, path string, value any) {
			t.Helper()
			call("PATCH", "/v1/nodes/"+uuid, []any{map[string]any{"op": "replace", "path": path, "value": value}})
		}
		patch(old, "/protected", true)
		call("PUT", "/v1/nodes/"+uuidOf(0)+"/maintenance", map[string]any{"reason": "mine"})
		const protected = "node tk1 is protected in Ironic, against --force as well: end that, or leave its record with --forget-ironic"
		const held = "node tk0 is in maintenance in Ironic (mine): end that or use --force"
		refused, err := ironic.Removable(t.Context(), access, m.snap().Nodes())
		if err != nil || refused[uuidOf(1)] != protected || refused[uuidOf(0)] != held {
			t.Errorf("Removable = %q, %v", refused, err)
		}
		m.apply(state.RemoveCluster{Name: "demo"})
		m.host(0, state.HostStatus{Phase: state.HostGone})
		m.host(1, state.HostStatus{Phase: state.HostGone})
		m.wait("refused", time.Minute, func() bool { return m.node(0).Ironic.Error == held && m.node(1).Ironic.Error == protected })
		m.apply(state.RemoveCluster{Name: "demo", Force: true})
		m.wait("the one in maintenance goes", time.Minute, func() bool { return len(m.snap().Nodes()) == 1 })
		patch(old, "/protected", false)
		m.wait("gone", time.Minute, func() bool { return len(m.snap().Nodes()) == 0 })
		if nodes, err := i.Nodes(t.Context()); err != nil || len(nodes) != 0 {
			t.Errorf("left in Ironic: %v, %v", nodes, err)
		}
	})
	if strings.Contains(tail(i.Log, 1<<30), "Traceback") {
		t.Errorf("Ironic stumbled:\n%s", tail(i.Log, 3000))
	}
}
