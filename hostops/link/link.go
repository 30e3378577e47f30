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
	// Datapath is package ovs's affair: what Open vSwitch is to have the bridge with.
	Datapath string
	// VLAN is one of Device's, 1 to 4094, whose frames are the bridge's; 0: the untagged ones,
	// and what no other VLAN link of the device takes.
	VLAN int
	// Overlay joins the bridge to those of other hosts; nil: it does not. It goes without Device.
	Overlay *Overlay
	// MTU is in bytes; 0: worked out, see MTU.
	MTU int
	// Adopt lets a Linux bridge of that name that is not ours become ours, with the pair that
	// joins it to Device, whose addresses stay.
	Adopt bool
	// MAC is the bridge's address; empty: BridgeMAC.
	MAC string
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
	stem := b.Name
	// "p-brtenks100-phy" would be too long.
	if digits, ok := strings.CutPrefix(stem, bridgePrefix); ok && len("p-"+stem+"-phy") > maxName {
		stem = "brt" + digits
	}
	return "p-" + stem + b.suffix(), "p-" + stem + "-phy"
}

// Overlay is a VXLAN (RFC 7348) with a list of ends, and no multicast.
type Overlay struct {
	VNI int
	// Local is an IP address of this host in its usual form, Port a UDP port.
	Local string
	Port  int
	// Remotes are the other hosts' ends, in any order.
	Remotes []Remote
}

// Remote is the end of an overlay at another host.
type Remote struct {
	Address string
	Port    int
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
	// Adopt lets a pair of those names that is not ours become ours, if it is as described.
	Adopt bool
	// PeerMAC is the address of Peer; empty: the one it is born with.
	PeerMAC string
}

// Want is everything of ours that should be on this host.
type Want struct {
	Bridges []Bridge
	Ports   []Port
}
