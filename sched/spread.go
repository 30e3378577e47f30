package sched

import (
	"cmp"

	"tenks/raftfsm/state"
)

// spread counts, per spec, how many nodes each zone and hypervisor has.
type spread struct{ zones, hosts map[place]int }

// place is a zone, or a hypervisor, as seen by one spec.
type place struct{ cluster, spec, where string }

func inZone(n *state.Node, h *host) place { return place{n.Cluster, n.Spec, h.Zone} }

func onHost(n *state.Node, h *host) place { return place{n.Cluster, n.Spec, h.ID} }

func (s *spread) add(n *state.Node, h *host) {
	s.zones[inZone(n, h)]++
	s.hosts[onHost(n, h)]++
}

// compare is negative when a is the better host for a node: fewer nodes of its
// spec in the zone (if spread over zones) and on the host, then more free memory
// for its size, then the lower ID.
func (s *spread) compare(n *state.Node, a, b *host) int {
	zones := 0
	if n.Constraints.Spread == "zone" {
		zones = cmp.Compare(s.zones[inZone(n, a)], s.zones[inZone(n, b)])
	}
	return cmp.Or(zones, cmp.Compare(s.hosts[onHost(n, a)], s.hosts[onHost(n, b)]),
		cmp.Compare(b.freeShare(), a.freeShare()), cmp.Compare(a.ID, b.ID))
}
