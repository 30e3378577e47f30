package sched

import (
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// Move decides where nodes that are placed could be instead, in their order, as Place
// would decide it: not where they are, and not where they were before and something of
// them may be left. Their BMCs keep their ports where those are free. Nodes that are pinned to
// where they are stay; those that were found there do not, because what was taken over moves.
func Move(snap *state.Snapshot, nodes []*state.Node) Result {
	hosts, known := candidates(snap, nil)
	var r Result
	for _, n := range nodes {
		if n.PinnedTo(n.Placement.Hypervisor) {
			name := nameOf(snap, n.Placement.Hypervisor)
			r.Refusals = append(r.Refusals, state.NodeRefusal{UUID: n.UUID,
				Reason: fmt.Sprintf("node %s is pinned to %s by specs.nodes.hypervisor: tenks peer drain --ignore-pins %s moves it", n.Name, name, name)})
			continue
		}
		c := known.of(n.Elsewhere())
		others, why := elsewhere(hosts, n)
		c.counts.remove(hosts, n.Placement.Hypervisor)
		h := c.choose(others)
		if h == nil {
			c.counts.put(hosts, n.Placement.Hypervisor)
			if len(others) > 0 || c.pinned != "" {
				why = append([]string{reasons(others, c)}, why...)
			}
			if len(why) == 0 {
				why = []string{"there is no other"}
			}
			r.Refusals = append(r.Refusals, state.NodeRefusal{UUID: n.UUID,
				Reason: fmt.Sprintf("no other hypervisor can take node %s: %s", n.Name, strings.Join(why, "; "))})
			continue
		}
		r.Placements = append(r.Placements, h.take(c, n, n.Placement.BMC.Port))
		c.counts.add(h)
	}
	return r
}

// elsewhere returns the hosts that a node may move to, and why it may not to others.
func elsewhere(hosts []*host, n *state.Node) (others []*host, why []string) {
	for _, h := range hosts {
		switch {
		case h.ID == n.Placement.Hypervisor:
		case slices.Contains(n.Past, h.ID):
			why = append(why, h.Name+": has something left of the node from before")
		default:
			others = append(others, h)
		}
	}
	return others, why
}
