package state

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// modelPeer is what a model knows of a peer.
type modelPeer struct{ lost, fenced, draining, leaving, removed bool }

func (p *modelPeer) refuses() bool { return p.lost || p.draining || p.leaving || p.removed }

func (m *model) alive(id string) bool { return m.peers[id] != nil && !m.peers[id].removed }

// lose makes a peer's nodes as lost as it is.
func (m *model) lose(id string) {
	for _, n := range m.nodes {
		if n.on == id {
			n.lost = m.peers[id].lost
		}
	}
}

// unplace takes a node off its host.
func (m *model) unplace(n *modelNode) {
	n.endMove()
	n.past[n.on] = true
	n.on, n.port, n.epoch, n.host, n.lost = "", 0, 0, "", false
	m.settle()
}

// on returns the nodes of a host.
func (m *model) on(id string) []*modelNode {
	var out []*modelNode
	for _, n := range m.nodes {
		if n.on == id {
			out = append(out, n)
		}
	}
	return out
}

func (m *machine) host(t *rapid.T) string {
	return fmt.Sprintf("h%d", rapid.IntRange(1, 3).Draw(t, "host"))
}

// expect fails if a command does not end as the model says.
func (m *machine) expect(t *rapid.T, c Command, want bool) {
	before := m.log.snap().Digest()
	err := m.log.try(c)
	if (err == nil) != want {
		t.Fatalf("%s %+v: error %v, but the model says %t", Kind(c), c, err, want)
	}
	if err != nil && m.log.snap().Digest() != before {
		t.Fatalf("%s %+v was refused and changed the state", Kind(c), c)
	}
	if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrNotFound) {
		t.Fatalf("%s %+v: error %v is not one that callers know", Kind(c), c, err)
	}
}

// join lets a peer in: the first by itself, the others by a token of their own.
func (m *machine) join(t *rapid.T, id string) {
	p := Peer{ID: id, Name: "host-" + id, Address: "192.0.2.1:7740"}
	fresh := m.model.peers[id] == nil
	switch {
	case len(m.model.peers) == 0:
		m.log.must(PutPeer{p})
	default:
		token := fmt.Sprintf("t%d", m.log.index)
		m.log.must(PutToken{Token{ID: token, Hash: make([]byte, hashSize), Uses: 1}})
		m.expect(t, AdmitPeer{p, token, make([]byte, hashSize)}, fresh || m.model.alive(id))
	}
	if fresh {
		m.model.peers[id] = &modelPeer{}
	}
	m.expect(t, hypervisor(id), m.model.alive(id))
	if m.model.alive(id) {
		m.model.peers[id].leaving = false
		m.model.hosts[id] = true
	}
}

func (m *machine) joinAny(t *rapid.T) { m.join(t, m.host(t)) }

// placeAndReady gets nodes further than single random steps do.
func (m *machine) placeAndReady(t *rapid.T) {
	m.place(t)
	for _, uuid := range slices.Sorted(maps.Keys(m.model.nodes)) {
		if n := m.model.nodes[uuid]; n.on != "" && n.host == "" {
			n.host = HostReady
			m.log.must(ReportHost{n.on, []NodeHostReport{{uuid, n.epoch, HostStatus{Phase: HostReady}}}})
		}
	}
}

func (m *machine) markPeers(t *rapid.T) {
	var c MarkPeers
	for _, id := range []string{"h1", "h2", "h3"} {
		switch rapid.IntRange(0, 2).Draw(t, "mark") {
		case 0:
			c.Lost = append(c.Lost, id)
		case 1:
			c.Found = append(c.Found, id)
		default:
			continue
		}
		if m.model.alive(id) {
			p := m.model.peers[id]
			p.lost = slices.Contains(c.Lost, id)
			p.fenced = p.fenced && p.lost
			m.model.lose(id)
		}
	}
	m.log.must(c)
}

func (m *machine) declareLost(t *rapid.T) {
	id := m.host(t)
	m.expect(t, DeclareLost{id}, m.model.alive(id))
	if m.model.alive(id) {
		m.model.peers[id].lost, m.model.peers[id].fenced = true, true
		m.model.lose(id)
	}
}

func (m *machine) drainPeer(t *rapid.T) {
	c := DrainPeer{ID: m.host(t), Draining: rapid.Bool().Draw(t, "draining")}
	m.expect(t, c, m.model.alive(c.ID))
	if m.model.alive(c.ID) {
		m.model.peers[c.ID].draining = c.Draining
	}
	if m.model.alive(c.ID) && !c.Draining {
		for _, n := range m.model.on(c.ID) {
			n.endMove()
		}
	}
}

func (m *machine) leavePeer(t *rapid.T) {
	id := m.host(t)
	m.expect(t, LeavePeer{id}, m.model.alive(id))
	if m.model.alive(id) {
		m.model.peers[id].leaving = true
	}
}

func (m *machine) removePeer(t *rapid.T) {
	c := RemovePeer{m.host(t), rapid.Bool().Draw(t, "force")}
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		return // there are only three
	}
	alive := slices.DeleteFunc(slices.Collect(maps.Keys(m.model.peers)), func(id string) bool { return !m.model.alive(id) })
	there := m.model.peers[c.ID] != nil
	may := there && (!m.model.alive(c.ID) || len(alive) > 1 && (c.Force || len(m.model.on(c.ID)) == 0))
	m.expect(t, c, may)
	if !may || !m.model.alive(c.ID) {
		return
	}
	*m.model.peers[c.ID] = modelPeer{removed: true}
	delete(m.model.hosts, c.ID)
	for _, n := range m.model.nodes {
		if n.move != nil && n.move.to == c.ID {
			n.endMove()
		}
	}
	for _, n := range m.model.on(c.ID) {
		m.model.unplace(n)
	}
}

func (m *machine) unplace(t *rapid.T) {
	uuid := m.uuid(t)
	u := NodeUnplacement{UUID: uuid, Reason: "rebuild"}
	if n := m.model.nodes[uuid]; n != nil && n.on != "" {
		u.Epoch = n.epoch + uint64(rapid.IntRange(0, 1).Draw(t, "stale"))
		if u.Epoch == n.epoch {
			m.model.unplace(n)
		}
	}
	m.log.must(UnplaceNodes{[]NodeUnplacement{u}})
}

// checkPeers compares peers and hypervisors with the model.
func (m *machine) checkPeers(t *rapid.T, snap *Snapshot) {
	if got := len(snap.Peers()); got != len(m.model.peers) {
		t.Fatalf("%d peers, the model has %d", got, len(m.model.peers))
	}
	for id, want := range m.model.peers {
		p, _ := snap.Peer(id)
		if got := (modelPeer{p.Lost, p.Fenced, p.Draining, p.Leaving, p.Removed}); got != *want {
			t.Fatalf("peer %s is %+v, want %+v", id, got, *want)
		}
		if (p.LostIndex != 0) != p.Lost || (p.Refuses() != "") != want.refuses() {
			t.Fatalf("peer %+v", p)
		}
		if named, ok := snap.PeerByName(p.Name); ok == p.Removed || ok && named != p {
			t.Fatalf("by its name, peer %+v is %+v", p, named)
		}
		if _, there := snap.Hypervisor(id); there != m.model.hosts[id] {
			t.Fatalf("hypervisor %s is there: %t", id, there)
		}
	}
}
