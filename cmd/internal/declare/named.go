package declare

import (
	"cmp"
	"fmt"
	"slices"

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

// origin is what a named node has from before, and pin the peer that it may be on only; nothing:
// any.
func (p *planner) origin(want state.NamedNode) (o *state.Origin, pin string, err error) {
	if want.BMCPort != 0 {
		o = &state.Origin{BMCPort: want.BMCPort}
	}
	if want.Hypervisor == "" {
		return o, "", nil
	}
	if pin, ok := p.peerNamed(want.Hypervisor); ok {
		return o, pin, nil
	}
	return nil, "", fmt.Errorf("node %q: no peer named %q offers to run nodes: mend specs.nodes.hypervisor, or have that host join", want.Name, want.Hypervisor)
}

// peerNamed is the ID of a hypervisor.
func (p *planner) peerNamed(name string) (string, bool) {
	for _, h := range p.snap.Hypervisors() {
		if h.Name == name {
			return h.ID, true
		}
	}
	return "", false
}

// repin says where a pinned node may be from now on; nil: as before. What was once told to
// move elsewhere is not pinned again, and a peer that there is not (any longer) is no reason to
// place a node elsewhere.
func (p *planner) repin(n *state.Node, spec state.Spec) *string {
	was, now := n.Pinned(), ""
	if was == "" || n.Origin.Adopted() {
		return nil
	}
	if i := slices.IndexFunc(spec.Nodes, func(w state.NamedNode) bool { return w.Name == n.Name }); i >= 0 && spec.Nodes[i].Hypervisor != "" {
		var known bool
		if now, known = p.peerNamed(spec.Nodes[i].Hypervisor); !known {
			return nil
		}
	}
	if now == was {
		return nil
	}
	return &now
}

// pinned says that a node may be elsewhere from now on.
func (p *planner) pinned(n *state.Node, to string) Difference {
	name := func(id string) string {
		if id == "" {
			return ""
		}
		return (&noter{p.snap}).host(id)
	}
	return Difference{Field: "nodes.hypervisor", Old: name(n.Pinned()), New: cmp.Or(name(to), "any"), When: AtPlacement}
}
