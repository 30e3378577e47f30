package declare

import (
	"fmt"
	"strings"

	"tenks/raftfsm/state"
)

// hardware is what can differ of a node's machine, which its type declares.
var hardware = append([]field{
	{name: "driver", when: Now, of: func(n *state.Node) any { return n.Machine.Driver }, anew: true},
	{name: "memory", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.MemoryMB },
		text: func(n *state.Node) string { return fmt.Sprintf("%d MiB", n.Machine.MemoryMB) }},
	{name: "vcpus", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.VCPUs }},
	{name: "boot_mode", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.BootMode }},
	{name: "secure_boot", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.SecureBoot },
		remark: "unless a client of the BMC has set it"},
	{name: "tpm", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.TPM }},
	{name: "volumes", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.Volumes }, differ: volumeDifferences},
	{name: "physical_networks", when: AtPowerOn, of: func(n *state.Node) any { return n.Ports },
		text: physnets},
	{name: "ironic_driver", when: Now, of: func(n *state.Node) any { return n.Machine.IronicDriver }},
}, machineRows...)

// machineOf is a node's hardware but for what another field of the node says.
func machineOf(n *state.Node) state.Machine {
	m := n.Machine
	m.Physnets, m.Trunks = nil, nil // Ports has them
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
		out = append(out, volume(v))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// physnets says what each port of a node is on.
func physnets(n *state.Node) string {
	var out []string
	for _, p := range n.Ports {
		text := p.Physnet
		if p.Trunk != "" {
			text += " (trunk " + p.Trunk + ")"
		}
		out = append(out, text)
	}
	return fmt.Sprint(out)
}
