// Package sched decides which hypervisor each node runs on: a function from a
// snapshot to placements, with a reason for every refusal. It has no goroutine,
// clock, log or I/O, and the same snapshot always gives the same answer. A node
// that is placed is never moved.
package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// Result says where nodes go, and why others cannot.
type Result struct {
	Placements []state.NodePlacement
	Refusals   []state.NodeRefusal
}

// Place places every unplaced node of the snapshot that is not being removed, and
// the nodes of extra, which are not in the snapshot yet: what a plan would create.
func Place(snap *state.Snapshot, extra []*state.Node) Result {
	hosts := candidates(snap)
	zones := spreadOf(snap, hosts)
	var r Result
	for _, n := range unplaced(snap, extra) {
		h, reason := choose(hosts, n, zones)
		if h == nil {
			r.Refusals = append(r.Refusals, state.NodeRefusal{UUID: n.UUID, Reason: reason})
			continue
		}
		endpoint := h.take(n)
		zones.add(n, h)
		r.Placements = append(r.Placements, state.NodePlacement{UUID: n.UUID, Hypervisor: h.ID, BMC: endpoint})
	}
	return r
}

func unplaced(snap *state.Snapshot, extra []*state.Node) []*state.Node {
	var out []*state.Node
	for _, n := range snap.Nodes() {
		if n.Placement == nil && !n.Removing {
			out = append(out, n)
		}
	}
	return append(out, extra...)
}

// host is a hypervisor with what is promised on it so far.
type host struct {
	*state.Hypervisor
	used      state.Resources
	diskBytes uint64
	ports     map[int]bool
	// nextPort is the lowest BMC port that may be free.
	nextPort int
}

func candidates(snap *state.Snapshot) []*host {
	var out []*host
	for _, h := range snap.Hypervisors() {
		c := &host{Hypervisor: h, ports: map[int]bool{}, nextPort: h.BMC.First}
		for _, n := range snap.NodesOn(h.ID) {
			c.count(n.Machine)
			c.ports[n.Placement.BMC.Port] = true
		}
		out = append(out, c)
	}
	return out
}

func (h *host) count(m state.Machine) {
	h.used.VCPUs += m.VCPUs
	h.used.MemoryMB += m.MemoryMB
	h.diskBytes += m.DiskBytes()
}

// take promises a node to the host and returns its BMC's endpoint.
func (h *host) take(n *state.Node) state.Endpoint {
	h.count(n.Machine)
	port, _ := h.freePort()
	h.ports[port] = true
	return state.Endpoint{Address: h.BMC.Address, Port: port}
}

// freePort returns the lowest free BMC port; both ends of the range are in it.
func (h *host) freePort() (int, bool) {
	for ; h.nextPort <= h.BMC.Last; h.nextPort++ {
		if !h.ports[h.nextPort] {
			return h.nextPort, true
		}
	}
	return 0, false
}

// choose returns the best host that can take the node, or why none can.
func choose(hosts []*host, n *state.Node, s *spread) (*host, string) {
	var best *host
	var refused []string
	for _, h := range hosts {
		if why := refuse(h, n); why != "" {
			refused = append(refused, h.Name+": "+why)
			continue
		}
		if best == nil || s.compare(n, h, best) < 0 {
			best = h
		}
	}
	if best != nil {
		return best, ""
	}
	return nil, fmt.Sprintf("no hypervisor can take node %s: %s", n.Name, explain(refused))
}

// explain joins the refusals of all hosts, cut where there are many.
func explain(refused []string) string {
	const most = 8
	switch {
	case len(refused) == 0:
		return "no hypervisor has joined"
	case len(refused) > most:
		refused = append(slices.Clone(refused[:most]), fmt.Sprintf("and %d more", len(refused)-most))
	}
	return strings.Join(refused, "; ")
}

// spread counts, per spec, how many nodes each zone and hypervisor has.
type spread struct{ zones, hosts map[spreadKey]int }

type spreadKey struct{ cluster, spec, place string }

func spreadOf(snap *state.Snapshot, hosts []*host) *spread {
	s := &spread{zones: map[spreadKey]int{}, hosts: map[spreadKey]int{}}
	for _, h := range hosts {
		for _, n := range snap.NodesOn(h.ID) {
			s.add(n, h)
		}
	}
	return s
}

func (s *spread) add(n *state.Node, h *host) {
	s.zones[spreadKey{n.Cluster, n.Spec, h.Zone}]++
	s.hosts[spreadKey{n.Cluster, n.Spec, h.ID}]++
}

// compare is negative when a is the better host for a node: fewer nodes of its
// spec in the zone (if spread over zones) and on the host, then more free memory
// for its size, then the lower ID.
func (s *spread) compare(n *state.Node, a, b *host) int {
	if n.Constraints.Spread == "zone" {
		key := func(h *host) int { return s.zones[spreadKey{n.Cluster, n.Spec, h.Zone}] }
		if c := cmp.Compare(key(a), key(b)); c != 0 {
			return c
		}
	}
	key := func(h *host) int { return s.hosts[spreadKey{n.Cluster, n.Spec, h.ID}] }
	return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(b.freeShare(), a.freeShare()), cmp.Compare(a.ID, b.ID))
}

// freeShare is the part of the memory that may still be promised.
func (h *host) freeShare() float64 {
	limit := scaled(h.Capacity.MemoryMB, h.Overcommit.Memory)
	if limit == 0 {
		return 0
	}
	return 1 - float64(h.used.MemoryMB)/float64(limit)
}
