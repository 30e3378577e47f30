package declare

import "tenks/raftfsm/state"

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
	{name: "objects", when: Now, of: enrol(func(e state.Enrolment) any { return e.Objects }), unless: enrolledNow},
	{name: "extra", when: Now, of: enrol(func(e state.Enrolment) any { return e.Extra }), unless: enrolledNow},
	{name: "automated_clean", when: Now, of: enrol(func(e state.Enrolment) any { return e.AutomatedClean }), unless: enrolledNow},
	{name: "state", when: Now, of: enrol(func(e state.Enrolment) any { return e.State }), unless: enrolledNow},
	{name: "inspect", when: Now, of: enrol(func(e state.Enrolment) any { return e.Inspect }), unless: enrolledNow},
	{name: "recover", when: Now, of: enrol(func(e state.Enrolment) any { return e.Recover }), unless: enrolledNow},
	{name: "pxe_enabled", when: Now, of: enrol(func(e state.Enrolment) any { return e.PXE }), unless: enrolledNow},
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
