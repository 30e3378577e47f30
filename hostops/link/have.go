package link

import (
	"maps"
	"net/netip"
	"slices"

	"tenks/raftfsm/state"
)

// Kinds of links that matter here, as ip-link(8) names them. Others are devices.
const (
	kindBridge = "bridge"
	kindVeth   = "veth"
	kindTap    = "tuntap" // of QEMU's guests
	// KindSwitch is a bridge of Open vSwitch: the kernel says so of those in its own
	// datapath, and the caller of all, with Link.Mark, before it plans.
	KindSwitch = "openvswitch"
	kindVLAN   = "vlan"
	kindVXLAN  = "vxlan"
)

// Link is a network interface as it is.
type Link struct {
	Name string
	// Kind is the kernel's, such as "bridge", "veth"; empty or "device" for hardware.
	Kind string
	// MAC is lower case, colon-separated; empty: none.
	MAC string
	Up  bool
	// MTU is in bytes.
	MTU int
	// Master is the name of the bridge (or bond, …) it is in; empty: none.
	Master string
	// Peer is the other end of a veth in this namespace; empty: none.
	Peer string
	// Parent is the device of a VLAN link in this namespace, and VLAN its VLAN; of an uplink
	// into a bridge that filters VLANs, VLAN is what its untagged frames belong to there.
	Parent string
	VLAN   int
	// Filters says that a bridge filters VLANs (ip-link(8) "vlan_filtering").
	Filters bool
	// Overlay is what a VXLAN link has; nil: it is none. Remotes, of ours, are sorted.
	Overlay *Overlay
	// Shared says that a bridge of Open vSwitch has ports that are not ours.
	Shared bool
	// Mark is what our alias says, or what is known of a link of ours without one.
	// The zero value: foreign.
	Mark Mark
	// Unmarked says that a link of ours lacks its alias.
	Unmarked bool
	// Offload says that the link passes frames on whose checksums are incomplete. It is
	// looked at for uplinks, and for all of ours if Config.Userspace says so.
	Offload bool
}

// Ours reports whether this mesh made the link.
func (l Link) Ours() bool { return l.Mark.Role != "" }

// Have is every link of a host at one moment, by name.
type Have struct {
	Mesh  string
	Links map[string]Link
	// Addresses are the host's own, by link, but for those that only hold on the link; with the
	// prefix's length, sorted.
	Addresses map[string][]netip.Prefix
}

// holder is the device that has an address of the host; empty: none has.
func (h Have) holder(address string) string {
	for _, name := range slices.Sorted(maps.Keys(h.Addresses)) {
		if slices.ContainsFunc(h.Addresses[name], func(p netip.Prefix) bool { return p.Addr().String() == address }) {
			return name
		}
	}
	return ""
}

// Shared reports whether a bridge of ours has guests or networks of somebody else in it:
// veths and taps that are not ours and that Tenks did not plug in, or, of Open vSwitch, any port.
func (h Have) Shared(bridge string) bool {
	b := h.Links[bridge]
	return b.Mark.Role == RoleBridge && (b.Shared || len(h.Others(bridge)) > 0)
}

// Others returns the veths and taps in a Linux bridge that are not ours and that Tenks did not plug
// in, sorted: guests have one or the other.
func (h Have) Others(bridge string) []string {
	b := h.Links[bridge]
	if b.Kind != kindBridge {
		return nil
	}
	return h.names(func(l Link) bool {
		return l.Master == bridge && (l.Kind == kindVeth || l.Kind == kindTap) && !l.Ours() && b.Mark.Device != l.Name
	})
}

// Taken reports whether name is a link that is not ours.
func (h Have) Taken(name string) bool {
	l, ok := h.Links[name]
	return ok && !l.Ours()
}

// Ours returns the names of our links, sorted.
func (h Have) Ours() []string {
	return h.names(Link.Ours)
}

// Foreign returns the names of the other links, sorted.
func (h Have) Foreign() []string {
	return h.names(func(l Link) bool { return !l.Ours() })
}

func (h Have) names(keep func(Link) bool) []string {
	var names []string
	for name, l := range h.Links {
		if keep(l) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Indices returns the index of every bridge of ours by physnet: the known ones for
// AssignBridges.
func (h Have) Indices() map[string]int {
	known := map[string]int{}
	for _, name := range h.Ours() {
		l := h.Links[name]
		if i, ok := BridgeIndex(name); ok && l.Mark.Role == RoleBridge {
			known[l.Mark.Physnet] = i
		}
	}
	return known
}

// PortLinks returns where the ports of each node are plugged in, in port order. A
// node is left out until all its wanted ports are in their bridges.
func PortLinks(want Want, have Have) map[string][]state.PortLink {
	links := map[string][]state.PortLink{}
	incomplete := map[string]bool{}
	for _, p := range sortedPorts(want.Ports) {
		peer, bridge := have.Links[p.Peer], have.Links[p.Bridge]
		if !peer.Ours() || !bridge.Ours() || peer.Master != p.Bridge || peer.Peer != p.Tap {
			incomplete[p.Node] = true
		}
		links[p.Node] = append(links[p.Node], state.PortLink{Bridge: p.Bridge, BridgeMAC: bridge.MAC, Link: p.Peer})
	}
	maps.DeleteFunc(links, func(node string, _ []state.PortLink) bool { return incomplete[node] })
	return links
}
