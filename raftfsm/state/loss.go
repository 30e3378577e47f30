package state

import (
	"fmt"
	"slices"
	"strings"
)

func (MarkPeers) kind() string { return "mark-peers" }

func (c MarkPeers) apply(t *tx) error {
	for _, id := range c.Lost {
		if old, err := t.livePeer(id); err == nil && !old.Lost {
			p := *old
			t.losePeer(&p)
		}
	}
	for _, id := range c.Found {
		if old, err := t.livePeer(id); err == nil && old.Lost {
			p := *old
			p.Lost, p.LostIndex, p.LostMilli, p.Fenced = false, 0, 0, false
			t.putPeer(&p)
			n := t.setLost(&p)
			t.event(EventPeerFound, "", "", "peer %s: %s", p.Name, plural(n, "node"))
		}
	}
	return nil
}

func (DeclareLost) kind() string { return "declare-lost" }

func (c DeclareLost) apply(t *tx) error {
	old, err := t.livePeer(c.ID)
	if err != nil || old.Fenced {
		return err
	}
	p := *old
	p.Fenced = true
	t.losePeer(&p)
	return nil
}

// losePeer writes a peer down as lost, since now unless it was already.
func (t *tx) losePeer(p *Peer) {
	if !p.Lost {
		p.Lost, p.LostIndex, p.LostMilli = true, t.index, t.now
	}
	t.putPeer(p)
	n := t.setLost(p)
	fenced := ""
	if p.Fenced {
		fenced = ", declared to be powered off"
	}
	t.event(EventPeerLost, "", "", "peer %s%s: %s", p.Name, fenced, plural(n, "node"))
}

// setLost makes the nodes on a peer as lost as it is; it returns how many there are.
func (t *tx) setLost(p *Peer) int {
	nodes := t.nodesOn(p.ID)
	for _, old := range nodes {
		if n := *old; n.loseWith(p) {
			t.putNode(&n)
		}
	}
	return len(nodes)
}

// loseWith makes a node as lost as the peer that it is placed on; false: it was so.
func (n *Node) loseWith(p *Peer) bool {
	why := ""
	if p.Lost {
		why = fmt.Sprintf("hypervisor %s is lost since %s", p.Name, utc(p.LostMilli))
	}
	if p.Fenced {
		why = fmt.Sprintf("hypervisor %s was declared to be powered off, lost since %s", p.Name, utc(p.LostMilli))
	}
	changed := n.Lost != p.Lost || n.LostReason != why
	n.Lost, n.LostReason = p.Lost, why
	return changed
}

// nodesOn returns the nodes placed on a hypervisor, by name.
func (t *tx) nodesOn(hypervisor string) []*Node {
	return byName(all[*Node](t.Txn, tableNodes, "hypervisor", hypervisor))
}

func (RemovePeer) kind() string { return "remove-peer" }

func (c RemovePeer) apply(t *tx) error {
	old, ok := first[*Peer](t.Txn, tablePeers, "id", c.ID)
	if !ok {
		return fmt.Errorf("peer %s: %w", c.ID, ErrNotFound)
	}
	if old.Removed {
		return nil
	}
	nodes := t.nodesOn(c.ID)
	if err := t.checkRemoval(old, nodes, c.Force); err != nil {
		return err
	}
	p := *old
	p.Removed, p.Role = true, RoleClient
	p.Lost, p.LostIndex, p.LostMilli, p.Fenced = false, 0, 0, false
	p.Draining, p.StopMilli, p.Leaving = false, 0, false
	t.putPeer(&p)
	t.event(EventPeerRemoved, "", "", "peer %s (%s) with %s", p.Name, p.ID, plural(len(nodes), "node"))
	t.cancelMovesTo(c.ID, fmt.Sprintf("hypervisor %s was removed", p.Name))
	for _, n := range nodes {
		t.unplace(n, fmt.Sprintf("its hypervisor %s was removed", p.Name))
	}
	if h, ok := first[*Hypervisor](t.Txn, tableHypervisors, "id", c.ID); ok {
		must(t.Delete(tableHypervisors, h))
	}
	return nil
}

// mostNamed is how many nodes a refusal names.
const mostNamed = 5

func (t *tx) checkRemoval(p *Peer, nodes []*Node, force bool) error {
	others := slices.ContainsFunc(all[*Peer](t.Txn, tablePeers, "id"), func(o *Peer) bool { return !o.Removed && o.ID != p.ID })
	if !others {
		return fmt.Errorf("peer %s is the last one of the mesh: %w", p.Name, ErrRefused)
	}
	if len(nodes) == 0 || force {
		return nil
	}
	verb := "are"
	if len(nodes) == 1 {
		verb = "is"
	}
	return fmt.Errorf("peer %s: %s %s placed on it (%s): %w", p.Name, plural(len(nodes), "node"), verb, someNames(nodes), ErrRefused)
}

// someNames are the names of the first few nodes.
func someNames(nodes []*Node) string {
	var names []string
	for _, n := range nodes[:min(len(nodes), mostNamed)] {
		names = append(names, n.Name)
	}
	if len(nodes) > mostNamed {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

func (UnplaceNodes) kind() string { return "unplace-nodes" }

func (c UnplaceNodes) apply(t *tx) error {
	for _, u := range c.Nodes {
		old, ok := first[*Node](t.Txn, tableNodes, "id", u.UUID)
		if ok && old.Placement != nil && old.Placement.Epoch == u.Epoch && t.lostSince(old.Placement.Hypervisor, u.LostIndex) {
			t.unplace(old, u.Reason)
		}
	}
	return nil
}

// lostSince reports whether a peer is lost since a log index; 0: it need not be.
func (t *tx) lostSince(id string, index uint64) bool {
	p, ok := t.peerOf(id)
	return index == 0 || ok && p.Lost && p.LostIndex == index
}

// unplace takes a node off its hypervisor, which remains one that had it. A node
// that is being removed has nothing left there that anybody waits for.
func (t *tx) unplace(old *Node, reason string) {
	n := *old
	n.LastPlacement = old.Placement
	n.Past = withPast(old.Past, old.Placement.Hypervisor)
	n.Anew = false
	n.endMove()
	n.Placement, n.Unplaced, n.Host = nil, reason, HostStatus{}
	n.Origin = old.Origin.elsewhere()
	if n.Pin == old.Placement.Hypervisor {
		n.Pin = "" // or it could be nowhere
	}
	n.Lost, n.LostReason = false, ""
	t.putNode(&n)
	t.event(EventNodeDisplaced, n.Cluster, n.Name, "%s", reason)
	t.finishNode(&n)
}

// withPast adds a hypervisor to a sorted list, in a copy.
func withPast(past []string, hypervisor string) []string {
	i, there := slices.BinarySearch(past, hypervisor)
	if there {
		return past
	}
	return slices.Insert(slices.Clone(past), i, hypervisor)
}

// withoutPast is the inverse of withPast.
func withoutPast(past []string, hypervisor string) []string {
	i, there := slices.BinarySearch(past, hypervisor)
	if !there {
		return past
	}
	if len(past) == 1 {
		return nil
	}
	return slices.Delete(slices.Clone(past), i, i+1)
}
