package declare

import (
	"cmp"
	"fmt"
	"strings"

	"tenks/raftfsm/state"
	"tenks/sched"
)

// Notes says what is not as it should be with nodes, whether they are declared otherwise or
// not, and what to do. Nodes of which the same is to be said are one line.
func Notes(snap *state.Snapshot, nodes []*state.Node) []string {
	g := &grouped{}
	for _, n := range nodes {
		(&noter{snap}).note(g, n)
	}
	return g.lines()
}

// Misplaced says what the hypervisors of nodes no longer have for them, and what to do, as
// "tk0…tk9: what: what to do".
func Misplaced(snap *state.Snapshot, nodes []*state.Node) []string {
	g := &grouped{}
	for _, n := range nodes {
		if n.Placement != nil {
			(&noter{snap}).noteHost(g, n)
		}
	}
	return g.lines()
}

type noter struct{ snap *state.Snapshot }

func (p *noter) note(g *grouped, n *state.Node) {
	switch {
	case n.Anew:
		g.add(n, "its host takes it apart; then it is made anew: tenks node list shows how far it is")
	case n.Placement == nil && n.Unplaced != "":
		g.add(n, fmt.Sprintf("not placed: %s, and placed once a hypervisor can take it", reason(n)))
	case n.Placement == nil:
	default:
		if n.Moving() {
			g.add(n, fmt.Sprintf("moves from %s to %s", p.host(n.Placement.Hypervisor), p.host(n.Move.To)))
		}
		g.add(n, p.notePeer(n))
		p.noteHost(g, n)
	}
}

// notePeer says what becomes of a node because of the peer that it is on; empty: nothing.
func (p *noter) notePeer(n *state.Node) string {
	name := p.host(n.Placement.Hypervisor)
	peer, known := p.snap.Peer(n.Placement.Hypervisor)
	switch {
	case !known:
	case peer.Lost && n.OnHostLoss == state.LossRebuild:
		return fmt.Sprintf("its hypervisor %s is lost: it is made anew elsewhere once that is sure to be off (tenks peer declare-lost %s says so)", name, name)
	case peer.Lost:
		return fmt.Sprintf("its hypervisor %s is lost, and on_host_loss is hold: it waits for that. "+
			"If it is gone for good: tenks peer declare-lost %s, then tenks peer remove --force %s has it made anew elsewhere", name, name, name)
	case (peer.Leaving || peer.Draining) && n.PinnedTo(peer.ID):
		return fmt.Sprintf("its hypervisor %s %s, and specs.nodes.hypervisor pins it there, so it stays: tenks peer drain --ignore-pins %s moves it, "+
			"or take that key out and apply", name, peer.Refuses(), name)
	case peer.Leaving, peer.Draining:
		return fmt.Sprintf("its hypervisor %s %s: it moves while it is off (tenks peer drain)", name, peer.Refuses())
	}
	return ""
}

// noteHost says what a node lacks where it is.
func (p *noter) noteHost(g *grouped, n *state.Node) {
	h, ok := p.snap.Hypervisor(n.Placement.Hypervisor)
	if !ok {
		return
	}
	name := p.host(h.ID)
	for _, m := range sched.Misfits(h, n) {
		which := "which"
		if m.Filter == "labels" && strings.HasPrefix(m.Why, "label ") {
			which = "whose"
		}
		g.add(n, fmt.Sprintf("on %s, %s %s: %s", name, which, m.Why, remedies[m.Filter]))
	}
	if at := n.Placement.BMC; at.Port != 0 && n.BMCAddress == "" && n.Machine.Own() && h.BMC.Address != "" && !within(h, at.Port) {
		g.add(n, fmt.Sprintf("its BMC is at a port outside of %s's range %d-%d: an apply of its cluster's file gives it one of that, once one is free", name, h.BMC.First, h.BMC.Last))
	}
}

// reason is why a node has no place, without its name, so that nodes of one reason are one
// line.
func reason(n *state.Node) string {
	text := n.Unplaced
	if _, after, ok := strings.Cut(text, "node "+n.Name+": "); ok {
		return after
	}
	return text
}

// remedies say what to do where a hypervisor lacks what a node needs.
var remedies = map[string]string{
	"driver":   "bring the driver back (drivers in agent.yml), or remove the node",
	"physnets": "its bridge stays as it is while nodes use it; map the physnet again (physnets in agent.yml), or move the node, with what else is there (tenks peer drain)",
	"labels":   "it stays, because placement counts for nodes placed from now on; tenks peer drain moves it, with what else is there",
}

func (p *noter) host(id string) string {
	if h, ok := p.snap.Hypervisor(id); ok && h.Name != "" {
		return h.Name
	}
	if peer, ok := p.snap.Peer(id); ok {
		return cmp.Or(peer.Name, id)
	}
	return id
}

// grouped collects lines that are the same for many nodes, in the order of the first.
type grouped struct {
	texts []string
	nodes map[string][]string
}

func (g *grouped) add(n *state.Node, text string) {
	if text == "" {
		return
	}
	if g.nodes == nil {
		g.nodes = map[string][]string{}
	}
	if g.nodes[text] == nil {
		g.texts = append(g.texts, text)
	}
	if had := g.nodes[text]; len(had) == 0 || had[len(had)-1] != n.Name { // a node's notes come together
		g.nodes[text] = append(had, n.Name)
	}
}

func (g *grouped) lines() []string {
	var out []string
	for _, text := range g.texts {
		out = append(out, Names(g.nodes[text])+": "+text)
	}
	return out
}
