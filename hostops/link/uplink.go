package link

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// What VXLAN puts around a frame, in bytes: Ethernet 14, UDP 8, VXLAN 8, and IP (RFC 7348 §5).
const (
	overheadIPv4 = 14 + 8 + 8 + 20
	overheadIPv6 = 14 + 8 + 8 + 40
)

// MTU is that of a physnet on this host, in bytes: what is declared, at most what its device
// takes; else the device's; of an overlay, what the device with its address leaves. While that
// is not known it stays as it is. Without a device it is DefaultMTU.
func MTU(b Bridge, have Have) int {
	most, of := ceiling(b, have)
	now, exists := have.Links[b.Name]
	switch {
	case b.MTU != 0:
		return min(b.MTU, most)
	case of != "":
		return most
	case b.Device+b.local() != "" && exists && now.Ours() && now.MTU > 0:
		return now.MTU
	case b.Overlay != nil:
		return DefaultMTU - overhead(b.Overlay.Local)
	}
	return DefaultMTU
}

// ceiling is the largest MTU that a physnet can have, and what bounds it; empty: nothing that
// is known.
func ceiling(b Bridge, have Have) (most int, of string) {
	name, less := b.Device, 0
	if b.Overlay != nil {
		name, less = have.holder(b.Overlay.Local), overhead(b.Overlay.Local)
	}
	l, ok := have.Links[name]
	if !ok || l.MTU == 0 || l.Ours() && b.Overlay == nil || b.Overlay != nil && name == "lo" { // where lo's packets leave the host is not known
		return math.MaxInt, ""
	}
	if less > 0 {
		return l.MTU - less, fmt.Sprintf("%s, less %d of VXLAN", name, less)
	}
	return l.MTU, name
}

// Missing says that the device of a physnet, or the address where its overlay is to end, is not
// on this host; empty: it is.
func Missing(b Bridge, have Have) string {
	if b.Overlay != nil {
		if have.holder(b.Overlay.Local) == "" {
			return fmt.Sprintf("this host has no address %s, where its overlays are to end: set vxlan.address in agent.yml", b.Overlay.Local)
		}
		return ""
	}
	// One without an MTU is a bridge that Open vSwitch has in its database only.
	if b.Device != "" && have.Links[b.Device].MTU == 0 {
		return fmt.Sprintf("device %s does not exist", b.Device)
	}
	return ""
}

// KnownMTU reports whether MTU is more than a guess: nothing that bounds it is missing, or it is
// declared, or the bridge has one already.
func KnownMTU(b Bridge, have Have) bool {
	now := have.Links[b.Name]
	return b.MTU != 0 || now.Ours() && now.MTU > 0 || Missing(b, have) == ""
}

func overhead(local string) int {
	if a, err := netip.ParseAddr(local); err == nil && a.Is4() {
		return overheadIPv4
	}
	return overheadIPv6
}

func (b Bridge) local() string {
	if b.Overlay == nil {
		return ""
	}
	return b.Overlay.Local
}

// uplink is the link that a fault of the bridge's way out is about.
func (b Bridge) uplink() string {
	if b.Overlay != nil {
		return vxlanName(b.Name)
	}
	return cmp.Or(b.Device, b.Name)
}

// uplinkFault says why the bridge's way out cannot be had.
func (p *planner) uplinkFault(b Bridge) string {
	if b.Overlay == nil {
		return p.deviceFault(b)
	}
	if missing := Missing(b, p.have); missing != "" {
		return missing
	}
	vni := [2]int{b.Overlay.VNI, b.Overlay.Port}
	if other, twice := p.vnis[vni]; twice {
		return fmt.Sprintf("VNI %d is that of physnet %q already", b.Overlay.VNI, other)
	}
	p.vnis[vni] = b.Physnet
	return ""
}

// vlanFault says why a VLAN of a device cannot be had: the kernel has one link of each.
func (p *planner) vlanFault(b Bridge, dev Link) string {
	if dev.Filters {
		return ""
	}
	for _, name := range p.have.Foreign() {
		if l := p.have.Links[name]; l.Kind == kindVLAN && l.Parent == b.Device && l.VLAN == b.VLAN {
			return fmt.Sprintf("the host has a link of VLAN %d of %s, %s: map that as device, without vlan", b.VLAN, b.Device, name)
		}
	}
	return ""
}

// Alone is the link without another end that joins the bridge to its device, that of a VLAN
// or an overlay; empty: there is none.
func (b Bridge) Alone(have Have) string { return b.alone(have.Links[b.Device]) }

func (b Bridge) alone(device Link) string {
	switch {
	case b.Overlay != nil:
		return vxlanName(b.Name)
	case b.VLAN != 0 && !b.DeviceSwitch && !device.Filters:
		return vlanName(b.Device, b.VLAN)
	}
	return ""
}

// keepUplink leaves what joins a bridge to a device that is missing just now where it is.
func (p *planner) keepUplink(b Bridge) {
	for _, name := range b.Ways() {
		p.claimed[name] = true
	}
}

// Ways are the names of all links of ours that may join the bridge to others.
func (b Bridge) Ways() []string {
	inner, outer := b.UplinkNames()
	return []string{inner, outer, vxlanName(b.Name), vlanName(b.Device, b.VLAN)}
}

// vlan wants the link of a device's VLAN in a bridge.
func (p *planner) vlan(b Bridge, dev Link, mtu int) {
	if !dev.Up { // nothing on it can be up
		p.add("", Step{Op: OpUp, Link: dev.Name})
	}
	p.single(single{
		name: vlanName(b.Device, b.VLAN), kind: kindVLAN, bridge: b, mtu: mtu, role: RoleVLAN,
		fits:   func(l Link) bool { return l.Parent == b.Device && l.VLAN == b.VLAN },
		create: Step{Op: OpCreateVLAN, Parent: b.Device, VLAN: b.VLAN},
	})
}

// overlay wants the VXLAN link of an overlay in a bridge, and its remotes.
func (p *planner) overlay(b Bridge, mtu int) {
	bare := *b.Overlay
	bare.Remotes = nil
	same := func(l Link) bool {
		return l.Overlay != nil && l.Overlay.VNI == bare.VNI && l.Overlay.Local == bare.Local && l.Overlay.Port == bare.Port
	}
	p.clearVNI(b)
	l, kept := p.single(single{
		name: vxlanName(b.Name), kind: kindVXLAN, bridge: b, mtu: mtu, role: RoleVXLAN, fits: same,
		create: Step{Op: OpCreateVXLAN, Overlay: bare},
	})
	if kept {
		p.remotes(b, l)
	}
}

// remotes adds and drops the ends of an overlay at other hosts; l is its link as it is.
func (p *planner) remotes(b Bridge, l Link) {
	want, have := slices.Clone(b.Overlay.Remotes), []Remote(nil)
	SortRemotes(want)
	if l.Overlay != nil {
		have = l.Overlay.Remotes
	}
	for _, r := range have {
		if !slices.Contains(want, r) {
			p.add("", Step{Op: OpDropRemote, Link: vxlanName(b.Name), Bridge: b.Name, Remote: r})
		}
	}
	for _, r := range slices.Compact(want) {
		if !slices.Contains(have, r) {
			p.add("", Step{Op: OpAddRemote, Link: vxlanName(b.Name), Bridge: b.Name, Remote: r})
		}
	}
}

// clearVNI deletes what another bridge has of the same VNI and port: the kernel has one link
// of each.
func (p *planner) clearVNI(b Bridge) {
	for _, name := range p.have.Ours() {
		l := p.have.Links[name]
		if l.Overlay != nil && name != vxlanName(b.Name) && l.Overlay.VNI == b.Overlay.VNI && l.Overlay.Port == b.Overlay.Port && !p.claimed[name] {
			p.remove("", l)
		}
	}
}

// SortRemotes puts remotes into the order of observed ones.
func SortRemotes(remotes []Remote) {
	slices.SortFunc(remotes, func(a, b Remote) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
}

// single is a link without another end, in a bridge of ours.
type single struct {
	name, kind string
	bridge     Bridge
	mtu        int
	role       Role
	// fits says whether a link of that name is of the right thing.
	fits func(Link) bool
	// create has what is only of this kind.
	create Step
}

// single wants a link; it returns what is there of it, and false if it cannot be had.
func (p *planner) single(w single) (Link, bool) {
	if conflict := p.claim(w.name, w.kind, false); conflict != "" {
		p.claimed[w.name] = true
		p.conflictIn(w.bridge, w.name, "physnet %q: %s", w.bridge.Physnet, conflict)
		return Link{}, false
	}
	mark := Mark{Role: w.role, Physnet: w.bridge.Physnet}
	alias := mark.alias(p.have.Mesh)
	l, exists := p.have.Links[w.name]
	if exists && (!w.fits(l) || l.Mark != mark && l.Mark.Role != RoleUnknown) {
		p.remove("", l)
		l, exists = Link{}, false
	}
	if !exists {
		s := w.create
		s.Link, s.Bridge, s.MTU, s.Alias, s.Loose = w.name, w.bridge.Name, w.mtu, alias, w.bridge.Switch
		p.add("", s)
		return l, true
	}
	if l.Unmarked {
		p.add("", Step{Op: OpMark, Link: w.name, Alias: alias})
	}
	if holder := p.have.Links[l.Master]; !w.bridge.Switch && (holder.Name != w.bridge.Name || holder.Kind == KindSwitch) {
		p.add("", Step{Op: OpJoin, Link: w.name, Bridge: w.bridge.Name})
	}
	p.ensureLink("", l, birthMAC(p.have.Mesh, w.name), w.mtu)
	return l, true
}
