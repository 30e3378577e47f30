// Package link makes a host's layer-2 networks over netlink: a Linux bridge per
// physnet, isolated or joined to a device, and a veth pair per node port, whose
// switch side is there while the node is off.
//
// Observe reads, Plan decides (pure), Apply does one step and may be repeated.
// Everything Tenks makes carries an interface alias (ip-link(8) "alias") that
// begins with the mesh's mark; nothing without it is ever changed or deleted. Open
// starts nothing and Close frees its sockets; Watch and ApplyPlan have ended their
// goroutines when they return.
package link

import "strings"

// DefaultMTU is the MTU, in bytes, of a physnet that no device gives one to.
const DefaultMTU = 1500

// Bridge is a physnet on this host as it should be.
type Bridge struct {
	Physnet string
	// Name is the bridge's interface name, at most 15 bytes.
	Name string
	// Device is the interface or Linux bridge that the physnet is mapped to; empty:
	// isolated. An interface is plugged in, a bridge is joined by a veth pair
	// p-<bridge>-br (in ours) and p-<bridge>-phy (in theirs).
	Device string
	// Switch says that the bridge is one of Open vSwitch: package ovs makes it and puts
	// links into it, and only the links are made here. Switch sides end in "-ovs" then.
	Switch bool
	// DeviceSwitch says of Device that it is one of Open vSwitch, and Patched that package
	// ovs joins it without any link.
	DeviceSwitch, Patched bool
	// Userspace says that Open vSwitch reads frames of the bridge's links by packet(7), which
	// they must be complete for.
	Userspace bool
}

// suffix is that of links in the bridge.
func (b Bridge) suffix() string {
	if b.Switch {
		return "-ovs"
	}
	return "-br"
}

// PeerName is the switch-side end of a node's port i in this bridge: "p-<linkName>-<i>-br",
// or "-ovs".
func (b Bridge) PeerName(linkName string, i int) string {
	return strings.TrimSuffix(TapName(linkName, i), "-tap") + b.suffix()
}

// UplinkNames are the ends, in this bridge and in Device, of what joins them.
func (b Bridge) UplinkNames() (inner, outer string) {
	return "p-" + b.Name + b.suffix(), "p-" + b.Name + "-phy"
}

// Port is one NIC of a node as it should be.
type Port struct {
	// Node is the node's UUID, Index the NIC's place, from 0.
	Node  string
	Index int
	// Tap and Peer are the node-side ("p-<node>-<i>-tap") and switch-side
	// ("p-<node>-<i>-br") interface names.
	Tap, Peer string
	// MAC is the node-side address.
	MAC string
	// Bridge is the name of the bridge that Peer is in.
	Bridge string
	// Trunk says which tagged frames the port passes, as state.Port has it. A Linux bridge
	// passes them all, at every port.
	Trunk string
}

// Want is everything of ours that should be on this host.
type Want struct {
	Bridges []Bridge
	Ports   []Port
}
