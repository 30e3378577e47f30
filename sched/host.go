package sched

import (
	"net/netip"

	"tenks/raftfsm/state"
)

// host is a hypervisor with what is promised on it so far.
type host struct {
	*state.Hypervisor
	// peer is nil for a hypervisor from before there were peers.
	peer                       *state.Peer
	vcpus, memoryMB, diskBytes uint64
	// paths are files and devices of the host that are disks of nodes, and whose.
	paths map[string]string
	// ports are the BMC ports in use or reserved, and nextPort is the lowest that may be free.
	ports    map[int]bool
	nextPort int
	// prefixes are the networks that its BMCs may have addresses in.
	prefixes  []netip.Prefix
	addresses *addresses
}

// candidates returns all hypervisors by ID, with the nodes that are placed on them
// counted, also by spec, as they are declared from now on where that says so. A node that is
// being removed counts until it is gone.
func candidates(snap *state.Snapshot, now declared) ([]*host, *classes) {
	var out []*host
	known := &classes{all: map[demand]*class{}, counts: map[specKey]*spread{}, name: func(id string) string { return nameOf(snap, id) }}
	taken := newAddresses(snap)
	for _, h := range snap.Hypervisors() {
		c := &host{Hypervisor: h, paths: map[string]string{}, ports: map[int]bool{}, nextPort: h.BMC.First, prefixes: h.Prefixes(), addresses: taken}
		c.peer, _ = snap.Peer(h.ID)
		for _, p := range h.Reserved {
			c.ports[p] = true
		}
		for _, n := range snap.NodesOn(h.ID) {
			if n = now.of(n); n.Placement == nil {
				continue // it is made anew, here or elsewhere
			}
			c.count(uint64(max(n.Machine.VCPUs, 0)), n.Machine.MemoryMB, n.Machine.DiskBytes())
			c.hold(n)
			c.ports[n.Placement.BMC.Port] = true
			if !n.Moving() {
				known.spread(n).add(c)
			}
		}
		// What moves here is promised here, too, and its spec has it here already.
		for _, n := range snap.MovingTo(h.ID) {
			n = now.of(n)
			c.count(uint64(max(n.Machine.VCPUs, 0)), n.Machine.MemoryMB, n.Machine.DiskBytes())
			c.hold(n)
			c.ports[n.Move.BMC.Port] = true
			known.spread(n).add(c)
		}
		out = append(out, c)
	}
	return out, known
}

// nameOf is what a hypervisor is called, also one that has left.
func nameOf(snap *state.Snapshot, id string) string {
	if h, ok := snap.Hypervisor(id); ok && h.Name != "" {
		return h.Name
	}
	if p, ok := snap.Peer(id); ok && p.Name != "" {
		return p.Name
	}
	return id
}

func (h *host) count(vcpus, memoryMB, diskBytes uint64) {
	h.vcpus = plus(h.vcpus, vcpus)
	h.memoryMB = plus(h.memoryMB, memoryMB)
	h.diskBytes = plus(h.diskBytes, diskBytes)
}

// hold notes what of the host is a node's disks.
func (h *host) hold(n *state.Node) {
	for _, path := range pathsOf(n) {
		if _, taken := h.paths[path]; !taken {
			h.paths[path] = n.Name
		}
	}
}

// take promises a node of the class to a host that can take it, with its BMC's endpoint:
// an address of its own, or at a certain port, if that is free there.
func (h *host) take(c *class, n *state.Node, port int) state.NodePlacement {
	h.count(c.vcpus, c.memoryMB, c.diskBytes)
	h.hold(n)
	out := state.NodePlacement{UUID: n.UUID, Hypervisor: h.ID, BMC: state.NoEndpoint(n.UUID)}
	switch {
	case c.pooled():
		out.BMCAddress = h.takeAddress(c)
		return out
	case c.shared != "":
		return out
	}
	if port < h.BMC.First || port > h.BMC.Last || h.ports[port] || h.BMC.First < 1 {
		port, _ = h.freePort()
	}
	h.ports[port] = true
	out.BMC = state.Endpoint{Address: h.BMC.Address, Port: port}
	return out
}

// lastPort is the port that a node's BMC had where it was last, or before it was declared;
// 0: none.
func lastPort(n *state.Node) int {
	switch {
	case n.LastPlacement != nil:
		return n.LastPlacement.BMC.Port
	case n.Origin != nil:
		return n.Origin.BMCPort
	}
	return 0
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

// reserved is how many BMC ports of the range are something else's.
func (h *host) reserved() int {
	within := map[int]bool{}
	for _, p := range h.Reserved {
		if p >= h.BMC.First && p <= h.BMC.Last {
			within[p] = true
		}
	}
	return len(within)
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
