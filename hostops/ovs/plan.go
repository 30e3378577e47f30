package ovs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxName is the longest interface name in bytes (IFNAMSIZ less the final NUL).
const maxName = 15

// Plan returns the steps that turn have into want, in an order that may be carried out
// one by one. It is deterministic, and empty when nothing is to be done. What cannot be
// done is a step of its own with OpConflict, so that it holds up nothing else. Where
// nothing is known, nothing is to be done.
func Plan(want Want, have Have) []Step {
	if have.Down != nil {
		return nil
	}
	p := &planner{have: have, wanted: map[string]Bridge{}, claimed: map[string]bool{}, refused: map[string]bool{}, anew: map[string]bool{}}
	for _, name := range want.Anew {
		p.anew[name] = true
	}
	for _, name := range want.Keep {
		p.claimed[name] = true
	}
	for _, b := range slices.SortedStableFunc(slices.Values(want.Bridges), func(a, b Bridge) int { return strings.Compare(a.Name, b.Name) }) {
		p.bridge(b)
	}
	for _, port := range slices.SortedStableFunc(slices.Values(want.Ports), func(a, b Port) int { return strings.Compare(a.Name, b.Name) }) {
		p.port(port)
	}
	p.unwanted()
	slices.SortStableFunc(p.steps, func(a, b Step) int {
		if a.Stage != b.Stage {
			return int(a.Stage) - int(b.Stage)
		}
		return strings.Compare(a.Node, b.Node)
	})
	return p.steps
}

type planner struct {
	have   Have
	wanted map[string]Bridge
	// claimed are names of bridges and ports that something wanted has; refused are those
	// of bridges that cannot be had.
	claimed, refused map[string]bool
	// anew are names of interfaces that are made anew.
	anew  map[string]bool
	steps []Step
}

func (p *planner) add(s Step) { p.steps = append(p.steps, s) }

// claim takes a name for something wanted; it returns why it cannot be had.
func (p *planner) claim(name string) string {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Sprintf("name %q is not 1 to %d bytes long", name, maxName)
	case p.claimed[name]:
		return fmt.Sprintf("%s is wanted twice", name)
	}
	p.claimed[name] = true
	return ""
}

func (p *planner) bridge(b Bridge) {
	conflict := p.claim(b.Name)
	h, exists := p.have.Bridges[b.Name]
	port, taken := p.have.Ports[b.Name]
	switch {
	case conflict != "":
	case exists && !h.Ours() && !b.Adopt:
		conflict = fmt.Sprintf("Open vSwitch has a bridge %s that is not ours", b.Name)
	case !exists && taken:
		conflict = fmt.Sprintf("Open vSwitch has a port %s in %s already", b.Name, port.Bridge)
	}
	if conflict != "" {
		p.refused[b.Name] = true
		p.add(Step{Op: OpConflict, Stage: StageBridges, Bridge: Bridge{Name: b.Name}, Reason: fmt.Sprintf("physnet %q: %s", b.Physnet, conflict)})
		return
	}
	p.wanted[b.Name] = b
	is := HasBridge{Name: b.Name, MAC: b.MAC, Datapath: b.Datapath, MTU: b.MTU, Mark: Mark{Role: RoleBridge, Physnet: b.Physnet}}
	if h != is {
		p.add(Step{Op: OpBridge, Stage: StageBridges, Bridge: b})
	}
}

// stage is when a port is made: those of the host before those of nodes.
func (m Mark) stage() Stage {
	if m.Role == RolePort {
		return StageNodes
	}
	return StageBridges
}

// portFault says why a port cannot be had.
func (p *planner) portFault(w Port) string {
	if conflict := p.claim(w.Name); conflict != "" {
		return conflict
	}
	h, exists := p.have.Ports[w.Name]
	_, theirs := p.have.Bridges[w.Bridge]
	_, ours := p.wanted[w.Bridge]
	switch {
	case p.refused[w.Bridge]:
		return fmt.Sprintf("bridge %s cannot be had", w.Bridge)
	case !theirs && !ours:
		return fmt.Sprintf("Open vSwitch has no bridge %s", w.Bridge)
	case exists && !h.Ours() && (!w.Adopt || h.Bridge != w.Bridge):
		return fmt.Sprintf("Open vSwitch has a port %s in %s that is not ours: delete it (ovs-vsctl del-port %s)", w.Name, h.Bridge, w.Name)
	}
	return ""
}

func (p *planner) port(w Port) {
	if conflict := p.portFault(w); conflict != "" {
		p.add(Step{Op: OpConflict, Stage: w.Mark.stage(), Node: w.Mark.Node, Bridge: Bridge{Name: w.Bridge}, Port: Port{Name: w.Name}, Reason: conflict})
		return
	}
	h, exists := p.have.Ports[w.Name]
	anew := exists && p.anew[w.Name]
	if anew && h.Kind == "" {
		closing := Step{Op: OpClosePort, Stage: StageFirst, Node: w.Mark.Node, Port: Port{Name: w.Name, Bridge: h.Bridge}}
		if w.Mark.Role == RolePort {
			closing.Stage = StageGone
		}
		p.add(closing)
	}
	// What Open vSwitch could not open it tries again when the configuration changes.
	// A patch port is opened once the other end is.
	stuck := h.Error != "" && w.Mark.Role != RolePort && w.Peer == ""
	if !exists || anew || stuck || !w.matches(h) {
		p.add(Step{Op: OpPort, Stage: w.Mark.stage(), Node: w.Mark.Node, Port: w})
	}
}

// matches reports whether a port is as it should be in what is ours to say.
func (w Port) matches(h HasPort) bool {
	kind := ""
	if w.Peer != "" {
		kind = kindPatch
	}
	tag := h.Tag == w.Tag || w.Tag == 0 && w.Mark.Role != RoleUplink
	return h.Bridge == w.Bridge && h.Kind == kind && h.Peer == w.Peer && h.Mark == w.Mark && tag
}

// shared are physnets whose bridge nobody wants any longer, and which has ports that are not
// ours. It stays, with what joins it to others, as long as they are in it.
func (p *planner) shared() map[string]bool {
	out := map[string]bool{}
	for name, b := range p.have.Bridges {
		if b.Ours() && !p.claimed[name] && len(p.have.Others(name)) > 0 {
			out[b.Mark.Physnet] = true
		}
	}
	return out
}

// unwanted deletes what is ours and nobody claimed. Devices, and bridges that are none of
// Open vSwitch's any longer, go first: their names may be wanted elsewhere.
func (p *planner) unwanted() {
	shared := p.shared()
	for _, name := range slices.Sorted(maps.Keys(p.have.Ports)) {
		h := p.have.Ports[name]
		if !h.Ours() || p.claimed[name] || h.Mark.Role != RolePort && shared[h.Mark.Physnet] {
			continue
		}
		s := Step{Op: OpDeletePort, Stage: StageRemovals, Port: Port{Name: name, Bridge: h.Bridge}}
		switch h.Mark.Role {
		case RolePort:
			s.Stage, s.Node = StageGone, h.Mark.Node
		case RoleDevice:
			s.Stage = StageFirst
		}
		p.add(s)
	}
	for _, name := range slices.Sorted(maps.Keys(p.have.Bridges)) {
		if h := p.have.Bridges[name]; h.Ours() && !p.claimed[name] && !shared[h.Mark.Physnet] {
			p.add(Step{Op: OpDeleteBridge, Stage: StageRemovals, Bridge: Bridge{Name: name, Physnet: h.Mark.Physnet}})
		}
	}
}
