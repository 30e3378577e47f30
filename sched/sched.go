// Package sched decides which hypervisor each node runs on: a function from a
// snapshot to placements, with a reason for every refusal. It has no goroutine,
// clock, log or I/O, and the same snapshot always gives the same answer. A node
// that is placed is never moved.
package sched

import (
	"cmp"
	"slices"

	"tenks/raftfsm/state"
)

// Result says where nodes go, and why others cannot.
type Result struct {
	Placements []state.NodePlacement
	Refusals   []state.NodeRefusal
}

// Place places every unplaced node of the snapshot that is not being removed, and
// the nodes of extra, which are not in the snapshot yet: what a plan would create.
// Once they are, Place decides the same for them.
func Place(snap *state.Snapshot, extra []*state.Node) Result {
	hosts, counts := candidates(snap)
	var r Result
	for _, n := range unplaced(snap, extra) {
		h, reason := choose(hosts, n, counts)
		if h == nil {
			r.Refusals = append(r.Refusals, state.NodeRefusal{UUID: n.UUID, Reason: reason})
			continue
		}
		endpoint := h.take(n)
		counts.add(n, h)
		r.Placements = append(r.Placements, state.NodePlacement{UUID: n.UUID, Hypervisor: h.ID, BMC: endpoint})
	}
	return r
}

// unplaced returns the nodes that want a place: those that have waited longest
// first, those that are only planned last, and by name among equals.
func unplaced(snap *state.Snapshot, extra []*state.Node) []*state.Node {
	var out, planned []*state.Node
	for _, n := range snap.Nodes() {
		if n.Placement == nil && !n.Removing {
			out = append(out, n)
		}
	}
	for _, n := range extra {
		if _, known := snap.Node(n.UUID); !known {
			planned = append(planned, n)
		}
	}
	slices.SortFunc(out, func(a, b *state.Node) int { return cmp.Or(cmp.Compare(a.CreateIndex, b.CreateIndex), byName(a, b)) })
	slices.SortFunc(planned, byName)
	return append(out, planned...)
}

// byName orders tk2 before tk10.
func byName(a, b *state.Node) int {
	return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID))
}

// choose returns the best host that can take the node, or why none can.
func choose(hosts []*host, n *state.Node, s *spread) (*host, string) {
	var best *host
	for _, h := range hosts {
		if refuse(h, n) == (refusal{}) && (best == nil || s.compare(n, h, best) < 0) {
			best = h
		}
	}
	if best == nil {
		return nil, explain(hosts, n)
	}
	return best, ""
}
