package hostops

import (
	"fmt"
	"maps"
	"slices"

	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// originLink is what there was of a node's port before it was declared.
func originLink(n *state.Node, port int) (state.OriginLink, bool) {
	if n.Origin == nil || port >= len(n.Origin.Links) {
		return state.OriginLink{}, false
	}
	return n.Origin.Links[port], true
}

// tapName is the node-side end of a node's port.
func tapName(n *state.Node, port int) string {
	if l, ok := originLink(n, port); ok {
		return l.Tap
	}
	return link.TapName(n.LinkName, port)
}

// adoptPort gives a port the names and addresses that it had.
func adoptPort(p *link.Port, n *state.Node) error {
	l, ok := originLink(n, p.Index)
	if !ok {
		return nil
	}
	p.Tap, p.Peer, p.PeerMAC, p.Adopt = l.Tap, l.Peer, l.PeerMAC, true
	if l.Bridge != p.Bridge {
		return fmt.Errorf("port %d: is in bridge %s, and that of physnet %q is %s here: two bridges of a host are not one physnet", p.Index, l.Bridge, n.Ports[p.Index].Physnet, p.Bridge)
	}
	return nil
}

// untouched reports whether a node is to be taken over and its driver has not done so yet.
// Its links stay foreign until then: were the node removed, what is marked would go, and a
// guest that is still another's lose its network.
// One whose links are ours already was taken over, whether its driver answers now or not.
func (p *planner) untouched(n *state.Node) bool {
	if !n.Origin.Adopted() || p.linked(n.UUID) {
		return false
	}
	_, _, exists := p.have.find(n.UUID)
	return !exists
}

// linked reports whether a link here is marked as one of a node's ports.
func (p *planner) linked(uuid string) bool {
	if p.marked == nil {
		p.marked = map[string]bool{}
		for _, l := range p.have.links.Links {
			if l.Mark.Role == link.RolePort {
				p.marked[l.Mark.Node] = true
			}
		}
		for _, node := range p.have.switches.Nodes() {
			p.marked[node] = true
		}
	}
	return p.marked[uuid]
}

// heldBridges are bridges of ours that an untouched node is in: they were taken over with
// another, and do not go before it.
func (p *planner) heldBridges(n *state.Node, into map[string]link.Bridge) {
	for i, port := range n.Ports {
		l, _ := originLink(n, i)
		if b, _ := p.bridge(port.Physnet); b.Name != "" && b.Name == l.Bridge && p.have.links.Links[b.Name].Ours() {
			into[b.Name] = b
		}
	}
}

// adoptBridge lets a bridge that a node was in become ours.
func (p *planner) adoptBridge(b *link.Bridge) {
	for _, n := range p.kept {
		for i, port := range n.Ports {
			if l, ok := originLink(n, i); ok && port.Physnet == b.Physnet && l.Bridge == b.Name {
				b.Adopt, b.MAC = true, l.BridgeMAC
				return
			}
		}
	}
	// The nodes that it was taken over with are gone; others are still told its address.
	if mac, ok := p.want.adopted[b.Physnet]; ok {
		b.Adopt, b.MAC = p.have.links.Links[b.Name].Ours(), mac
	}
}

// adoptedMACs are the addresses of bridges that were taken over, by physnet: those of nodes that
// are here, once their bridge is ours, and those remembered, as long as the bridge is there or a
// node uses it.
func adoptedMACs(remembered map[string]string, nodes []*state.Node, indices map[string]int, now link.Have) map[string]string {
	out, used := map[string]string{}, map[string]bool{}
	for _, n := range nodes {
		for i, port := range n.Ports {
			used[port.Physnet] = true
			index, named := indices[port.Physnet]
			l, ok := originLink(n, i)
			if _, twice := out[port.Physnet]; ok && !twice && named && l.Bridge == link.BridgeName(index) && now.Links[l.Bridge].Ours() {
				out[port.Physnet] = l.BridgeMAC
			}
		}
	}
	for physnet, mac := range remembered {
		_, newer := out[physnet]
		index, named := indices[physnet]
		if !newer && named && !now.Taken(link.BridgeName(index)) && (used[physnet] || now.Links[link.BridgeName(index)].Ours()) {
			out[physnet] = mac
		}
	}
	return out
}

// origins are the indices of the bridges that nodes were in, by physnet.
func origins(nodes []*state.Node) map[string]int {
	out := map[string]int{}
	for _, n := range nodes {
		for i, port := range n.Ports {
			l, ok := originLink(n, i)
			if index, named := link.BridgeIndex(l.Bridge); ok && named {
				if _, twice := out[port.Physnet]; !twice {
					out[port.Physnet] = index
				}
			}
		}
	}
	return out
}

// adopted adds the indices of bridges that are to be adopted to those that are there,
// unless one has the index of another physnet.
func adopted(known, origins map[string]int) {
	for _, physnet := range slices.Sorted(maps.Keys(origins)) {
		_, there := known[physnet]
		if i := origins[physnet]; !there && !slices.Contains(slices.Collect(maps.Values(known)), i) {
			known[physnet] = i
		}
	}
}
