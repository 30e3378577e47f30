package sched

import "tenks/raftfsm/state"

// host is a hypervisor with what is promised on it so far.
type host struct {
	*state.Hypervisor
	vcpus, memoryMB, diskBytes uint64
	// ports are the BMC ports in use, and nextPort is the lowest that may be free.
	ports    map[int]bool
	nextPort int
}

// candidates returns all hypervisors by ID, with the nodes that are placed on them
// counted. A node that is being removed counts until it is gone.
func candidates(snap *state.Snapshot) ([]*host, *spread) {
	var out []*host
	counts := &spread{zones: map[place]int{}, hosts: map[place]int{}}
	for _, h := range snap.Hypervisors() {
		c := &host{Hypervisor: h, ports: map[int]bool{}, nextPort: h.BMC.First}
		for _, n := range snap.NodesOn(h.ID) {
			c.count(n.Machine)
			c.ports[n.Placement.BMC.Port] = true
			counts.add(n, c)
		}
		out = append(out, c)
	}
	return out, counts
}

func (h *host) count(m state.Machine) {
	h.vcpus = plus(h.vcpus, uint64(max(m.VCPUs, 0)))
	h.memoryMB = plus(h.memoryMB, m.MemoryMB)
	h.diskBytes = plus(h.diskBytes, m.DiskBytes())
}

// take promises a node to a host that can take it, and returns its BMC's endpoint.
func (h *host) take(n *state.Node) state.Endpoint {
	h.count(n.Machine)
	port, _ := h.freePort()
	h.ports[port] = true
	return state.Endpoint{Address: h.BMC.Address, Port: port}
}

// freePort returns the lowest free BMC port; both ends of the range are in it.
func (h *host) freePort() (int, bool) {
	if h.BMC.First < 1 {
		return 0, false
	}
	for ; h.nextPort <= h.BMC.Last; h.nextPort++ {
		if !h.ports[h.nextPort] {
			return h.nextPort, true
		}
	}
	return 0, false
}

// memoryLimit is what may be promised in all, in MiB.
func (h *host) memoryLimit() uint64 { return scaled(h.Capacity.MemoryMB, h.Overcommit.Memory) }

// freeShare is the part of the memory that may still be promised, from 0 to 1.
func (h *host) freeShare() float64 {
	limit := h.memoryLimit()
	if limit == 0 {
		return 0
	}
	return 1 - float64(h.memoryMB)/float64(limit)
}
