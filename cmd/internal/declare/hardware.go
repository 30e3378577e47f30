package declare

import (
	"fmt"
	"strings"

	"tenks/raftfsm/state"
)

// hardware is what can differ of a node's machine, which its type declares.
var hardware = []field{
	{name: "memory", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.MemoryMB },
		text: func(n *state.Node) string { return fmt.Sprintf("%d MiB", n.Machine.MemoryMB) }},
	{name: "vcpus", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.VCPUs }},
	{name: "boot_mode", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.BootMode }},
	{name: "secure_boot", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.SecureBoot },
		remark: "unless a client of the BMC has set it"},
	{name: "tpm", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.TPM }},
	{name: "volumes", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.Volumes },
		text: func(n *state.Node) string { return volumes(n.Machine) }},
	{name: "physical_networks", when: AtPowerOn, of: func(n *state.Node) any { return n.Ports },
		text: func(n *state.Node) string { return fmt.Sprint(n.Machine.Physnets) }},
	{name: "ironic_driver", when: Now, of: func(n *state.Node) any { return n.Machine.IronicDriver }},
}

// machineOf is a node's hardware but for what another field of the node says.
func machineOf(n *state.Node) state.Machine {
	m := n.Machine
	m.Physnets = nil // Ports has them
	return m
}

// describe says what a new node consists of.
func describe(m state.Machine, o *state.Outlet) string {
	out := fmt.Sprintf("%d MiB, %d vCPUs, volumes %s, physical networks %v", m.MemoryMB, m.VCPUs, volumes(m), m.Physnets)
	if o != nil {
		out += ", outlet " + plug(o)
	}
	return out
}

func volumes(m state.Machine) string {
	var out []string
	for _, v := range m.Volumes {
		text := fmt.Sprintf("%.4g GiB", float64(v.CapacityBytes)/(1<<30))
		if v.Image != "" {
			text += " of " + v.Image
		}
		out = append(out, text)
	}
	return "[" + strings.Join(out, ", ") + "]"
}
