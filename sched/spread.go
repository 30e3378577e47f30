package sched

// spread counts how many nodes of one spec each zone and each hypervisor, by ID, has.
type spread struct{ zones, hosts map[string]int }

// specKey is a spec of a cluster.
type specKey struct{ cluster, spec string }

func (s *spread) add(h *host) {
	s.zones[h.Zone]++
	s.hosts[h.ID]++
}
