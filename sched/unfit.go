package sched

import "tenks/raftfsm/state"

// lasting are the filters that say of a node's own host, too, whether it is one for the
// node. What the others look at was given to the node when it was placed.
var lasting = []string{"driver", "physnets", "labels"}

// Misfit is what a hypervisor lacks for a node: a filter's name and answer.
type Misfit struct{ Filter, Why string }

// Misfits says what a hypervisor lacks for a node, which may be there already: its driver,
// its physnets, its labels. Nothing: it could stay there, or come, as far as room allows.
func Misfits(h *state.Hypervisor, n *state.Node) []Misfit {
	host, c := &host{Hypervisor: h}, (&classes{all: map[demand]*class{}, counts: map[specKey]*spread{}}).of(n)
	var out []Misfit
	for _, name := range lasting {
		for _, f := range filters {
			if f.name != name {
				continue
			}
			if why := f.refuse(host, c); why != "" {
				out = append(out, Misfit{name, why})
			}
		}
	}
	return out
}
