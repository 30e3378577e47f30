package state

import (
	"maps"
	"slices"
)

// Tunnel is where a host's overlay of a physnet ends that has ports on it (a remote VTEP,
// RFC 7348 §4).
type Tunnel struct {
	// Hypervisor is the peer's ID, Name is for people.
	Hypervisor, Name string
	Physnet          string
	VNI              int
	// Address is an IP address, Port a UDP port.
	Address string
	Port    int
}

// TunnelList is the tunnels of a hypervisor's part.
type TunnelList struct{ Tunnels []Tunnel }

// tunnelsRow is what a state that is made of parts knows of tunnels: the only row of its
// table, and none in a whole state.
type tunnelsRow struct {
	Key  string
	List TunnelList
}

// tunnelsIndexRow says when the tunnels of a hypervisor last changed. It follows from other
// rows and is in no dump.
type tunnelsIndexRow struct {
	Hypervisor string
	Index      uint64
}

// Tunnels returns the other hosts that have ports on the physnets which are overlays of a
// hypervisor, with another VNI too, by host and physnet.
func (s *Snapshot) Tunnels(hypervisor string) []Tunnel {
	if row, ok := first[*tunnelsRow](s.txn, tableTunnels, "id", tunnelsKey); ok {
		return row.List.Tunnels
	}
	h, ok := s.Hypervisor(hypervisor)
	if !ok || !slices.ContainsFunc(h.PhysnetLinks, PhysnetLink.overlay) {
		return nil
	}
	var out []Tunnel
	for _, o := range s.Hypervisors() {
		if o.ID == hypervisor {
			continue
		}
		for _, l := range o.PhysnetLinks {
			if l.overlay() && h.overlays(l.Physnet) && s.hasPort(o.ID, l.Physnet) {
				out = append(out, Tunnel{Hypervisor: o.ID, Name: o.Name, Physnet: l.Physnet, VNI: l.VNI,
					Address: o.VXLAN.Address, Port: o.VXLAN.Port})
			}
		}
	}
	return out
}

func (l PhysnetLink) overlay() bool { return l.VNI != 0 }

// overlays reports whether a physnet is an overlay of the hypervisor.
func (h *Hypervisor) overlays(physnet string) bool {
	return slices.ContainsFunc(h.PhysnetLinks, func(l PhysnetLink) bool { return l.overlay() && l.Physnet == physnet })
}

// hasPort reports whether a node that is placed on a hypervisor has a port on a physnet.
func (s *Snapshot) hasPort(hypervisor, physnet string) bool {
	it, err := s.txn.Get(tableNodes, "hypervisor", hypervisor)
	must(err)
	for row := it.Next(); row != nil; row = it.Next() {
		if slices.ContainsFunc(row.(*Node).Ports, func(p Port) bool { return p.Physnet == physnet }) {
			return true
		}
	}
	return false
}

// noteTunnels looks at what a transaction changed, and wakes the hypervisors whose tunnels
// may be others now.
func (t *tx) noteTunnels() {
	own, physnets := map[string]bool{}, map[string]bool{}
	for _, c := range t.Changes() {
		switch c.Table {
		case tableNodes:
			notePorts(c.Before, c.After, physnets)
		case tableHypervisors:
			noteLinks(c.Before, c.After, own, physnets)
		}
	}
	if len(own)+len(physnets) == 0 {
		return
	}
	for _, h := range all[*Hypervisor](t.Txn, tableHypervisors, "id") {
		if own[h.ID] || slices.ContainsFunc(h.PhysnetLinks, func(l PhysnetLink) bool { return l.overlay() && physnets[l.Physnet] }) {
			t.put(tableTunnelsIndex, &tunnelsIndexRow{Hypervisor: h.ID, Index: t.index})
			t.touch(h.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(own)) { // one that is no longer a hypervisor has none
		if _, there := first[*Hypervisor](t.Txn, tableHypervisors, "id", id); !there {
			t.put(tableTunnelsIndex, &tunnelsIndexRow{Hypervisor: id, Index: t.index})
			t.touch(id)
		}
	}
}

// notePorts adds the physnets of a node that has other ports now, or has them elsewhere.
func notePorts(before, after any, physnets map[string]bool) {
	was, is := portsAt(before), portsAt(after)
	if was.hypervisor == is.hypervisor && slices.EqualFunc(was.ports, is.ports, func(a, b Port) bool { return a.Physnet == b.Physnet }) {
		return
	}
	for _, at := range []nodePorts{was, is} {
		for _, p := range at.ports {
			if at.hypervisor != "" {
				physnets[p.Physnet] = true
			}
		}
	}
}

type nodePorts struct {
	hypervisor string
	ports      []Port
}

func portsAt(row any) nodePorts {
	n, ok := row.(*Node)
	if !ok || n.Placement == nil {
		return nodePorts{}
	}
	return nodePorts{n.Placement.Hypervisor, n.Ports}
}

// noteLinks adds a hypervisor whose overlays are others now, and their physnets.
func noteLinks(before, after any, own, physnets map[string]bool) {
	was, _ := before.(*Hypervisor)
	is, _ := after.(*Hypervisor)
	if was != nil && is != nil && was.VXLAN == is.VXLAN && was.Name == is.Name && slices.Equal(was.PhysnetLinks, is.PhysnetLinks) {
		return
	}
	for _, h := range []*Hypervisor{was, is} {
		if h == nil {
			continue
		}
		for _, l := range h.PhysnetLinks {
			if l.overlay() {
				own[h.ID], physnets[l.Physnet] = true, true
			}
		}
	}
}

// tunnelsOf returns the tunnels of a hypervisor's part; nil: as before.
func (s *Snapshot) tunnelsOf(hypervisor string, p Part) *TunnelList {
	row, noted := first[*tunnelsIndexRow](s.txn, tableTunnelsIndex, "id", hypervisor)
	if !p.Full && !(noted && row.Index > p.Since) && len(p.Hypervisors) == 0 {
		return nil
	}
	list := &TunnelList{Tunnels: s.Tunnels(hypervisor)}
	if p.Full && len(list.Tunnels) == 0 {
		return nil // it replaces what was known
	}
	return list
}
