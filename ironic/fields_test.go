package ironic

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// declareAnew changes what is declared of a node.
func (w *world) declareAnew(i int, change func(*state.NodeChange, *state.Enrolment)) {
	w.t.Helper()
	c := changeOf(w.node(i))
	enrol := *c.Enrol
	c.Enrol = &enrol
	change(&c, &enrol)
	cluster, _ := w.snap().Cluster("demo")
	next := *cluster
	w.apply(state.ApplyCluster{Cluster: next, Expect: cluster.ModifyIndex, Change: []state.NodeChange{c}})
}

// quiet fails unless passes over Ironic, by a new leader, write nothing.
func (w *world) quiet() {
	w.t.Helper()
	w.ironic.ResetLog()
	e := w.enroller()
	for range 3 {
		if err := e.Do(w.t.Context(), w.snap()); err != nil {
			w.t.Fatal(err)
		}
	}
	if writes := w.ironic.Writes(); len(writes) != 0 {
		w.t.Errorf("with nothing to change: wrote %q", writes)
	}
}

// everything is all that can be declared, but for state, inspect, recover and port groups.
func everything() *state.Enrolment {
	e := &state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_A"}, Properties: map[string]string{"rack": "r1", "capabilities": "x:y"},
		Interfaces: map[string]string{}, ConductorGroup: "Rack1", Description: "a test node", Shard: "s1", Owner: "alice", Lessee: "bob",
		Objects: map[string]string{"root_device": `{"rotational":false,"size":">= 10"}`},
		Extra:   map[string]string{"site": `"lab"`, "a-b": `{"n":1.5,"on":true}`, "empty": `""`}, AutomatedClean: "false",
		PXE: []bool{true, false}, NetworkData: `{"links":[{"id":"a","type":"phy","ethernet_mac_address":"port1","mtu":1500}],"networks":[],"services":[]}`}
	for _, kind := range append(slices.Clone(interfaceKinds), "firmware") {
		e.Interfaces[kind] = "fake"
	}
	return e
}

func TestEveryFieldIsSetChangedAndTakenAway(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.declareAnew(0, func(c *state.NodeChange, e *state.Enrolment) { *e = *everything() })
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)

	declared := map[string]any{"owner": "alice", "lessee": "bob", "shard": "s1", "automated_clean": false, "description": "a test node",
		"conductor_group": "rack1", "resource_class": "baremetal", "traits": []any{"CUSTOM_A"},
		"network_data": map[string]any{"networks": []any{}, "services": []any{}, "links": []any{
			map[string]any{"id": "a", "type": "phy", "ethernet_mac_address": mac(0, 1), "mtu": 1500.0}}}}
	for _, kind := range append(slices.Clone(interfaceKinds), "firmware") {
		declared[kind+"_interface"] = "fake"
	}
	see := func(when string, want map[string]any, properties, extra map[string]any, pxe ...bool) {
		t.Helper()
		got := w.ironic.Node(nodeUUID(0))
		for field, v := range want {
			if diff := cmp.Diff(v, got[field]); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", when, field, diff)
			}
		}
		have := maps.Clone(got["extra"].(map[string]any))
		delete(have, markKey)
		if diff := cmp.Diff(extra, have); diff != "" {
			t.Errorf("%s: extra (-want +got):\n%s", when, diff)
		}
		all := maps.Clone(got["properties"].(map[string]any))
		for _, key := range []string{"cpus", "memory_mb", "local_gb", "cpu_arch"} {
			delete(all, key)
		}
		if diff := cmp.Diff(properties, all); diff != "" {
			t.Errorf("%s: properties (-want +got):\n%s", when, diff)
		}
		for i, p := range w.ironic.Ports(nodeUUID(0)) {
			if p["pxe_enabled"] != pxe[i] {
				t.Errorf("%s: port %d pxe_enabled %v, want %v", when, i, p["pxe_enabled"], pxe[i])
			}
		}
		w.quiet()
	}
	see("declared", declared, map[string]any{"rack": "r1", "capabilities": "boot_mode:uefi,x:y", "root_device": map[string]any{"rotational": false, "size": ">= 10"}},
		map[string]any{"site": "lab", "a-b": map[string]any{"n": 1.5, "on": true}, "empty": ""}, true, false)

	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) {
		e.Shard, e.Owner, e.Lessee, e.AutomatedClean, e.PXE = "s2", "carol", "dave", "true", []bool{false, true}
		e.Objects = map[string]string{"root_device": `{"serial":"x"}`}
		e.Extra = map[string]string{"site": `["lab",2]`}
		e.NetworkData = `{"links":[],"networks":[],"services":[{"type":"dns","address":"192.0.2.1"}]}`
	})
	w.ironic.Set(nodeUUID(0), map[string]any{}) // what else there is stays
	w.until(e, "changed", func() bool { return w.ironic.Ports(nodeUUID(0))[1]["pxe_enabled"] == true && w.enrolled() })
	see("changed", map[string]any{"owner": "carol", "lessee": "dave", "shard": "s2", "automated_clean": true,
		"network_data": map[string]any{"links": []any{}, "networks": []any{}, "services": []any{map[string]any{"type": "dns", "address": "192.0.2.1"}}}},
		map[string]any{"rack": "r1", "capabilities": "boot_mode:uefi,x:y", "root_device": map[string]any{"serial": "x"}},
		map[string]any{"site": []any{"lab", 2.0}}, false, true)

	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { *e = state.Enrolment{} })
	w.until(e, "taken away", func() bool { return w.ironic.Ports(nodeUUID(0))[0]["pxe_enabled"] == true && w.enrolled() })
	gone := map[string]any{"owner": nil, "lessee": nil, "shard": nil, "automated_clean": nil, "description": nil,
		"conductor_group": "", "resource_class": nil, "traits": []any{}, "network_data": nil}
	for _, kind := range append(slices.Clone(interfaceKinds), "firmware") {
		gone[kind+"_interface"] = "no-" + kind
	}
	see("taken away", gone, map[string]any{"capabilities": "boot_mode:uefi"}, map[string]any{}, true, true)
}

func TestPortGroupsAreMadeChangedAndTakenAway(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	one := func(n *state.NodeChange) {
		n.Machine.Physnets = []string{"physnet1", "physnet1"}
		n.Ports = slices.Clone(n.Ports)
		n.Ports[1].Physnet = "physnet1"
	}
	w.declareAnew(0, func(c *state.NodeChange, e *state.Enrolment) {
		one(c)
		e.PXE = []bool{false, false}
		e.PortGroups = []state.PortGroup{{Name: "bond0", Ports: []int{1, 0}, Mode: "802.3ad", FirstPort: true, Dependent: true,
			Properties: map[string]string{"miimon": "100"}}}
	})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	see := func(when string, want ...map[string]any) {
		t.Helper()
		groups := w.ironic.PortGroups(nodeUUID(0))
		members := map[any]int{}
		for _, p := range w.ironic.Ports(nodeUUID(0)) {
			members[p["portgroup_uuid"]]++
		}
		for i, g := range groups {
			if i >= len(want) {
				t.Errorf("%s: one more group: %v", when, g)
				continue
			}
			got := map[string]any{"name": g["name"], "mode": g["mode"], "address": g["address"], "standalone": g["standalone_ports_supported"],
				"properties": g["properties"], "ports": members[g["uuid"]]}
			if diff := cmp.Diff(want[i], got); diff != "" {
				t.Errorf("%s: group (-want +got):\n%s", when, diff)
			}
		}
		if len(groups) < len(want) {
			t.Errorf("%s: %d groups, want %d", when, len(groups), len(want))
		}
		w.quiet()
	}
	see("made", map[string]any{"name": "tk0-bond0", "mode": "802.3ad", "address": mac(0, 1), "standalone": false,
		"properties": map[string]any{"miimon": 100.0}, "ports": 2})

	// From a dependent group to one that is not, whose ports boot, and one more.
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) {
		e.PXE = nil
		e.PortGroups = []state.PortGroup{{Name: "bond0", Ports: []int{0}}, {Name: "bond1", Ports: []int{1}, Address: "52:54:00:aa:00:01"}}
	})
	w.until(e, "changed", func() bool { return w.ironic.Ports(nodeUUID(0))[1]["pxe_enabled"] == true && w.enrolled() })
	see("changed", map[string]any{"name": "tk0-bond0", "mode": "active-backup", "address": nil, "standalone": true, "properties": map[string]any{}, "ports": 1},
		map[string]any{"name": "tk0-bond1", "mode": "active-backup", "address": "52:54:00:aa:00:01", "standalone": true, "properties": map[string]any{}, "ports": 1})

	// And back, where the ports stop to boot first.
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) {
		e.PXE = []bool{false, true}
		e.PortGroups = []state.PortGroup{{Name: "bond0", Ports: []int{0}, Dependent: true}}
	})
	w.until(e, "changed back", func() bool { return len(w.ironic.PortGroups(nodeUUID(0))) == 1 && w.enrolled() })
	see("changed back", map[string]any{"name": "tk0-bond0", "mode": "active-backup", "address": nil, "standalone": false, "properties": map[string]any{}, "ports": 1})

	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.PXE, e.PortGroups = nil, nil })
	w.until(e, "taken away", func() bool { return len(w.ironic.PortGroups(nodeUUID(0))) == 0 && w.enrolled() })
	see("taken away")
	w.ironic.ResetLog()
	if err := e.Do(t.Context(), w.snap()); err != nil || len(w.ironic.Log()) != 2 {
		t.Errorf("without groups: %v, requests %q, want two", err, w.ironic.Log())
	}
}

func TestRequestsAreSpacedOut(t *testing.T) {
	p := &pace{}
	p.set(4)
	now := time.Unix(1000, 0)
	var got []time.Duration
	for range 6 {
		got = append(got, max(0, p.next(now).Sub(now)))
	}
	// Four at once after a rest, then one each quarter of a second.
	want := []time.Duration{0, 0, 0, 0, 250 * time.Millisecond, 500 * time.Millisecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p = &pace{}
	p.set(0.5)
	if first, second := p.next(now).Sub(now), p.next(now).Sub(now); first != 0 || second != 2*time.Second {
		t.Errorf("one in two seconds: after %v and %v", first, second)
	}
	p.set(0)
	if at := p.next(now); at.After(now) {
		t.Errorf("without a rate: after %v", at.Sub(now))
	}
}

func TestLimitsOfAnIronicThatClustersShareAreTheLowest(t *testing.T) {
	a := state.IronicLimits{Concurrency: 4, Rate: 10}
	for b, want := range map[state.IronicLimits]state.IronicLimits{
		{}: a, {Concurrency: 2, Rate: 20}: {Concurrency: 2, Rate: 10}, {Concurrency: 9, Rate: 1}: {Concurrency: 4, Rate: 1}} {
		if got := tighter(a, b); got != want {
			t.Errorf("%v and %v: %v, want %v", a, b, got, want)
		}
		if got := tighter(b, a); got != want {
			t.Errorf("%v and %v: %v, want %v", b, a, got, want)
		}
	}
}

func TestConcurrencyOfAnIronicIsKept(t *testing.T) {
	w := newWorld(t, 8, ironictest.Options{Latency: 2 * time.Millisecond})
	c, _ := w.snap().Cluster("demo")
	limited := *c
	limited.IronicLimits = state.IronicLimits{Concurrency: 2}
	w.apply(state.ApplyCluster{Cluster: limited, Expect: c.ModifyIndex})
	w.until(w.enroller(), "enrolled", w.enrolled)
	if most := w.ironic.MostAtOnce(); most != 2 {
		t.Errorf("most requests at once = %d, want 2", most)
	}
}

func TestImagesOfGlanceAreFoundByName(t *testing.T) {
	const kernel, ramdisk = "bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
	w := newWorld(t, 1, ironictest.Options{Username: ironicUser, Password: ironicPassword, Token: "planted-token"})
	w.access = state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: cloudYAML(w.ironic.URL()+"/identity/v3", ironicPassword)}
	w.ironic.AddImage(ramdisk, "ipa.initramfs")
	c, _ := w.snap().Cluster("demo")
	moved := *c
	moved.Ironic = &w.access
	change := changeOf(w.node(0))
	change.DeployKernel, change.DeployRamdisk = "ipa.kernel", ramdisk
	w.apply(state.ApplyCluster{Cluster: moved, Expect: c.ModifyIndex, Change: []state.NodeChange{change}})
	e := w.enroller()
	said := func(want string) func() bool {
		return func() bool { return w.node(0).Ironic.Error == "node tk0: deploy_kernel: image \"ipa.kernel\": "+want }
	}
	w.until(e, "a missing image is told of", said("Glance has no active image of that name or UUID: upload it, or correct the name"))
	if nodes := w.ironic.Nodes(); len(nodes) != 0 {
		t.Errorf("nodes %v without a kernel", nodes)
	}
	w.ironic.AddImage(kernel, "ipa.kernel")
	w.ironic.AddImage("bbbbbbbb-0000-4000-8000-000000000003", "ipa.kernel")
	e = w.enroller() // which has not looked yet
	w.until(e, "two of a name are told of", said("Glance has 2 active images of that name: give the UUID of one"))
	w.ironic.DropImage("bbbbbbbb-0000-4000-8000-000000000003")
	e = w.enroller()
	w.until(e, "enrolled", w.enrolled)
	info := w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any)
	if info["deploy_kernel"] != kernel || info["deploy_ramdisk"] != ramdisk {
		t.Errorf("driver_info %v", info)
	}
	w.ironic.ResetLog()
	for range 3 {
		if err := e.Do(t.Context(), w.snap()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.ironic.Log(); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "/image/") }) || len(got) != 6 {
		t.Errorf("what is known was asked for again: %q", got)
	}
}

func TestImagesWithoutAKeystoneAreRefused(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	change := changeOf(w.node(0))
	change.DeployKernel = "ipa.kernel"
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex(), Change: []state.NodeChange{change}})
	const want = `node tk0: deploy_kernel: image "ipa.kernel" would be one in Glance, and this cloud has no Keystone: give a URL or a path`
	w.until(w.enroller(), "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
}
