package sched

import (
	"fmt"
	"strings"
)

// mostExplained is how many hypervisors are explained one by one; the rest of a
// large mesh is counted.
const mostExplained = 8

// explain says why no host can take a node of the class, after so many placements.
// The answer is the same until there is another placement.
func (c *class) explain(hosts []*host, placements int) string {
	if c.reason == "" || c.after != placements {
		c.reason, c.after = reasons(hosts, c), placements
	}
	return c.reason
}

func reasons(hosts []*host, c *class) string {
	if len(hosts) == 0 {
		return "no hypervisor has joined"
	}
	var parts []string
	more := map[string]int{}
	for i, h := range hosts {
		why := refuse(h, c)
		if i >= mostExplained {
			more[why.filter]++
			continue
		}
		parts = append(parts, h.Name+": "+why.filter+": "+why.why)
	}
	if rest := len(hosts) - mostExplained; rest > 0 {
		parts = append(parts, fmt.Sprintf("and %d more: %s", rest, counted(more)))
	}
	return strings.Join(parts, "; ")
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
