package link

import (
	"maps"
	"slices"
)

// model is a host's links without a kernel: it carries out steps as the kernel
// would, so that plans can be checked against what they lead to.
type model struct{ have Have }

func newModel(have Have) model {
	return model{Have{Mesh: have.Mesh, Links: maps.Clone(have.Links), Addresses: have.Addresses}}
}

func (m model) applyAll(steps []Step) (conflicts []Step) {
	for _, s := range steps {
		if s.Op == OpConflict {
			conflicts = append(conflicts, s)
			continue
		}
		m.apply(s)
	}
	return conflicts
}

func (m model) apply(s Step) {
	l, exists := m.have.Links[s.Link]
	switch s.Op {
	case OpCreateBridge:
		mark, _ := parseMark(m.have.Mesh, s.Alias)
		m.have.Links[s.Link] = Link{Name: s.Link, Kind: kindBridge, MAC: s.MAC, MTU: s.MTU, Up: true, Mark: mark}
		return
	case OpCreateVLAN, OpCreateVXLAN:
		mark, _ := parseMark(m.have.Mesh, s.Alias)
		kind := kindVLAN
		if s.Op == OpCreateVXLAN {
			kind = kindVXLAN
		}
		var overlay *Overlay
		if s.Op == OpCreateVXLAN {
			overlay = &s.Overlay
		}
		m.have.Links[s.Link] = Link{Name: s.Link, Kind: kind, MAC: birthMAC(m.have.Mesh, s.Link), MTU: s.MTU, Up: true, Mark: mark,
			Master: s.Bridge, Parent: s.Parent, VLAN: s.VLAN, Overlay: overlay}
		return
	case OpCreatePair:
		mark, _ := parseMark(m.have.Mesh, s.Alias)
		m.have.Links[s.Link] = Link{Name: s.Link, Kind: kindVeth, MAC: birthMAC(m.have.Mesh, s.Link), MTU: s.MTU, Up: true, Mark: mark, Master: s.Bridge, Peer: s.Peer}
		m.have.Links[s.Peer] = Link{Name: s.Peer, Kind: kindVeth, MAC: s.MAC, MTU: s.MTU, Up: true, Mark: mark, Master: s.PeerBridge, Peer: s.Link, VLAN: s.VLAN}
		return
	}
	if !exists {
		return
	}
	switch s.Op {
	case OpMark, OpAdopt:
		l.Mark, _ = parseMark(m.have.Mesh, s.Alias)
		l.Unmarked = false
	case OpSetVLAN:
		l.VLAN = s.VLAN
	case OpAddRemote:
		o := *l.Overlay
		o.Remotes = append(slices.Clone(o.Remotes), s.Remote)
		SortRemotes(o.Remotes)
		l.Overlay = &o
	case OpDropRemote:
		o := *l.Overlay
		o.Remotes = slices.DeleteFunc(slices.Clone(o.Remotes), func(r Remote) bool { return r == s.Remote })
		if len(o.Remotes) == 0 {
			o.Remotes = nil
		}
		l.Overlay = &o
	case OpSetMAC:
		l.MAC = s.MAC
	case OpSetMTU:
		l.MTU = s.MTU
	case OpUp:
		l.Up = true
	case OpComplete:
		l.Offload = false
	case OpRename:
		delete(m.have.Links, l.Name)
		peer := m.have.Links[l.Peer]
		l.Name, peer.Peer = s.Name, s.Name
		m.have.Links[peer.Name], m.have.Links[l.Name] = peer, l
		return
	case OpJoin:
		l.Master = s.Bridge
	case OpPlug:
		l.Master, l.Up = s.Bridge, true
	case OpRelease:
		if l.Master == s.Bridge {
			l.Master = ""
		}
	case OpDelete:
		m.delete(l)
		return
	}
	m.have.Links[s.Link] = l
}

func (m model) delete(l Link) {
	delete(m.have.Links, l.Name)
	if l.Peer != "" {
		delete(m.have.Links, l.Peer)
	}
	for name, other := range m.have.Links {
		if other.Parent == l.Name { // the kernel takes VLAN links along
			delete(m.have.Links, name)
			continue
		}
		if other.Master == l.Name {
			other.Master = ""
			m.have.Links[name] = other
		}
	}
}
