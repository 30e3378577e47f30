package sched

// spread counts how many nodes of one spec each zone and each hypervisor, by ID, has.
type spread struct{ zones, hosts map[string]int }

// specKey is a spec of a cluster.
type specKey struct{ cluster, spec string }

func (s *spread) add(h *host) {
	s.zones[h.Zone]++
	s.hosts[h.ID]++
}

// remove takes a node of a host away, by the host's ID.
func (s *spread) remove(hosts []*host, id string) {
	for _, h := range hosts {
		if h.ID == id {
			s.zones[h.Zone]--
			s.hosts[h.ID]--
		}
	}
}

// put is the inverse of remove.
func (s *spread) put(hosts []*host, id string) {
	for _, h := range hosts {
		if h.ID == id {
			s.add(h)
		}
	}
}
