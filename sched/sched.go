// Package sched decides which hypervisor each node runs on: a function from a
// snapshot to placements, with a reason for every refusal. It has no goroutine,
// clock, log or I/O, and the same snapshot always gives the same answer. A node
// that is placed stays where it is; Move says where it could be instead.
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
	return place(snap, nil, extra, worthQueues)
}

// PlaceAfter is Place once nodes that there are have been declared as those of changed are,
// and those of removed, by UUID, are on their way out; what is made anew has no placement in
// changed. Refused, too, are a node that has a place and grows to more than its host has, once
// those are gone, one that is to have a physical network that its host lacks, and one that gets
// a file of its host as a disk that is another's.
func PlaceAfter(snap *state.Snapshot, changed []*state.Node, removed []string, extra []*state.Node) Result {
	now := declared{}
	for _, n := range changed {
		now[n.UUID] = n
	}
	r := place(snap, now, extra, worthQueues)
	for _, uuid := range removed {
		if n, ok := snap.Node(uuid); ok {
			gone := *n
			gone.Machine = state.Machine{}
			now[uuid] = &gone
		}
	}
	r.Refusals = slices.Concat(misplaced(snap, now), overgrown(snap, now), sharing(snap, now), r.Refusals)
	return r
}

// declared are nodes as they are declared from now on, by UUID; nil: as they are.
type declared map[string]*state.Node

func (d declared) of(n *state.Node) *state.Node {
	if now, ok := d[n.UUID]; ok {
		return now
	}
	return n
}

// worthQueues is how many nodes a class must have for queues to be worth their making.
const worthQueues = 8

// place is Place with another bound than worthQueues, which changes nothing but the
// time that it takes.
func place(snap *state.Snapshot, now declared, extra []*state.Node, worth int) Result {
	nodes := unplaced(snap, now, extra)
	if len(nodes) == 0 {
		return Result{} // as after nearly every change: hosts are not looked at for nothing
	}
	hosts, known := candidates(snap, now)
	of := make([]*class, len(nodes))
	for i, n := range nodes {
		of[i] = known.of(n)
		of[i].left++
	}
	var r Result
	for i, n := range nodes {
		c := of[i]
		if c.queues == nil && c.left >= worth {
			c.makeQueues(hosts)
		}
		h := c.choose(hosts)
		if c.left--; c.left == 0 {
			c.queues = nil
		}
		if h == nil {
			reason := c.explain(hosts, len(r.Placements))
			r.Refusals = append(r.Refusals, state.NodeRefusal{UUID: n.UUID, Reason: "no hypervisor can take node " + n.Name + ": " + reason})
			continue
		}
		r.Placements = append(r.Placements, h.take(c, n, lastPort(n)))
		c.counts.add(h)
	}
	return r
}

// unplaced returns the nodes that want a place: those that have waited longest
// first, those that are only planned last, and by name among equals.
func unplaced(snap *state.Snapshot, now declared, extra []*state.Node) []*state.Node {
	var out, planned []*state.Node
	for _, n := range snap.Nodes() {
		if n = now.of(n); n.Placement == nil && !n.Removing {
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

// choose returns the best host that can take a node of the class; nil: none can.
func (c *class) choose(hosts []*host) *host {
	var best *host
	if c.queues == nil {
		for _, h := range hosts {
			if (best == nil || c.compare(h, best) < 0) && refuse(h, c) == (refusal{}) {
				best = h
			}
		}
		return best
	}
	for _, q := range c.queues {
		if c.byZone && best != nil && c.counts.zones[q.zone] > c.counts.zones[best.Zone] {
			continue
		}
		if h := q.best(c); h != nil && (best == nil || c.compare(h, best) < 0) {
			best = h
		}
	}
	return best
}
