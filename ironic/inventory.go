package ironic

import "tenks/raftfsm/state"

// inventory is everything that one Ironic has, as far as the caller may see it.
type inventory struct {
	nodes  map[string]*record
	byName map[string]*record
	byMAC  map[string]portRecord
	// byMark has the records whose mark names a node of another UUID, by that.
	byMark map[string]*record
}

func newInventory(nodes []*record, ports []portRecord) *inventory {
	inv := &inventory{nodes: map[string]*record{}, byName: map[string]*record{}, byMAC: map[string]portRecord{}, byMark: map[string]*record{}}
	for _, n := range nodes {
		inv.nodes[n.UUID] = n
		if n.Name != "" {
			inv.byName[n.Name] = n
		}
		if n.Mark != nil && n.Mark.Node != "" {
			inv.byMark[n.Mark.Node] = n
		}
	}
	for _, p := range ports {
		inv.byMAC[p.MAC] = p
		if n := inv.nodes[p.NodeUUID]; n != nil {
			n.Ports = append(n.Ports, p)
		}
	}
	return inv
}

// addGroups gives the nodes their port groups.
func (inv *inventory) addGroups(groups []groupRecord) {
	for _, g := range groups {
		if n := inv.nodes[g.NodeUUID]; n != nil {
			n.Groups = append(n.Groups, g)
		}
	}
}

// of returns the record of a node: the one that was adopted for it, or that of its UUID,
// whoever's it is; nil if there is none.
func (inv *inventory) of(uuid, mesh string) *record {
	if r := inv.byMark[uuid]; r.marked(mesh) {
		return r
	}
	return inv.nodes[uuid]
}

// record returns the record of a node whose status says which it is.
func (inv *inventory) record(n *state.Node) *record {
	if n.Ironic.Record != "" {
		return inv.nodes[n.Ironic.Record]
	}
	return inv.nodes[n.UUID]
}
