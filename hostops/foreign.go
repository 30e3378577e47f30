package hostops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// Foreign is what this host has under the name of a node and is not ours, with the links
// of its NICs.
type Foreign struct {
	driver.Foreign
	// Driver has it.
	Driver string
	// Links are those of its NICs, in order.
	Links []ForeignLink
}

// ForeignLink is the pair of interfaces that a NIC of a Foreign is plugged into.
type ForeignLink struct {
	state.OriginLink
	// TapMAC is the address of Tap.
	TapMAC string
	// Device is what joins Bridge to a network: an interface in it, or another bridge;
	// empty: nothing does.
	Device string
	// Problem says why it cannot be taken over; empty: it can.
	Problem string
}

// Foreign returns what there is under these names at any driver, by name; it changes nothing.
// A driver that does not answer is an error.
func (h *Host) Foreign(ctx context.Context, names []string) ([]Foreign, error) {
	links, err := h.cfg.Links.Observe(ctx)
	if err != nil {
		return nil, err
	}
	var switches ovs.Have
	if h.cfg.Switches != nil {
		if switches, err = h.cfg.Switches.Observe(ctx); err != nil {
			return nil, err
		}
		links = annotated(links, switches, nil)
	}
	var out []Foreign
	for _, name := range slices.Sorted(maps.Keys(h.cfg.Drivers)) {
		d, err := h.driverOf(name)
		if err != nil {
			return nil, err
		}
		a, err := driver.AdopterOf(d)
		if err != nil {
			continue // it takes nothing over
		}
		all, err := a.Foreign(ctx, names)
		if err != nil {
			return nil, fmt.Errorf("driver %s: %w", name, err)
		}
		for _, one := range all {
			f := Foreign{Foreign: one, Driver: name}
			for _, n := range one.NICs {
				l := foreignLink(links, switches, n.Link)
				l.Problem = cmp.Or(l.Problem, h.otherType(links.Links[l.Bridge]))
				f.Links = append(f.Links, l)
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// otherType says why a bridge cannot be one of this host's type.
func (h *Host) otherType(bridge link.Link) string {
	switch is := bridge.Kind == link.KindSwitch; {
	case is && !h.cfg.OVS:
		return fmt.Sprintf("bridge %s is one of Open vSwitch: set bridge_type: openvswitch in agent.yml", bridge.Name)
	case !is && h.cfg.OVS:
		return fmt.Sprintf("bridge %s is a Linux bridge: set bridge_type: linux in agent.yml", bridge.Name)
	}
	return ""
}

// foreignLink follows a tap to its bridge, and to what that is joined to.
func foreignLink(have link.Have, switches ovs.Have, tap string) ForeignLink {
	t := have.Links[tap]
	peer := have.Links[t.Peer]
	bridge := have.Links[peer.Master]
	out := ForeignLink{TapMAC: t.MAC, OriginLink: state.OriginLink{Tap: tap, Peer: peer.Name, PeerMAC: peer.MAC, Bridge: bridge.Name, BridgeMAC: bridge.MAC}}
	_, named := link.BridgeIndex(bridge.Name)
	switch {
	case t.Name == "":
		out.Problem = fmt.Sprintf("there is no interface %s", tap)
	case t.Kind != "veth" || peer.Name == "":
		out.Problem = fmt.Sprintf("interface %s is no end of a veth pair", tap)
	case t.Ours():
		out.Problem = fmt.Sprintf("interface %s is another node's", tap)
	case bridge.Name == "":
		out.Problem = fmt.Sprintf("interface %s is in no bridge", peer.Name)
	case !isBridge(bridge):
		out.Problem = fmt.Sprintf("%s is no bridge", bridge.Name)
	case !named:
		out.Problem = fmt.Sprintf("bridge %s is not named brtenks and a number, as the bridges of a physnet are", bridge.Name)
	}
	devices := append(joined(have, bridge.Name), patched(switches, bridge.Name)...)
	switch len(devices) {
	case 0:
	case 1:
		out.Device = devices[0]
	default:
		out.Problem = fmt.Sprintf("bridge %s is joined to %v: one device is a physnet's", bridge.Name, devices)
	}
	return out
}

// joined are the devices that a bridge is joined to: what is in it and is no port, and
// bridges at the other end of a pair.
func joined(have link.Have, bridge string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(have.Links)) {
		l := have.Links[name]
		if l.Master != bridge || bridge == "" {
			continue
		}
		peer := have.Links[l.Peer]
		switch {
		case l.Kind != "veth" || l.Peer == "":
			out = append(out, name)
		case isBridge(have.Links[peer.Master]):
			out = append(out, peer.Master)
		}
	}
	return out
}

func isBridge(l link.Link) bool { return l.Kind == "bridge" || l.Kind == link.KindSwitch }

// patched are the bridges of Open vSwitch that one is joined to by patch ports.
func patched(switches ovs.Have, bridge string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(switches.Ports)) {
		if p := switches.Ports[name]; p.Bridge == bridge && p.Peer != "" {
			out = append(out, switches.Ports[p.Peer].Bridge)
		}
	}
	return out
}
