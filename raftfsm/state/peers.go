package state

import (
	"fmt"
)

// checkPeer refuses a peer that lacks an identity.
func checkPeer(p *Peer) error {
	if err := checkKey("peer ID", p.ID); err != nil {
		return err
	}
	return checkKey("peer name", p.Name)
}

// livePeer returns a peer that is not removed. Errors: ErrNotFound, ErrRefused.
func (t *tx) livePeer(id string) (*Peer, error) {
	p, ok := first[*Peer](t.Txn, tablePeers, "id", id)
	switch {
	case !ok:
		return nil, fmt.Errorf("peer %s: %w", id, ErrNotFound)
	case p.Removed:
		return nil, errRemoved(p)
	}
	return p, nil
}

func errRemoved(p *Peer) error {
	return fmt.Errorf("peer %s (%s) was removed from the mesh; a removed key never comes back: %w", p.Name, p.ID, ErrRefused)
}

// nameTaken returns the other peer that has p's name.
func (t *tx) nameTaken(p *Peer) (*Peer, bool) {
	other, ok := first[*Peer](t.Txn, tablePeers, "name", p.Name)
	return other, ok && other.ID != p.ID
}

// selfReport takes over what a peer says of itself. Its zone is its token's if it
// names none.
func (t *tx) selfReport(p, said *Peer) {
	p.Name, p.Address, p.Gossip, p.Zone = said.Name, said.Address, said.Gossip, said.Zone
	p.Version, p.Generation = said.Version, said.Generation
	if token, ok := first[*Token](t.Txn, tableTokens, "id", p.Token); ok && p.Zone == "" {
		p.Zone = token.Zone
	}
}

// putPeer writes a row that differs from the one there; it reports whether it did.
func (t *tx) putPeer(p *Peer) bool {
	if old, ok := first[*Peer](t.Txn, tablePeers, "id", p.ID); ok && *old == *p {
		return false
	}
	p.ModifyIndex = t.index
	t.put(tablePeers, p)
	t.touch(peersView)
	return true
}

func (PutPeer) kind() string { return "put-peer" }

func (c PutPeer) apply(t *tx) error {
	if err := checkPeer(&c.Peer); err != nil {
		return err
	}
	var p Peer
	if _, some := first[*Peer](t.Txn, tablePeers, "id"); some {
		old, err := t.livePeer(c.Peer.ID)
		if err != nil {
			return err
		}
		p = *old
	} else {
		p = Peer{ID: c.Peer.ID, Role: RoleVoter, CreateIndex: t.index}
	}
	if other, taken := t.nameTaken(&c.Peer); taken {
		return fmt.Errorf("name %s is taken by peer %s at %s: %w", other.Name, other.ID, other.Address, ErrConflict)
	}
	t.selfReport(&p, &c.Peer)
	if t.putPeer(&p) {
		t.event(EventPeerChanged, "", "", "peer %s at %s, zone %q, version %s", p.Name, p.Address, p.Zone, p.Version)
	}
	return nil
}

func (SetRoles) kind() string { return "set-roles" }

func (c SetRoles) apply(t *tx) error {
	for _, r := range c.Roles {
		switch r.Role {
		case RoleVoter, RoleStandby, RoleClient:
		default:
			return fmt.Errorf("peer %s: role %q: not usable", r.ID, r.Role)
		}
		old, err := t.livePeer(r.ID)
		if err != nil {
			continue
		}
		p := *old
		p.Role = r.Role
		if t.putPeer(&p) {
			t.event(EventPeerRole, "", "", "peer %s: %s, was %s", p.Name, p.Role, old.Role)
		}
	}
	return nil
}

func (DrainPeer) kind() string { return "drain-peer" }

func (c DrainPeer) apply(t *tx) error {
	old, err := t.livePeer(c.ID)
	if err != nil {
		return err
	}
	p := *old
	p.Draining, p.StopMilli = c.Draining, 0
	if c.Draining {
		p.StopMilli = c.StopMilli
		if err := t.drainPinned(old, c.Pins); err != nil {
			return err
		}
	}
	if t.putPeer(&p) {
		t.event(EventPeerDraining, "", "", "peer %s: %t", p.Name, p.Draining)
	}
	if !p.Draining {
		t.cancelMovesFrom(p.ID, fmt.Sprintf("peer %s drains no longer", p.Name))
	}
	return nil
}

// drainPinned refuses the drain of a peer that nodes are pinned to, or pins them no longer.
func (t *tx) drainPinned(p *Peer, pins PinPolicy) error {
	var pinned []*Node
	for _, n := range t.nodesOn(p.ID) {
		if n.PinnedTo(p.ID) && !n.Removing {
			pinned = append(pinned, n)
		}
	}
	switch {
	case pins == PinsRefuse && len(pinned) > 0:
		return fmt.Errorf("peer %s: specs.nodes.hypervisor pins %s to it (%s): tenks peer drain --ignore-pins %s moves them, too; "+
			"or take that key out of their cluster's file and apply it: %w", p.Name, plural(len(pinned), "node"), someNames(pinned), p.Name, ErrRefused)
	case pins == PinsForget:
		for _, old := range pinned {
			n := *old
			n.SetPin("")
			t.putNode(&n)
			t.event(EventNodeChanged, n.Cluster, n.Name, "no longer pinned to %s", p.Name)
		}
	}
	return nil
}

func (LeavePeer) kind() string { return "leave-peer" }

func (c LeavePeer) apply(t *tx) error {
	old, err := t.livePeer(c.ID)
	if err != nil {
		return err
	}
	p := *old
	p.Leaving = true
	if t.putPeer(&p) {
		t.event(EventPeerLeaving, "", "", "peer %s", p.Name)
	}
	return nil
}

func (BumpGeneration) kind() string { return "bump-generation" }

func (c BumpGeneration) apply(t *tx) error {
	row, ok := first[*meshRow](t.Txn, tableMesh, "id", meshKey)
	if !ok {
		return fmt.Errorf("mesh: %w", ErrNotFound)
	}
	m := row.Mesh
	if m.Generation != c.Expect {
		return fmt.Errorf("generation of the mesh is %d, not %d: %w", m.Generation, c.Expect, ErrConflict)
	}
	m.Generation++
	t.putMesh(m)
	t.event(EventGeneration, "", "", "generation %d", m.Generation)
	return nil
}
