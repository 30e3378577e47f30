package config

import (
	"maps"
	"slices"
	"strings"
)

// checkEnrolments is the rules between the keys of an ironic_config, and those of its node type.
func (r *reader) checkEnrolments(c Cluster, root *node) {
	for i, s := range c.Specs {
		where := root.at("specs", i).at("ironic_config")
		if s.IronicConfig == nil || where.name != "ironic_config" || where.kind != mapping {
			continue
		}
		r.checkEnrolment(s.IronicConfig, where)
		r.checkGroups(s, where)
		ports := -1 // not known
		if t, ok := c.NodeTypes[s.Type]; ok && !root.at("node_types", s.Type).bad {
			r.checkPorts(s.IronicConfig, t, where)
			ports = len(t.PhysicalNetworks)
		}
		r.checkNetworkData(s, ports, where)
	}
}

func (r *reader) checkEnrolment(c *IronicConfig, where *node) {
	if own := where.at("extra", "tenks"); own.name == "tenks" {
		r.fault(own, "is what Tenks writes itself: take another key")
	}
	hints := where.at("root_device")
	if other := where.at("properties", "root_device"); hints != where && other.up != where && other.name == "root_device" {
		r.fault(other, "is given already: root_device in line %d", hints.line)
	}
	if c.State == "enroll" && c.Inspect {
		r.fault(where.at("inspect"), "only goes with state: manageable or available")
	}
}

func (r *reader) checkGroups(s Spec, where *node) {
	names, members := map[string]bool{}, map[int]bool{}
	for i, g := range s.IronicConfig.PortGroups {
		at := where.at("port_groups", i)
		if at.kind != mapping {
			continue
		}
		if names[g.Name] && g.Name != "" {
			r.fault(at.at("name"), "%s is the name of another of the spec's groups", quote(g.Name))
		}
		names[g.Name] = true
		if g.Address != "" && g.Address != FirstPort && s.Count > 1 {
			r.fault(at.at("address"), "is one address for %d nodes: want %s", s.Count, FirstPort)
		}
		for j, port := range g.Ports {
			r.checkMember(s.IronicConfig, g, port, members[port], at.at("ports", j))
			members[port] = true
		}
	}
}

func (r *reader) checkMember(c *IronicConfig, g PortGroup, port int, taken bool, at *node) {
	dependent := g.StandalonePorts != nil && !*g.StandalonePorts
	switch {
	case at.bad:
	case taken:
		r.fault(at, "port %d is in another of the spec's groups, or twice in this one", port)
	case dependent && c.PXEEnabled != nil && slices.Contains(*c.PXEEnabled, port):
		// Ironic: NeutronVIFPortIDMixin.port_changed.
		r.fault(at, "is one of pxe_enabled, which does not go with standalone_ports: false")
	}
}

// checkPorts wants ports to be there, and those of a group to be on one physical network
// (ironic.conductor.utils, validate_port_physnet).
func (r *reader) checkPorts(c *IronicConfig, t NodeType, where *node) {
	if c.PXEEnabled != nil {
		r.portsThere(*c.PXEEnabled, t, where.at("pxe_enabled"))
	}
	for i, g := range c.PortGroups {
		at := where.at("port_groups", i).at("ports")
		r.portsThere(g.Ports, t, at)
		physnets := map[string]bool{}
		for _, port := range g.Ports {
			if port < len(t.PhysicalNetworks) {
				physnets[t.PhysicalNetworks[port]] = true
			}
		}
		if len(physnets) > 1 {
			r.fault(at, "are on the physical networks %s: Ironic wants one for a group",
				strings.Join(slices.Sorted(maps.Keys(physnets)), ", "))
		}
	}
}

// portsThere wants a node type to have these ports.
func (r *reader) portsThere(ports []int, t NodeType, at *node) {
	for i, port := range ports {
		if port >= len(t.PhysicalNetworks) && i < len(at.items) && !at.items[i].bad {
			r.fault(at.items[i], "the node type has no port %d: it has %d, from 0", port, len(t.PhysicalNetworks))
		}
	}
}
