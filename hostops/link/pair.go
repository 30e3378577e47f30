package link

import "cmp"

func (p *planner) pair(w pair) {
	for _, name := range []string{w.inner, w.outer} {
		if conflict := p.claim(name, kindVeth, w.adopt); conflict != "" {
			p.claimed[w.inner], p.claimed[w.outer] = true, true
			p.conflict(w.node, name, "%s", conflict)
			return
		}
	}
	in, haveIn := p.have.Links[w.inner]
	out, haveOut := p.have.Links[w.outer]
	if old := p.renamed(w, in, out); old.Name != "" {
		p.claimed[old.Name] = true
		p.add(w.node, Step{Op: OpRename, Link: old.Name, Name: w.inner})
		in, haveIn, out.Peer = old, true, w.inner
		in.Name = w.inner
	}
	if foreign := haveIn && !in.Ours() || haveOut && !out.Ours(); foreign && !p.adoptable(w, in, out) {
		p.conflict(w.node, w.inner, "interfaces %s and %s are not ours, and not as they were when they were to be adopted", w.inner, w.outer)
		return
	}
	if (haveIn || haveOut) && !p.matches(w, in, out) {
		p.remove(w.node, in, out)
		haveIn, haveOut = false, false
	}
	if haveIn || haveOut {
		p.mend(w, in, out)
		return
	}
	p.add(w.node, Step{Op: OpCreatePair, Link: w.inner, Bridge: w.bridge, Peer: w.outer, PeerBridge: w.outerBridge, VLAN: w.outerVLAN, Loose: w.loose, Complete: w.complete,
		MAC: w.mac, MTU: w.mtu, Alias: w.mark.alias(p.have.Mesh)})
}

// mend adds what a pair that is there lacks.
func (p *planner) mend(w pair, in, out Link) {
	alias := w.mark.alias(p.have.Mesh)
	for _, l := range []Link{out, in} {
		switch {
		case !l.Ours():
			p.adopt(w.node, l, alias)
		case l.Unmarked:
			p.add(w.node, Step{Op: OpMark, Link: l.Name, Alias: alias})
		}
	}
	outerMAC, innerMAC := w.mac, cmp.Or(w.innerMAC, birthMAC(p.have.Mesh, w.inner))
	if w.keep {
		outerMAC, innerMAC = out.MAC, in.MAC
	}
	if !w.loose {
		p.join(w.node, in, w.bridge)
	}
	p.join(w.node, out, w.outerBridge)
	if out.VLAN != w.outerVLAN {
		p.add(w.node, Step{Op: OpSetVLAN, Link: out.Name, VLAN: w.outerVLAN})
	}
	for _, l := range []Link{out, in} {
		if w.complete && l.Offload {
			p.add(w.node, Step{Op: OpComplete, Link: l.Name})
		}
	}
	p.ensureLink(w.node, out, outerMAC, w.mtu)
	p.ensureLink(w.node, in, innerMAC, w.mtu)
}

// renamed returns the switch side of a pair that is all right but for that end's name, as
// it is when the bridge was of another type. Made anew, the pair would take a running
// guest's NIC with it.
func (p *planner) renamed(w pair, in, out Link) Link {
	old := p.have.Links[out.Peer]
	if in.Name != "" || out.Name == "" || old.Name == "" || p.claimed[old.Name] || p.gone[old.Name] || old.Mark != w.mark || out.Mark != w.mark {
		return Link{}
	}
	return old
}

// matches reports whether both ends are each other's peers, and what they are
// marked as, if they are.
func (p *planner) matches(w pair, in, out Link) bool {
	fits := func(l Link) bool { return l.Mark == w.mark || l.Mark.Role == RoleUnknown || w.adopt && !l.Ours() }
	// An access port is in its bridge from the beginning: put into it, it would be one of
	// another VLAN for a moment.
	joined := w.outerVLAN == 0 || out.Master == w.outerBridge
	return in.Peer == w.outer && out.Peer == w.inner && fits(in) && fits(out) && joined
}

// adoptable reports whether a pair that is not ours, or only half, is the one that is to
// be adopted.
func (p *planner) adoptable(w pair, in, out Link) bool {
	return w.adopt && p.matches(w, in, out) && in.Master == w.bridge && (w.outerBridge == "" || out.Master == w.outerBridge) &&
		(w.keep || out.MAC == w.mac)
}
