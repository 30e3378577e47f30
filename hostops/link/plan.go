package link

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Plan returns the steps that turn have into want, in an order that may be carried
// out one by one. It is deterministic, and empty when nothing is to be done. What
// cannot be done is a step of its own with OpConflict, so that it holds up nothing
// else.
func Plan(want Want, have Have) []Step { return planned(want, have).steps() }

// MTUs returns the MTU, in bytes, of each wanted bridge that can be had, by its name.
func MTUs(want Want, have Have) map[string]int {
	mtus := map[string]int{}
	for name, b := range planned(want, have).bridges {
		if b.conflict == "" {
			mtus[name] = b.mtu
		}
	}
	return mtus
}

func planned(want Want, have Have) *planner {
	p := &planner{
		have:    have,
		claimed: map[string]bool{},
		gone:    map[string]bool{},
		devices: map[string]string{},
		vnis:    map[[2]int]string{},
		bridges: map[string]bridgePlan{},
		deletes: map[string][]Step{},
		nodes:   map[string][]Step{},
	}
	for _, b := range slices.SortedStableFunc(slices.Values(want.Bridges), func(a, b Bridge) int { return strings.Compare(a.Name, b.Name) }) {
		p.bridge(b)
	}
	for _, port := range sortedPorts(want.Ports) {
		p.port(port)
	}
	p.unwanted()
	return p
}

type planner struct {
	have Have
	// claimed are the names that something wanted has.
	claimed map[string]bool
	// gone are the links that steps so far delete.
	gone map[string]bool
	// devices maps a mapped interface to its physnet.
	devices map[string]string
	// vnis maps an overlay's VNI and port to its physnet.
	vnis    map[[2]int]string
	bridges map[string]bridgePlan

	before []Step
	// deletes come first among a node's steps: they free names.
	deletes, nodes map[string][]Step
	after          []Step
}

// bridgePlan is what ports need to know of their bridge.
type bridgePlan struct {
	Bridge
	mtu int
	// conflict says why the bridge cannot be had.
	conflict string
}

func (p *planner) steps() []Step {
	all := p.before
	names := slices.Collect(maps.Keys(p.nodes))
	names = slices.AppendSeq(names, maps.Keys(p.deletes))
	slices.Sort(names)
	for _, node := range slices.Compact(names) {
		for _, s := range slices.Concat(p.deletes[node], p.nodes[node]) {
			s.Node, s.stage = node, stageNodes
			all = append(all, s)
		}
	}
	for _, s := range p.after {
		s.stage = stageRemovals
		all = append(all, s)
	}
	return all
}

// add appends steps that belong to a node, or to the host if node is empty.
func (p *planner) add(node string, steps ...Step) {
	if node == "" {
		p.before = append(p.before, steps...)
		return
	}
	p.nodes[node] = append(p.nodes[node], steps...)
}

func (p *planner) conflict(node, link, format string, args ...any) {
	p.add(node, Step{Op: OpConflict, Link: link, Reason: fmt.Sprintf(format, args...)})
}

// conflictIn is a conflict of what joins a bridge to others.
func (p *planner) conflictIn(b Bridge, link, format string, args ...any) {
	p.before = append(p.before, Step{Op: OpConflict, Link: link, Bridge: b.Name, Reason: fmt.Sprintf(format, args...)})
}

// claim takes a name for something wanted; it returns why it cannot be had. What is not
// ours can be had where it is to be adopted.
func (p *planner) claim(name, kind string, adopt bool) (conflict string) {
	l, exists := p.have.Links[name]
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Sprintf("interface name %q is not 1 to %d bytes long", name, maxName)
	case p.claimed[name]:
		return fmt.Sprintf("interface %s is wanted twice", name)
	case exists && !l.Ours() && (!adopt || l.Kind != kind):
		return fmt.Sprintf("interface %s exists and is not ours", name)
	case exists && l.Kind == KindSwitch && kind == kindBridge:
		// Package ovs deletes it before.
	case exists && l.Kind != kind:
		return fmt.Sprintf("interface %s is a %s of ours where a %s should be", name, l.Kind, kind)
	}
	p.claimed[name] = true
	return ""
}

func (p *planner) bridge(b Bridge) {
	if conflict := p.claimBridge(b); conflict != "" {
		if _, ok := p.bridges[b.Name]; !ok {
			p.bridges[b.Name] = bridgePlan{conflict: conflict}
		}
		p.conflict("", b.Name, "physnet %q: %s", b.Physnet, conflict)
		return
	}
	fault := p.uplinkFault(b)
	l, dev, mtu := p.have.Links[b.Name], p.have.Links[b.Device], MTU(b, p.have)
	p.bridges[b.Name] = bridgePlan{Bridge: b, mtu: mtu}
	if b.Switch {
		p.replace(l)
	} else {
		p.linuxBridge(b, fault, mtu)
	}
	switch {
	case fault != "":
		p.keepUplink(b)
		p.conflictIn(b, b.uplink(), "physnet %q: %s", b.Physnet, fault)
	case b.Overlay != nil:
		p.overlay(b, mtu)
	case b.Device == "":
	case b.Patched:
	case b.alone(dev) != "":
		p.vlan(b, dev, mtu)
	case dev.Kind == kindBridge || b.DeviceSwitch:
		p.joinBridge(b, mtu)
	default:
		p.plugDevice(b, dev)
	}
	if most, of := ceiling(b, p.have); fault == "" && b.MTU > most {
		p.conflictIn(b, b.Name, "physnet %q: mtu: %d is more than the %d of %s: raise that, or lower mtu in agent.yml", b.Physnet, b.MTU, most, of)
	}
}

// claimBridge is claim for a bridge: one of Open vSwitch takes the place of a Linux bridge
// of ours, and the other way round.
func (p *planner) claimBridge(b Bridge) (conflict string) {
	kind, is := kindBridge, p.have.Links[b.Name].Kind
	if b.Switch && is == KindSwitch {
		kind = KindSwitch
	}
	return p.claim(b.Name, kind, b.Adopt && b.Switch == (is == KindSwitch))
}

// linuxBridge sees to the bridge itself, and to the device that it is not to hold.
func (p *planner) linuxBridge(b Bridge, fault string, mtu int) {
	l, dev := p.have.Links[b.Name], p.have.Links[b.Device]
	mark := Mark{Role: RoleBridge, Physnet: b.Physnet}
	if fault == "" && dev.Kind != kindBridge && !b.DeviceSwitch && b.VLAN == 0 {
		mark.Device = b.Device
	}
	p.release(l, mark.Device)
	p.ensureBridge(b, mark, mtu)
}

// replace deletes a Linux bridge of ours whose name is that of a bridge of Open vSwitch.
// What is in it stays, without a master.
func (p *planner) replace(l Link) {
	if l.Kind != kindBridge {
		return
	}
	p.release(l, "")
	p.gone[l.Name] = true
	p.add("", Step{Op: OpDelete, Link: l.Name})
}

// deviceFault says why the device of b cannot be joined.
func (p *planner) deviceFault(b Bridge) string {
	if b.Device == "" {
		return ""
	}
	dev, missing := p.have.Links[b.Device], Missing(b, p.have)
	switch {
	case missing != "":
		return missing
	case dev.Ours():
		return fmt.Sprintf("device %s is an interface that tenks made", b.Device)
	case dev.Kind == KindSwitch && !b.DeviceSwitch:
		return fmt.Sprintf("device %s is a bridge of Open vSwitch, which does not answer", b.Device)
	case b.VLAN != 0 && !b.DeviceSwitch:
		return p.vlanFault(b, dev)
	case dev.Kind == kindBridge || b.DeviceSwitch:
		return ""
	}
	return p.plugFault(b, dev)
}

// plugFault says why an interface cannot be plugged into b.
func (p *planner) plugFault(b Bridge, dev Link) string {
	other, twice := p.devices[b.Device]
	switch {
	case twice:
		return fmt.Sprintf("device %s is mapped to physnet %q already", b.Device, other)
	case p.heldByOthers(b, dev):
		return fmt.Sprintf("device %s is in %s, which is not ours", b.Device, dev.Master)
	}
	p.devices[b.Device] = b.Physnet
	return ""
}

// heldByOthers reports whether a device is in a bridge that is neither ours nor becomes ours.
func (p *planner) heldByOthers(b Bridge, dev Link) bool {
	return dev.Master != "" && !p.have.Links[dev.Master].Ours() && (!b.Adopt || dev.Master != b.Name)
}

// release takes the device out of bridge l that was plugged in and should not be.
func (p *planner) release(l Link, keep string) {
	dev := p.have.Links[l.Mark.Device]
	if l.Mark.Device == "" || l.Mark.Device == keep || dev.Master != l.Name {
		return
	}
	p.before = append(p.before, Step{Op: OpRelease, Link: dev.Name, Bridge: l.Name})
}

func (p *planner) ensureBridge(b Bridge, mark Mark, mtu int) {
	l, exists := p.have.Links[b.Name]
	alias, mac := mark.alias(p.have.Mesh), cmp.Or(b.MAC, BridgeMAC(p.have.Mesh, mark.Physnet))
	switch {
	case !exists || l.Kind == KindSwitch:
		p.add("", Step{Op: OpCreateBridge, Link: b.Name, MAC: mac, MTU: mtu, Alias: alias})
		return
	case !l.Ours():
		p.adopt("", l, alias)
	case l.Unmarked || l.Mark != mark:
		p.add("", Step{Op: OpMark, Link: b.Name, Alias: alias})
	}
	p.ensureLink("", l, mac, mtu)
}

// adopt makes a link ours.
func (p *planner) adopt(node string, l Link, alias string) {
	p.add(node, Step{Op: OpAdopt, Link: l.Name, Alias: alias, MAC: l.MAC})
}

// ensureLink adds what a link that exists lacks.
func (p *planner) ensureLink(node string, l Link, mac string, mtu int) {
	if l.MAC != mac {
		p.add(node, Step{Op: OpSetMAC, Link: l.Name, MAC: mac})
	}
	if l.MTU != mtu {
		p.add(node, Step{Op: OpSetMTU, Link: l.Name, MTU: mtu})
	}
	if !l.Up {
		p.add(node, Step{Op: OpUp, Link: l.Name})
	}
}

func (p *planner) plugDevice(b Bridge, dev Link) {
	holder := p.have.Links[dev.Master]
	if b.Switch && holder.Ours() && holder.Kind == kindBridge && !p.gone[holder.Name] && holder.Mark.Device != dev.Name {
		p.add("", Step{Op: OpRelease, Link: dev.Name, Bridge: holder.Name})
	}
	if dev.Master != b.Name || b.Switch != (holder.Kind == KindSwitch) {
		p.add("", Step{Op: OpPlug, Link: dev.Name, Bridge: b.Name, Loose: b.Switch})
	}
	if !dev.Up {
		p.add("", Step{Op: OpUp, Link: dev.Name})
	}
}

func (p *planner) joinBridge(b Bridge, mtu int) {
	inner, outer := b.UplinkNames()
	outerBridge, vlan := b.Device, b.VLAN
	if b.DeviceSwitch { // whose port has the VLAN's tag
		outerBridge, vlan = "", 0
	}
	p.pair(pair{
		inner: inner, bridge: b.Name, loose: b.Switch, outer: outer, outerBridge: outerBridge, outerVLAN: vlan, complete: b.Userspace,
		mac: birthMAC(p.have.Mesh, outer), mtu: mtu, mark: Mark{Role: RoleUplink, Physnet: b.Physnet, VLAN: vlan},
		adopt: b.Adopt, keep: b.Adopt,
	})
}

func (p *planner) port(port Port) {
	b, ok := p.bridges[port.Bridge]
	if !ok {
		b.conflict = fmt.Sprintf("bridge %s is not wanted", port.Bridge)
	}
	if b.conflict != "" {
		// Its pair stays as it is until the bridge can be had again.
		p.claimed[port.Peer], p.claimed[port.Tap] = true, true
		p.conflict(port.Node, port.Peer, "port %d: %s", port.Index, b.conflict)
		return
	}
	p.pair(pair{
		node: port.Node, inner: port.Peer, bridge: port.Bridge, loose: b.Switch, outer: port.Tap, mac: port.MAC, complete: b.Switch && b.Userspace,
		mtu: b.mtu, mark: Mark{Role: RolePort, Node: port.Node, Index: port.Index},
		adopt: port.Adopt, innerMAC: port.PeerMAC,
	})
}

// pair is a veth pair as it should be: inner in a bridge of ours, outer elsewhere.
type pair struct {
	node          string
	inner, bridge string
	// loose leaves it to Open vSwitch to put inner into the bridge, complete asks for
	// complete checksums.
	loose, complete bool
	outer           string
	// outerBridge is empty for a port: where its tap is is the guest's affair.
	outerBridge string
	// outerVLAN is what outer is an access port of in outerBridge; 0: none.
	outerVLAN int
	// mac is the address of outer.
	mac  string
	mtu  int
	mark Mark
	// adopt lets a pair that is not ours become ours.
	adopt bool
	// keep leaves both addresses as they are.
	keep bool
	// innerMAC is the address of inner; empty: the one it is born with.
	innerMAC string
}

func (p *planner) join(node string, l Link, bridge string) {
	if bridge != "" && (l.Master != bridge || p.have.Links[bridge].Kind == KindSwitch) {
		p.add(node, Step{Op: OpJoin, Link: l.Name, Bridge: bridge})
	}
}

// remove deletes links that are in the way of a wanted pair.
func (p *planner) remove(node string, links ...Link) {
	for _, l := range links {
		if l.Name == "" || p.gone[l.Name] {
			continue
		}
		p.gone[l.Name], p.gone[l.Peer] = true, true
		step := Step{Op: OpDelete, Link: l.Name}
		if node == "" {
			p.before = append(p.before, step)
			continue
		}
		p.deletes[node] = append(p.deletes[node], step)
	}
}

// shared are physnets whose bridge nobody wants any longer, and which has ports that are not
// ours: other guests of who made it before it was taken over. It stays, with what joins it to
// others, as long as they are in it.
func (p *planner) shared() map[string]bool {
	out := map[string]bool{}
	for name, b := range p.have.Links {
		if b.Mark.Role == RoleBridge && !p.claimed[name] && p.have.Shared(name) {
			out[b.Mark.Physnet] = true
		}
	}
	return out
}

// unwanted deletes what is ours and nobody claimed: ports with their nodes' steps,
// then uplinks, then bridges.
func (p *planner) unwanted() {
	var bridges []Step
	shared := p.shared()
	for _, name := range p.have.Ours() {
		l := p.have.Links[name]
		if l.Mark.Node == "" && shared[l.Mark.Physnet] {
			continue
		}
		if l.Kind == KindSwitch || p.claimed[name] || p.gone[name] || p.claimed[l.Peer] && !p.gone[l.Peer] && l.Peer != "" {
			continue
		}
		if l.Kind == kindBridge {
			if dev := p.have.Links[l.Mark.Device]; dev.Name != "" && dev.Master == name && p.devices[dev.Name] == "" {
				bridges = append(bridges, Step{Op: OpRelease, Link: dev.Name, Bridge: name})
			}
			bridges = append(bridges, Step{Op: OpDelete, Link: name})
			continue
		}
		p.gone[name], p.gone[l.Peer] = true, true
		if step := (Step{Op: OpDelete, Link: name}); l.Mark.Node != "" {
			p.deletes[l.Mark.Node] = append(p.deletes[l.Mark.Node], step)
		} else {
			p.after = append(p.after, step)
		}
	}
	p.after = append(p.after, bridges...)
}
