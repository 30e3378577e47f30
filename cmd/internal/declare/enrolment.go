package declare

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"tenks/raftfsm/state"
)

// enrolment is what can differ of how a node appears in Ironic: ironic_config and the
// cluster's deploy kernel and ramdisk.
var enrolment = []field{
	{name: "enrolled", when: Now, of: func(n *state.Node) any { return n.Enrol != nil }},
	{name: "resource_class", when: Now, of: enrol(func(e state.Enrolment) any { return e.ResourceClass }), unless: enrolledNow},
	{name: "traits", when: Now, of: enrol(func(e state.Enrolment) any { return e.Traits }), unless: enrolledNow},
	{name: "properties", when: Now, of: enrol(func(e state.Enrolment) any { return e.Properties }), unless: enrolledNow},
	{name: "interfaces", when: Now, of: enrol(func(e state.Enrolment) any { return e.Interfaces }), unless: enrolledNow},
	{name: "conductor_group", when: Now, of: enrol(func(e state.Enrolment) any { return e.ConductorGroup }), unless: enrolledNow},
	{name: "description", when: Now, of: enrol(func(e state.Enrolment) any { return e.Description }), unless: enrolledNow},
	{name: "redfish_verify_ca", when: Now, of: enrol(func(e state.Enrolment) any { return e.RedfishVerifyCA }), unless: enrolledNow},
	{name: "shard", when: Now, of: enrol(func(e state.Enrolment) any { return e.Shard }), unless: enrolledNow},
	{name: "owner", when: Now, of: enrol(func(e state.Enrolment) any { return e.Owner }), unless: enrolledNow},
	{name: "lessee", when: Now, of: enrol(func(e state.Enrolment) any { return e.Lessee }), unless: enrolledNow},
	{name: "properties", when: Now, of: enrol(func(e state.Enrolment) any { return e.Objects }), unless: enrolledNow, differ: objects},
	{name: "extra", when: Now, of: enrol(func(e state.Enrolment) any { return e.Extra }), unless: enrolledNow},
	{name: "network_data", when: Now, of: enrol(func(e state.Enrolment) any { return e.NetworkData }), unless: enrolledNow},
	{name: "automated_clean", when: Now, of: enrol(func(e state.Enrolment) any { return e.AutomatedClean }), unless: enrolledNow},
	{name: "state", when: Now, of: enrol(func(e state.Enrolment) any { return e.State }), unless: enrolledNow, differ: target},
	{name: "inspect", when: Now, of: enrol(func(e state.Enrolment) any { return e.Inspect }), unless: enrolledNow},
	{name: "recover", when: Now, of: enrol(func(e state.Enrolment) any { return e.Recover }), unless: enrolledNow},
	{name: "pxe_enabled", when: Now, of: enrol(func(e state.Enrolment) any { return e.PXE }), unless: enrolledNow, text: pxe},
	{name: "port_groups", when: Now, of: enrol(func(e state.Enrolment) any { return e.PortGroups }), unless: enrolledNow},
	{name: "deploy_kernel", when: Now, of: func(n *state.Node) any { return n.DeployKernel }},
	{name: "deploy_ramdisk", when: Now, of: func(n *state.Node) any { return n.DeployRamdisk }},
}

// enrol makes a row's value of a part of a node's ironic_config.
func enrol(of func(e state.Enrolment) any) func(*state.Node) any {
	return func(n *state.Node) any { return of(enrolOf(n)) }
}

// enrolOf is a node's ironic_config; nothing is in that of one that is not enrolled.
func enrolOf(n *state.Node) state.Enrolment {
	if n.Enrol == nil {
		return state.Enrolment{}
	}
	return *n.Enrol
}

// enrolledNow reports that a node comes to Ironic, or leaves it, which says it all.
func enrolledNow(old, now *state.Node) bool { return (old.Enrol == nil) != (now.Enrol == nil) }

// objects says which properties differ that are no scalars.
func objects(old, now *state.Node) []Difference {
	a, b := enrolOf(old).Objects, enrolOf(now).Objects
	var out []Difference
	for _, key := range slices.Sorted(maps.Keys(union(a, b))) {
		was, had := a[key]
		if is, has := b[key]; had == has && was == is {
			continue
		}
		name := "properties." + key
		if key == "root_device" {
			name = key
		}
		out = append(out, Difference{Field: name, Old: cmp.Or(a[key], "none"), New: cmp.Or(b[key], "none"), When: Now})
	}
	return out
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

// target says that nodes are only ever taken further.
func target(old, now *state.Node) []Difference {
	was, is := cmp.Or(enrolOf(old).State, state.TargetAvailable), cmp.Or(enrolOf(now).State, state.TargetAvailable)
	d := Difference{Field: "state", Old: string(was), New: string(is), When: Now}
	if is.Rank() < was.Rank() && old.Ironic.ProvisionState != "" {
		d.Remark = fmt.Sprintf("the node is %s in Ironic, and stays so unless somebody takes it back", old.Ironic.ProvisionState)
	}
	return []Difference{d}
}

// pxe lists the ports that a node boots from.
func pxe(n *state.Node) string {
	declared := enrolOf(n).PXE
	if len(declared) == 0 {
		return "all"
	}
	ports := []int{}
	for i, boots := range declared {
		if boots {
			ports = append(ports, i)
		}
	}
	return fmt.Sprint(ports)
}
