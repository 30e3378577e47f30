package daemon

import (
	"slices"
	"strconv"
	"strings"

	"tenks/config"
	"tenks/raftfsm/state"
)

// enrolment turns an ironic_config into what the state holds, for nodes of a type.
func enrolment(c *config.IronicConfig, t config.NodeType) *state.Enrolment {
	if c == nil {
		return nil
	}
	e := &state.Enrolment{ResourceClass: c.ResourceClass, Traits: c.Traits, Properties: c.Properties,
		Interfaces: c.Interfaces, ConductorGroup: c.ConductorGroup, Description: c.Description,
		RedfishVerifyCA: c.RedfishVerifyCA, Shard: c.Shard, Owner: c.Owner, Lessee: c.Lessee,
		Objects: c.Objects, Extra: some(c.Extra), NetworkData: c.NetworkData, Inspect: c.Inspect, Recover: c.Recover, PXE: pxe(c, len(t.PhysicalNetworks))}
	if c.AutomatedClean != nil {
		e.AutomatedClean = strconv.FormatBool(*c.AutomatedClean)
	}
	if target := state.EnrolTarget(c.State); target != state.TargetAvailable {
		e.State = target
	}
	for _, g := range c.PortGroups {
		group := state.PortGroup{Name: g.Name, Ports: g.Ports, Mode: g.Mode, Properties: some(g.Properties),
			Dependent: g.StandalonePorts != nil && !*g.StandalonePorts}
		if g.Address == config.FirstPort {
			group.FirstPort = true
		} else {
			group.Address = strings.ToLower(g.Address)
		}
		e.PortGroups = append(e.PortGroups, group)
	}
	return e
}

// pxe says which of a node's ports it boots from. Ironic lets none do that of a group whose
// ports are not used by themselves, so with such a group it is said for all.
func pxe(c *config.IronicConfig, ports int) []bool {
	dependent := map[int]bool{}
	for _, g := range c.PortGroups {
		for _, port := range g.Ports {
			if g.StandalonePorts != nil && !*g.StandalonePorts {
				dependent[port] = true
			}
		}
	}
	if c.PXEEnabled == nil && len(dependent) == 0 || ports == 0 {
		return nil
	}
	out := make([]bool, ports)
	for i := range out {
		out[i] = !dependent[i] && (c.PXEEnabled == nil || slices.Contains(*c.PXEEnabled, i))
	}
	return out
}

// some is nil for an empty map: the log does not tell them apart, and what differs from the
// state that was read from it would be declared anew with each apply.
func some(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
