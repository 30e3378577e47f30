package sched

import (
	"fmt"
	"strings"

	"tenks/raftfsm/state"
)

// mostExplained is how many hypervisors are explained one by one; the rest of a
// large mesh is counted.
const mostExplained = 8

// explain says why no host can take a node.
func explain(hosts []*host, n *state.Node) string {
	if len(hosts) == 0 {
		return fmt.Sprintf("no hypervisor can take node %s: no hypervisor has joined", n.Name)
	}
	var parts []string
	more := map[string]int{}
	for i, h := range hosts {
		why := refuse(h, n)
		if i >= mostExplained {
			more[why.filter]++
			continue
		}
		parts = append(parts, h.Name+": "+why.filter+": "+why.why)
	}
	if rest := len(hosts) - mostExplained; rest > 0 {
		parts = append(parts, fmt.Sprintf("and %d more: %s", rest, counted(more)))
	}
	return fmt.Sprintf("no hypervisor can take node %s: %s", n.Name, strings.Join(parts, "; "))
}

// counted lists, in the order of the filters, how many hosts each refused.
func counted(more map[string]int) string {
	var parts []string
	for _, f := range filters {
		if more[f.name] > 0 {
			parts = append(parts, fmt.Sprintf("%d by %s", more[f.name], f.name))
		}
	}
	return strings.Join(parts, ", ")
}
