package hostops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// layerStep is one change to the host's layer 2: of its links, then of its Open vSwitch if
// that succeeded. Either may be nothing (an Op of "").
type layerStep struct {
	link.Step
	then ovs.Step
}

func (s layerStep) String() string {
	switch {
	case s.then.Op == "":
		return s.Step.String()
	case s.Op == "":
		return s.then.String()
	}
	return s.Step.String() + ", " + s.then.String()
}

// layerBatches are steps in the order that they may be carried out in, as link.Batches.
type layerBatches struct {
	before []layerStep
	nodes  map[string][]layerStep
	after  []layerStep
}

// observeLinks looks at links and the Open vSwitch.
func (h *Host) observeLinks(ctx context.Context) (link.Have, ovs.Have, error) {
	links, err := h.cfg.Links.Observe(ctx)
	if err != nil || h.cfg.Switches == nil {
		return links, ovs.Have{}, err
	}
	switches, err := h.cfg.Switches.Observe(ctx)
	if h.cfg.OVS || h.switched.used() {
		h.complain(ctx, "open vswitch", switches.Down)
	}
	if err == nil && switches.Down == nil {
		h.complain(ctx, "open vswitch's memory", h.switched.set(h.store, switches.Any()))
	}
	return annotated(links, switches, h.bridges), switches, err
}

// annotated adds to links what only Open vSwitch knows: which are its bridges, which of those
// are ours, and what is in them. A bridge that it has and the kernel does not is there,
// too, without an MTU: its name is taken. What ovs-vswitchd may have made under a name that was
// remembered for a bridge of ours is ours also while the database does not answer, or no longer has it: the
// interface goes later.
func annotated(links link.Have, switches ovs.Have, remembered map[string]int) link.Have {
	links.Links = maps.Clone(links.Links)
	for name, b := range switches.Bridges {
		l := links.Links[name]
		l.Name, l.Kind = name, link.KindSwitch
		if b.Ours() {
			l.Mark = link.Mark{Role: link.RoleBridge, Physnet: b.Mark.Physnet}
			l.Shared = len(switches.Others(name)) > 0
		}
		links.Links[name] = l
	}
	for name, p := range switches.Ports {
		if l, ok := links.Links[name]; ok && p.Kind == "" {
			l.Master = p.Bridge
			links.Links[name] = l
		}
	}
	for physnet, i := range remembered {
		l := links.Links[link.BridgeName(i)]
		if (l.Kind == link.KindSwitch || l.Kind == kindTap) && !l.Ours() && !theirs(switches, l.Name) {
			l.Kind, l.Mark = link.KindSwitch, link.Mark{Role: link.RoleBridge, Physnet: physnet}
			links.Links[l.Name] = l
		}
	}
	if switches.Down != nil {
		guessed(links)
	}
	return links
}

// guessed takes every tap for a bridge of Open vSwitch that does not answer, where it has some
// in userspace: plugged in as an interface, one would be lost to its own network.
func guessed(links link.Have) {
	_, userspace := links.Links["ovs-netdev"] // ovs-vswitchd's, while it has bridges of its own
	for name, l := range links.Links {
		if userspace && l.Kind == kindTap && !l.Ours() {
			l.Kind = link.KindSwitch
			links.Links[name] = l
		}
	}
}

// kindTap is what package link says of an interface of a userspace bridge.
const kindTap = "tuntap"

func theirs(switches ovs.Have, bridge string) bool {
	b, ok := switches.Bridges[bridge]
	return ok && !b.Ours()
}

// joint completes a bridge by what it and its device are to Open vSwitch. Patch ports join
// bridges of one datapath only.
func (h have) joint(b link.Bridge, datapath string) link.Bridge {
	device, ok := h.switches.Bridges[b.Device]
	b.Datapath, b.DeviceSwitch = datapath, ok && !device.Ours()
	b.Patched = b.Switch && b.DeviceSwitch && device.Datapath == datapath
	b.Userspace = b.Switch && datapath == ovs.DatapathNetdev || b.DeviceSwitch && device.Datapath == ovs.DatapathNetdev
	return b
}

// ofSwitch reports whether a bridge is to be one of Open vSwitch. While that does not answer,
// none can be made or deleted there: what is there already stays of its kind, with the guests
// that it serves. So does one that others have ports in: deleted, it would take those along.
func (h have) ofSwitch(name string, wanted bool) bool {
	is := h.links.Links[name]
	if is.Ours() && (h.switches.Down != nil || h.links.Shared(name)) {
		return is.Kind == link.KindSwitch
	}
	return wanted
}

// asItIs completes a bridge of a physnet that is no longer offered by what Open vSwitch has
// of it.
func (h have) asItIs(b link.Bridge) link.Bridge {
	b.Switch = h.links.Links[b.Name].Kind == link.KindSwitch
	for _, name := range slices.Sorted(maps.Keys(h.switches.Ports)) {
		p := h.switches.Ports[name]
		switch {
		case p.Mark.Physnet != b.Physnet:
		case p.Mark.Role == ovs.RoleDevice && p.Bridge == b.Name:
			b.Device = name
		case p.Mark.Role == ovs.RoleUplink && p.Bridge != b.Name:
			b.Device, b.VLAN = p.Bridge, p.Tag
		}
	}
	return b
}

// layered plans links and Open vSwitch together.
func layered(want link.Want, h have) layerBatches {
	steps := link.Plan(want, h.links)
	switches := ovs.Plan(switched(want, h, steps), h.switches)
	lower := link.Batch(steps)
	plugs := map[string]link.Step{} // with what puts the device into its bridge; alone they change nothing
	before := slices.DeleteFunc(lower.Before, func(s link.Step) bool {
		if s.Op == link.OpPlug && s.Loose {
			plugs[s.Link] = s
			return true
		}
		return false
	})
	linux := map[string]bool{}
	for _, b := range want.Bridges {
		linux[b.Name] = !b.Switch
	}
	stages := map[ovs.Stage][]layerStep{}
	nodes := map[string]map[ovs.Stage][]layerStep{}
	for _, s := range switches {
		step := layerStep{Step: link.Step{Node: s.Node, Link: s.Subject(), Bridge: bridgeOf(want, s)}, then: s}
		switch {
		case s.Op == ovs.OpConflict:
			step.Op, step.Reason, step.then = link.OpConflict, s.Reason, ovs.Step{}
		case s.Op == ovs.OpPort && plugs[s.Port.Name].Op != "":
			step.Step = plugs[s.Port.Name]
			delete(plugs, s.Port.Name)
		}
		if s.Op == ovs.OpDeleteBridge && linux[s.Bridge.Name] { // a Linux bridge is to have its name
			s.Stage = ovs.StageFirst
		}
		if s.Node == "" {
			stages[s.Stage] = append(stages[s.Stage], step)
			continue
		}
		if nodes[s.Node] == nil {
			nodes[s.Node] = map[ovs.Stage][]layerStep{}
		}
		nodes[s.Node][s.Stage] = append(nodes[s.Node][s.Stage], step)
	}
	out := layerBatches{before: slices.Concat(stages[ovs.StageFirst], onlyLinks(before), stages[ovs.StageBridges]), nodes: map[string][]layerStep{},
		after: slices.Concat(stages[ovs.StageRemovals], onlyLinks(lower.After))}
	for node, steps := range lower.Nodes {
		out.nodes[node] = onlyLinks(steps)
	}
	for node, by := range nodes {
		out.nodes[node] = slices.Concat(by[ovs.StageGone], out.nodes[node], by[ovs.StageNodes])
	}
	return out
}

func onlyLinks(steps []link.Step) []layerStep {
	out := make([]layerStep, 0, len(steps))
	for _, s := range steps {
		out = append(out, layerStep{Step: s})
	}
	return out
}

// bridgeOf is the bridge of ours that a step is about.
func bridgeOf(want link.Want, s ovs.Step) string {
	for _, b := range want.Bridges {
		if s.Port.Mark.Role != ovs.RolePort && s.Port.Mark.Physnet == b.Physnet && s.Port.Name != "" {
			return b.Name
		}
	}
	if s.Port.Bridge != "" {
		return s.Port.Bridge
	}
	return s.Bridge.Name
}

// switched is what there should be in Open vSwitch. What the links' plan could not decide
// stays as it is.
func switched(want link.Want, h have, steps []link.Step) ovs.Want {
	refused, anew := outcomes(steps)
	out := ovs.Want{Anew: anew}
	mtus := link.MTUs(want, h.links)
	bridges := map[string]link.Bridge{}
	for _, b := range want.Bridges {
		bridges[b.Name] = b
		if mtu, ok := mtus[b.Name]; ok && b.Switch {
			as := b.Datapath
			if has, ok := h.switches.Bridges[b.Name]; ok && (as == "" || b.Adopt) { // frames pass in that one now
				as = has.Datapath
			}
			out.Bridges = append(out.Bridges, ovs.Bridge{Physnet: b.Physnet, Name: b.Name, MAC: cmp.Or(b.MAC, link.BridgeMAC(h.links.Mesh, b.Physnet)),
				Datapath: as, MTU: mtu, Adopt: b.Adopt})
		}
		ports := joints(b, h.links)
		inner, outer := b.UplinkNames()
		if alone := b.Alone(h.links); refused.any(b.Name, b.Device, inner, outer, alone) {
			out.Keep = append(out.Keep, inner, outer, b.Device, alone)
			continue
		}
		for i := range ports {
			ports[i].Adopt = b.Adopt
		}
		out.Ports = append(out.Ports, ports...)
	}
	for _, p := range want.Ports {
		switch {
		case !bridges[p.Bridge].Switch:
		case refused.any("", p.Peer, p.Tap):
			out.Keep = append(out.Keep, p.Peer)
		default:
			out.Ports = append(out.Ports, ovs.Port{Name: p.Peer, Bridge: p.Bridge, Adopt: p.Adopt,
				Mark: ovs.Mark{Role: ovs.RolePort, Node: p.Node, Index: p.Index, Trunk: p.Trunk}})
		}
	}
	return out
}

// refusals are the links that a plan has conflicts of, each with the bridge of ours that it
// cannot join; empty: with none in particular. Several physnets may share a device.
type refusals map[[2]string]bool

// any reports whether one of the links cannot join a bridge.
func (r refusals) any(bridge string, links ...string) bool {
	return slices.ContainsFunc(links, func(name string) bool {
		return name != "" && (r[[2]string{bridge, name}] || r[[2]string{"", name}])
	})
}

// outcomes are the links that a plan has conflicts of, and those that it makes.
func outcomes(steps []link.Step) (refused refusals, made []string) {
	refused = refusals{}
	for _, s := range steps {
		switch s.Op {
		case link.OpConflict:
			refused[[2]string{s.Bridge, s.Link}] = true
		case link.OpCreatePair:
			made = append(made, s.Link, s.Peer)
		case link.OpCreateVLAN, link.OpCreateVXLAN:
			made = append(made, s.Link)
		}
	}
	return refused, made
}

// joints are the ports of Open vSwitch that join a bridge of ours to its device.
func joints(b link.Bridge, have link.Have) []ovs.Port {
	mark := ovs.Mark{Role: ovs.RoleUplink, Physnet: b.Physnet}
	names := [2]string{}
	names[0], names[1] = b.UplinkNames()
	inner, outer := ovs.Port{Name: names[0], Bridge: b.Name, Mark: mark}, ovs.Port{Name: names[1], Bridge: b.Device, Tag: b.VLAN, Mark: mark}
	alone := b.Alone(have)
	switch {
	case alone != "" && b.Switch:
		return []ovs.Port{{Name: alone, Bridge: b.Name, Mark: mark}}
	case alone != "", b.Device == "":
		return nil
	case b.Patched:
		inner.Peer, outer.Peer = outer.Name, inner.Name
		return []ovs.Port{inner, outer}
	case b.Switch && b.DeviceSwitch:
		return []ovs.Port{inner, outer}
	case b.DeviceSwitch:
		return []ovs.Port{outer}
	case !b.Switch:
		return nil
	case have.Links[b.Device].Kind == "bridge":
		return []ovs.Port{inner}
	}
	return []ovs.Port{{Name: b.Device, Bridge: b.Name, Mark: ovs.Mark{Role: ovs.RoleDevice, Physnet: b.Physnet}}}
}

// portLinks returns where the ports of each node are plugged in, as link.PortLinks, and
// what is wrong, by node, with those that Open vSwitch has, and with what it joins their bridges
// to devices by.
func (h have) portLinks(want link.Want) (map[string][]state.PortLink, map[string]error) {
	links, faults := link.PortLinks(want, h.links), map[string]error{}
	switched := map[string]bool{}
	for _, b := range want.Bridges {
		switched[b.Name] = b.Switch
	}
	uplinks := h.uplinkFaults(want)
	for _, p := range want.Ports {
		if err := uplinks[p.Bridge]; err != nil && faults[p.Node] == nil {
			faults[p.Node] = err
		}
		if !switched[p.Bridge] {
			continue
		}
		err := h.switches.Fault(p.Peer)
		switch {
		case h.switches.Down != nil:
			err = fmt.Errorf("%w: %w", state.ErrBusy, h.switches.Down)
		case err == nil && h.links.Links[p.Bridge].MAC == "":
			err = fmt.Errorf("Open vSwitch has not made the interface of bridge %s: look whether ovs-vswitchd runs", p.Bridge)
		}
		if err != nil {
			delete(links, p.Node)
			faults[p.Node] = err
		}
	}
	return links, faults
}

// uplinkFaults says which bridges Open vSwitch does not join to their device, and why. They may
// be Linux bridges, of which it has the end in its own bridge.
func (h have) uplinkFaults(want link.Want) map[string]error {
	faults := map[string]error{}
	if h.switches.Down != nil {
		return faults
	}
	for _, b := range want.Bridges {
		for _, p := range joints(b, h.links) {
			if err := h.switches.Fault(p.Name); err != nil && faults[b.Name] == nil {
				faults[b.Name] = fmt.Errorf("physnet %q: %w: see that nothing else uses it, or map another device in agent.yml", b.Physnet, err)
			}
		}
	}
	return faults
}
