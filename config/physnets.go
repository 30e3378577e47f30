package config

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of physical networks.
const (
	maxVLAN = 4094      // IEEE 802.1Q §9.6: 0 and 4095 are reserved
	maxVNI  = 1<<24 - 1 // RFC 7348 §5
	minMTU  = 576       // what every host takes (RFC 791 §3.1)
	maxMTU  = 65535     // what a veth takes
)

func physnet() shape[Physnet] {
	return object(zero[Physnet],
		opt("device", "Interface or bridge of the host.",
			func(p *Physnet) *string { return &p.Device }, also(text(device), notDots)),
		opt("vlan", "With device: one of its VLANs. Absent: its untagged frames.",
			func(p *Physnet) *int { return &p.VLAN }, whole[int](1, maxVLAN)),
		opt("vxlan", "Network identifier (VNI) of an overlay between the hosts. Not with device.",
			func(p *Physnet) *int { return &p.VXLAN }, whole[int](1, maxVNI)),
		opt("mtu", "In bytes. Absent: the device's; of an overlay, what the network between the hosts leaves.",
			func(p *Physnet) *int { return &p.MTU }, whole[int](minMTU, maxMTU)),
	)
}

func agentVXLAN() shape[AgentVXLAN] {
	base := func() AgentVXLAN { return agentBase().VXLAN }
	return object(base,
		opt("address", "IP address of this host. Absent: as advertise.",
			func(v *AgentVXLAN) *string { return &v.Address }, also(text(address), hostAddress)),
		opt("port", "UDP port.",
			func(v *AgentVXLAN) *int { return &v.Port }, whole[int](1, 65535)),
	)
}

// checkPhysnets refuses what physnets cannot have together, and what one cannot.
func (r *reader) checkPhysnets(a Agent, root *node) {
	physnets, ok := root.get("physnets")
	if !ok {
		return
	}
	overlays, devices := map[int]*node{}, map[link]*node{}
	for _, p := range physnets.items {
		dev, hasDevice := p.get("device")
		vlan, hasVLAN := p.get("vlan")
		vni, hasVNI := p.get("vxlan")
		switch {
		case hasVNI && hasDevice:
			r.fault(vni, "does not go with device: an overlay is between the hosts")
		case hasVLAN && !hasDevice:
			r.fault(vlan, "needs device too")
		case hasVNI:
			r.checkOverlay(vni, a.Physnets[p.name].VXLAN, p, overlays)
		case hasDevice:
			r.checkDevice(dev, a.Physnets[p.name], p, devices)
		}
	}
}

// link is what a physnet takes of a device.
type link struct {
	device string
	vlan   int
}

// checkOverlay refuses a VNI that is another physnet's: both would be one network.
func (r *reader) checkOverlay(at *node, vni int, p *node, users map[int]*node) {
	first, taken := users[vni]
	switch {
	case vni == 0: // refused by itself
	case taken:
		r.fault(at, "%d is the VNI of %s already: a physnet has its own", vni, first.path())
	default:
		users[vni] = p
	}
}

// checkDevice refuses a device that two physnets want the same frames of.
func (r *reader) checkDevice(dev *node, has Physnet, p *node, users map[link]*node) {
	vlan, tagged := p.get("vlan")
	if has.Device == "" || tagged && has.VLAN == 0 { // refused by itself
		return
	}
	want := link{has.Device, has.VLAN}
	first, taken := users[want]
	switch {
	case taken && tagged:
		r.fault(vlan, "VLAN %d of %s is that of %s already: a physnet has its own", has.VLAN, quote(has.Device), first.path())
	case taken:
		r.fault(dev, "%s is the device of %s already: a physnet has its own, or a vlan of one", quote(has.Device), first.path())
	default:
		users[want] = p
	}
}

// portNetworks reads the physnet of each port, and which are trunks.
func portNetworks() field[NodeType] {
	name, trunk := text(plainName), portNetwork()
	both := func(r *reader, n *node) (portOn, bool) {
		if n.kind == mapping {
			return trunk.read(r, n)
		}
		physnet, ok := name.read(r, n)
		return portOn{physnet: physnet}, ok
	}
	list := listOf(maxPorts, shape[portOn]{both, schema{"oneOf": []schema{name.schema, trunk.schema}}})
	return field[NodeType]{
		key: "physical_networks", schema: list.schema,
		doc: "The physical network of each port, in order: its name, or {physnet: NAME, trunk: true or a list of VLANs} for a port that passes tagged frames.",
		read: func(r *reader, n *node, into *NodeType) {
			ports, ok := list.read(r, n)
			if !ok {
				return
			}
			into.PhysicalNetworks, into.Trunks = make([]string, len(ports)), nil
			trunks := make([]string, len(ports))
			for i, p := range ports {
				into.PhysicalNetworks[i], trunks[i] = p.physnet, p.trunk
			}
			if slices.ContainsFunc(trunks, func(t string) bool { return t != "" }) {
				into.Trunks = trunks
			}
		},
	}
}

// portOn is an item of physical_networks.
type portOn struct{ physnet, trunk string }

func portNetwork() shape[portOn] {
	return object(zero[portOn],
		req("physnet", "The physical network.", func(p *portOn) *string { return &p.physnet }, text(plainName)),
		opt("trunk", "true: all tagged frames pass. A list: those of these VLANs.", func(p *portOn) *string { return &p.trunk }, trunks()),
	)
}

// trunks reads true, false, or a list of VLANs, as NodeType.Trunks has them.
func trunks() shape[string] {
	ids, yes := listOf(maxVLAN, whole[int](1, maxVLAN)), flag()
	read := func(r *reader, n *node) (string, bool) {
		if n.kind != list {
			all, ok := yes.read(r, n)
			if all {
				return TrunkAll, ok
			}
			return "", ok
		}
		before := len(r.faults)
		vlans, ok := ids.read(r, n)
		if !ok || len(r.faults) > before {
			return "", false
		}
		if len(vlans) == 0 {
			r.fault(n, "no VLANs: want true, or one at least")
			return "", false
		}
		slices.Sort(vlans)
		var out []string
		for _, v := range slices.Compact(vlans) {
			out = append(out, strconv.Itoa(v))
		}
		return strings.Join(out, ","), true
	}
	return shape[string]{read, schema{"oneOf": []schema{yes.schema, ids.schema.with(schema{"minItems": 1})}}}
}
