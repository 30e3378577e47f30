package hostops

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// How many nodes that nobody asked to remove one pass may take apart: at most
// guardFew, or one in guardPart of all that are here.
const (
	guardFew  = 3
	guardPart = 5
)

// want is what a snapshot says of this host.
type want struct {
	// index is the snapshot's log index.
	index uint64
	// since is the index that the mesh's generation began at.
	since uint64
	// nodes are those placed here, by name.
	nodes []*state.Node
	// elsewhere are nodes that are here, and that the mesh has, but not here.
	elsewhere map[string]bool
	// discard are those of elsewhere that nothing is to be left of here.
	discard map[string]bool
	// coming are those of elsewhere that move here.
	coming map[string]bool
	// bridges is the index of each physnet's bridge.
	bridges map[string]int
	// physnets are those that this host offers.
	physnets map[string]Physnet
	// ovs says that bridges are Open vSwitch's, with datapath.
	ovs      bool
	datapath string
	// vxlan is where overlays end here, and tunnels where those of other hosts do.
	vxlan   state.Endpoint
	tunnels []state.Tunnel
	// mtus are those of physnets here, in bytes; absent: the usual one. lastMTUs are those of
	// the last pass.
	mtus, lastMTUs map[string]int
	// adopted are the addresses of bridges that were taken over, by physnet.
	adopted map[string]string
	// drivers are those of this host.
	drivers map[string]bool
	// boots are the orders that hold for every boot, by node.
	boots map[string]state.Boot
	// relinked are nodes whose driver has yet to be told of new links.
	relinked map[string]bool
	// setups are what clients changed of the hardware, as their chassis keep it, by node;
	// absent: nothing, ever.
	setups map[string][]byte
}

// have is what there is.
type have struct {
	// links are as annotated says.
	links    link.Have
	switches ovs.Have
	// instances are those of the drivers that answered, by driver, by UUID.
	instances map[string]map[string]driver.Instance
	// down says why a driver did not answer.
	down map[string]error
}

// find returns a node's instance, and the driver that has it.
func (h have) find(uuid string) (in string, i driver.Instance, ok bool) {
	for _, in := range slices.Sorted(maps.Keys(h.instances)) {
		if i, ok := h.instances[in][uuid]; ok {
			return in, i, true
		}
	}
	return "", driver.Instance{}, false
}

// kind says what a work does to a node.
type kind string

const (
	// kindEnsure makes its links, and then it.
	kindEnsure kind = "ensure"
	// kindRemove takes it apart, and then its links.
	kindRemove kind = "remove"
	// kindStop switches it off: the mesh has it elsewhere. Its disks stay.
	kindStop kind = "stop"
)

// work is what one node needs. Its parts run one after the other.
type work struct {
	kind kind
	node string
	// driver is empty if only links are to be changed.
	driver string
	links  []layerStep
	// spec is what to make it from; nil: it is as it should be.
	spec *driver.Spec
	// relinks says that links were made anew under a running guest, which its driver
	// is told by making it again.
	relinks bool
}

// program is what a pass does: before, then all nodes at the same time, then after.
type program struct {
	before []layerStep
	nodes  []work
	after  []layerStep
	// links is what the steps lead to.
	links link.Want
	// faults are nodes that nothing can be done for, and why.
	faults map[string]error
}

// plan decides what to do. It is deterministic, and empty when all is as it should
// be. The error is that more would be removed than can be right; then nothing is to
// be done at all.
func plan(w want, h have) (program, error) {
	p := &planner{want: w, have: h, out: program{faults: map[string]error{}}}
	p.split()
	if err := p.guard(); err != nil {
		return program{}, err
	}
	p.out.links = p.layer2()
	b := layered(p.out.links, h)
	p.out.before, p.steps, p.out.after = b.before, b.nodes, b.after
	for _, n := range p.kept {
		p.ensure(n)
	}
	for _, n := range p.removed {
		if n.Anew { // for another driver, perhaps
			p.remove(n.UUID, kindRemove, len(h.down) == 0)
			continue
		}
		if !w.drivers[n.Machine.Driver] {
			p.fault(n, noDriver(n))
			continue
		}
		p.remove(n.UUID, kindRemove, h.down[n.Machine.Driver] == nil)
	}
	for _, uuid := range p.leftover {
		k := kindRemove
		if w.elsewhere[uuid] && !w.discard[uuid] {
			k = kindStop
		}
		p.remove(uuid, k, len(h.down) == 0)
	}
	p.keepBelow()
	return p.out, nil
}

// keepBelow drops the removal of bridges while ports stay that are not wanted.
func (p *planner) keepBelow() {
	for node, steps := range p.steps {
		stays := slices.ContainsFunc(steps, func(s layerStep) bool { return s.Op != link.OpConflict })
		if stays && !slices.ContainsFunc(p.out.nodes, func(w work) bool { return w.node == node && len(w.links) > 0 }) {
			p.out.after = nil
		}
	}
}

type planner struct {
	want  want
	have  have
	out   program
	steps map[string][]layerStep
	// kept and removed are the nodes placed here; leftover are UUIDs of others.
	kept, removed []*state.Node
	leftover      []string
	// marked are nodes that links here are of; nil: nobody looked yet.
	marked map[string]bool
}

// split sorts what is here, and what should be, by what is to become of it.
func (p *planner) split() {
	placed := map[string]bool{}
	for _, n := range p.want.nodes {
		placed[n.UUID] = true
		if n.TakenApart() {
			p.removed = append(p.removed, n)
			continue
		}
		p.kept = append(p.kept, n)
	}
	for uuid, epoch := range p.have.present() {
		// One that is newer than the snapshot is none of its business. Nor is one from
		// before the mesh was recovered that nobody knows of since: what was lost then may
		// be the memory of it, and not the wish for it.
		forgotten := epoch < p.want.since && !p.want.elsewhere[uuid]
		if !placed[uuid] && epoch <= p.want.index && !forgotten {
			p.leftover = append(p.leftover, uuid)
		}
	}
	slices.Sort(p.leftover)
}

// present returns every node that something here belongs to, with its epoch where
// that is known.
func (h have) present() map[string]uint64 {
	nodes := map[string]uint64{}
	for _, l := range h.links.Links {
		if l.Mark.Role == link.RolePort {
			nodes[l.Mark.Node] = 0
		}
	}
	for _, uuid := range h.switches.Nodes() {
		nodes[uuid] = 0
	}
	for _, instances := range h.instances {
		for uuid, i := range instances {
			nodes[uuid] = max(nodes[uuid], i.Epoch)
		}
	}
	return nodes
}

func (p *planner) guard() error {
	doomed := 0
	for _, uuid := range p.leftover {
		if !p.want.elsewhere[uuid] {
			doomed++
		}
	}
	total := len(p.have.present())
	if doomed <= max(guardFew, total/guardPart) {
		return nil
	}
	return fmt.Errorf("%d of the %d nodes on this host are unknown to the mesh at log index %d, and would be removed although nobody asked for it: nothing is changed until the state is the right one",
		doomed, total, p.want.index)
}

// layer2 is what links there should be: the bridges of physnets that have ports,
// and the ports of nodes that stay.
func (p *planner) layer2() link.Want {
	var l link.Want
	bridges := map[string]link.Bridge{}
	for _, n := range p.kept {
		if p.untouched(n) {
			p.heldBridges(n, bridges)
			continue
		}
		for i, port := range n.Ports {
			b, offered := p.bridge(port.Physnet)
			if b.Name != "" {
				bridges[b.Name] = b
			}
			if why := p.want.disagrees(port.Physnet); why != "" {
				p.fault(n, fmt.Errorf("port %d: physnet %q: %s", i, port.Physnet, why))
			}
			if !offered {
				p.fault(n, fmt.Errorf("port %d: this host does not offer physnet %q: add it to physnets in agent.yml", i, port.Physnet))
			}
			one := link.Port{Node: n.UUID, Index: i, Tap: tapName(n, i),
				Peer: b.PeerName(n.LinkName, i), MAC: port.MAC, Bridge: b.Name, Trunk: port.Trunk}
			if err := adoptPort(&one, n); err != nil {
				p.fault(n, err)
			}
			l.Ports = append(l.Ports, one)
		}
	}
	l.Bridges = slices.SortedFunc(maps.Values(bridges), func(a, b link.Bridge) int { return cmp.Compare(a.Name, b.Name) })
	return l
}

// bridge returns a physnet's bridge as it should be. One that this host no longer
// offers stays as it is while nodes use it; without a name it does not exist.
func (p *planner) bridge(physnet string) (b link.Bridge, offered bool) {
	if _, offered := p.want.physnets[physnet]; offered {
		b = p.want.lasting(p.want.bridge(physnet), p.have.links)
		b.Switch = p.have.ofSwitch(b.Name, p.want.ovs)
		p.adoptBridge(&b)
		datapath := p.want.datapath
		if has, ok := p.have.switches.Bridges[b.Name]; ok && b.Adopt {
			datapath = has.Datapath
		}
		return p.have.joint(b, datapath), true
	}
	b = unmapped(physnet, p.have.links)
	p.adoptBridge(&b)
	return p.have.joint(p.have.asItIs(b), p.have.switches.Bridges[b.Name].Datapath), false
}

func (p *planner) fault(n *state.Node, err error) {
	if p.out.faults[n.UUID] == nil {
		p.out.faults[n.UUID] = err
	}
}

// ensure decides what a node that stays needs.
func (p *planner) ensure(n *state.Node) {
	in, i, exists := p.have.find(n.UUID)
	if err := p.misfit(n, in, i); err != nil {
		p.fault(n, err)
	}
	// One that is newer than the snapshot is none of its business.
	if p.out.faults[n.UUID] != nil || exists && i.Epoch > p.want.index {
		return
	}
	w := work{kind: kindEnsure, node: n.UUID, driver: n.Machine.Driver, links: p.steps[n.UUID]}
	w.relinks = exists && i.Power != state.PowerOff && (p.want.relinked[n.UUID] || slices.ContainsFunc(w.links, makesPair))
	spec := p.want.spec(n)
	same := exists && i.Digest == spec.Digest() && i.Epoch == spec.Epoch && !w.relinks
	if !same && p.changeable(n) {
		w.spec = &spec
	}
	if w.spec != nil || len(w.links) > 0 {
		p.out.nodes = append(p.out.nodes, w)
	}
}

// changeable reports whether a node may be made what it should be: its driver answers,
// and nothing of it is being copied to another host.
func (p *planner) changeable(n *state.Node) bool {
	return p.have.down[n.Machine.Driver] == nil && !n.Moving()
}

// misfit says why a node cannot be had from its driver; in is the one that has it, as i.
func (p *planner) misfit(n *state.Node, in string, i driver.Instance) error {
	switch {
	case !p.want.drivers[n.Machine.Driver]:
		return noDriver(n)
	case in != "" && in != n.Machine.Driver:
		return fmt.Errorf("it exists at driver %s and cannot move to %s: remove it and create it again", in, n.Machine.Driver)
	case stale(n, i):
		return fmt.Errorf("this host has it with disks of epoch %d, and it ran elsewhere since: what is here is in quarantine until tenks host quarantine delete %s", i.Epoch, n.Name)
	}
	return nil
}

// stale reports whether an instance of a node that is placed here is from before the node
// ran elsewhere. One that only lost its placement meanwhile goes on with its disks.
func stale(n *state.Node, i driver.Instance) bool {
	return n.LastPlacement != nil && i.UUID != "" && i.Epoch < n.LastPlacement.Epoch
}

func makesPair(s layerStep) bool { return s.Op == link.OpCreatePair }

// remove decides how a node goes. Its links go after it, once it is sure that no
// driver has it: answered says that every driver which might was asked.
func (p *planner) remove(uuid string, k kind, answered bool) {
	in, i, exists := p.have.find(uuid)
	w := work{kind: k, node: uuid, driver: in, links: p.steps[uuid]}
	switch {
	case k == kindStop && (exists || !answered):
		w.links = nil
	case k == kindStop:
		// Somebody deleted it: nothing needs its links any longer.
		w.kind, k = kindRemove, kindRemove
	}
	switch {
	case exists && i.Epoch > p.want.index, !exists && !answered:
		return
	case !exists && len(w.links) == 0, k == kindStop && i.Power == state.PowerOff:
		return
	}
	p.out.nodes = append(p.out.nodes, w)
}

func noDriver(n *state.Node) error { return fmt.Errorf("this host has no driver %q", n.Machine.Driver) }

// spec is a node of want as its driver is told of it.
func (w want) spec(n *state.Node) driver.Spec {
	return withMTUs(specOf(n, w.boots[n.UUID], decodeSetup(w.setups[n.UUID]).Setup), w.mtus)
}

// specOf is a placed node as its driver is told of it. What is empty is nil, as it is
// on the other side of a driver's process, so that both see the same digest.
func specOf(n *state.Node, boot state.Boot, setup driver.Setup) driver.Spec {
	s := driver.Spec{UUID: n.UUID, Name: n.Name, Epoch: n.Placement.Epoch, Machine: n.Machine, Boot: boot, Setup: declared(n.Machine.SecureBoot, setup)}
	s.Machine.BootMode = bootMode(setup, n.Machine.BootMode)
	if s.Machine.BootMode == state.BootBIOS { // a client chose BIOS: Secure Boot comes back with UEFI
		s.Setup.SecureBoot, s.Setup.Keys, s.Setup.KeysAt = false, "", 0
	}
	if len(s.Machine.Volumes) == 0 {
		s.Machine.Volumes = nil
	}
	if len(s.Machine.Physnets) == 0 {
		s.Machine.Physnets = nil
	}
	for i, p := range n.Ports {
		s.Ports = append(s.Ports, driver.Port{MAC: p.MAC, Physnet: p.Physnet, Link: tapName(n, i)})
	}
	if o := n.Origin; o.Adopted() {
		s.Origin = driver.Origin{Volumes: o.Volumes, NVRAM: o.NVRAM}
	}
	return s
}
