package declare

import (
	"fmt"

	"tenks/raftfsm/state"
)

// reserve keeps the names of named nodes from those that get a number.
func (p *planner) reserve() {
	for _, spec := range p.want.Specs {
		for _, n := range spec.Nodes {
			p.ids.names[n.Name] = true
		}
	}
}

// named returns those of a spec's named nodes that there are not yet; room is how many nodes
// are to be made.
func (p *planner) named(spec state.Spec, room int) ([]state.NamedNode, error) {
	var out []state.NamedNode
	for _, want := range spec.Nodes {
		if n, ok := p.snap.NodeByName(want.Name); ok {
			switch {
			case n.Cluster != p.want.Name:
				return nil, fmt.Errorf("node %q: a node of cluster %q has that name", want.Name, n.Cluster)
			case n.Removing && len(out) < room: // another would be made in its place
				return nil, fmt.Errorf("node %q: is being removed: apply again when it is gone", want.Name)
			}
			continue
		}
		if other, ok := p.snap.Node(want.UUID); ok && want.UUID != "" {
			return nil, fmt.Errorf("node %q: UUID %s is that of node %q", want.Name, want.UUID, other.Name)
		}
		out = append(out, want)
	}
	return out, nil
}

// origin says where a named node is placed, and at which port; nil: anywhere.
func (p *planner) origin(want state.NamedNode) (*state.Origin, error) {
	if want.Hypervisor == "" && want.BMCPort == 0 {
		return nil, nil //nolint:nilnil // no origin is a fine answer
	}
	o := &state.Origin{BMCPort: want.BMCPort}
	if want.Hypervisor == "" {
		return o, nil
	}
	for _, h := range p.snap.Hypervisors() {
		if h.Name == want.Hypervisor {
			o.Hypervisor = h.ID
			return o, nil
		}
	}
	return nil, fmt.Errorf("node %q: no peer named %q offers to run nodes: mend specs.nodes.hypervisor, or have that host join", want.Name, want.Hypervisor)
}
