package sched

import (
	"cmp"
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
	if c.pinned != "" {
		return pinnedReason(hosts, c)
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

// pinnedReason says what is wrong with the only host that a class may be on. What is wrong
// with others helps nobody.
func pinnedReason(hosts []*host, c *class) string {
	why, absent := "specs.nodes.hypervisor pins it there", "name another there, or none, and apply"
	if c.found {
		why, absent = "it was found there and is to be taken over", "that has to be back"
	}
	for _, h := range hosts {
		if h.ID == c.pinned {
			no := refuse(h, c)
			return fmt.Sprintf("%s: %s: %s (%s)", h.Name, no.filter, no.why, why)
		}
	}
	return fmt.Sprintf("%s is not in the mesh, and %s: %s", cmp.Or(c.pinnedName, c.pinned), why, absent)
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
