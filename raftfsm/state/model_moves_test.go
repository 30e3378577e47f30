package state

import (
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// modelMove is a move under way.
type modelMove struct {
	to    string
	port  int
	start uint64
}

// taken reports whether a host's endpoint is a node's, or promised to one.
func (m *model) endpointTaken(host string, port int) bool {
	for _, o := range m.nodes {
		if o.on == host && o.port == port || o.move != nil && o.move.to == host && o.move.port == port {
			return true
		}
	}
	return false
}

// endMove makes a node stay where it is.
func (n *modelNode) endMove() {
	if n.move != nil {
		n.past[n.move.to], n.discard[n.move.to] = true, true
	}
	n.move = nil
}

func (m *machine) startMove(t *rapid.T) {
	c := NodeMove{UUID: m.uuid(t), To: m.host(t), BMC: Endpoint{"192.0.2.1", rapid.IntRange(1, 4).Draw(t, "port")}}
	n := m.model.nodes[c.UUID]
	if n != nil {
		c.Epoch = n.epoch
		if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
			c.Epoch++
		}
	}
	may := n != nil && n.on != "" && c.Epoch == n.epoch && !n.removing && n.move == nil && !n.lost && n.on != c.To && !n.past[c.To] &&
		m.model.hosts[c.To] && !m.model.peers[c.To].refuses() && !m.model.endpointTaken(c.To, c.BMC.Port)
	if may {
		n.move = &modelMove{c.To, c.BMC.Port, m.log.index + 1}
	}
	m.log.must(StartMoves{Moves: []NodeMove{c}})
}

func (m *machine) waitMove(t *rapid.T) {
	uuid := m.uuid(t)
	if n := m.model.nodes[uuid]; n != nil {
		m.log.must(StartMoves{Waits: []NodeWait{{uuid, n.epoch, "it is on"}}})
	}
}

// endOfMove returns the UUID and the start of a move, which may not be under way.
func (m *machine) endOfMove(t *rapid.T) (uuid string, start uint64, n *modelNode) {
	uuid = m.uuid(t)
	n = m.model.nodes[uuid]
	if n == nil || n.move == nil {
		return uuid, uint64(rapid.IntRange(0, 20).Draw(t, "start")), nil
	}
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		return uuid, n.move.start - 1, nil
	}
	return uuid, n.move.start, n
}

func (m *machine) finishMove(t *rapid.T) {
	uuid, start, n := m.endOfMove(t)
	before := m.log.snap().Digest()
	err := m.log.try(FinishMove{uuid, start})
	if (err == nil) != (n != nil) || err != nil && m.log.snap().Digest() != before {
		t.Fatalf("finish of the move of %s that began at %d: error %v", uuid, start, err)
	}
	if n == nil {
		return
	}
	delete(n.past, n.move.to)
	n.past[n.on], n.discard[n.on] = true, true
	n.on, n.port, n.epoch, n.host = n.move.to, n.move.port, m.log.index, ""
	n.lost, n.move = m.model.peers[n.on].lost, nil
}

func (m *machine) cancelMove(t *rapid.T) {
	uuid, start, n := m.endOfMove(t)
	if n != nil {
		n.endMove()
	}
	m.log.must(CancelMoves{[]MoveCancel{{uuid, start, "because"}}})
}

func (m *machine) reportMove(t *rapid.T) {
	uuid, start, n := m.endOfMove(t)
	to := "h1"
	if n != nil {
		to = n.move.to
	}
	m.log.must(ReportMoves{to, []MoveReport{{UUID: uuid, Start: start, Done: 1, Total: 2}}})
}

func (m *machine) discarded(t *rapid.T) {
	uuid, on := m.uuid(t), m.host(t)
	if n := m.model.nodes[uuid]; n != nil && n.discard[on] {
		delete(n.past, on)
		delete(n.discard, on)
	}
	m.log.must(ReportDiscarded{on, []string{uuid}})
}

func (m *machine) checkMove(t *rapid.T, snap *Snapshot, n *Node, want *modelNode) {
	if !slices.Equal(n.Discard, slices.Sorted(maps.Keys(want.discard))) || n.Moving() != (want.move != nil) {
		t.Fatalf("node %+v, want %+v", n, want)
	}
	for _, h := range n.Discard {
		if !slices.Contains(n.Past, h) || n.Placement != nil && n.Placement.Hypervisor == h {
			t.Fatalf("node %+v is to be deleted by %s", n, h)
		}
	}
	if want.move == nil {
		return
	}
	if n.Move.To != want.move.to || n.Move.BMC.Port != want.move.port || n.Move.Start != want.move.start || n.Placement == nil {
		t.Fatalf("move %+v, want %+v", n.Move, want.move)
	}
	part := snap.PartOf(n.Move.To, 0)
	if !slices.Contains(snap.MovingTo(n.Move.To), n) || !slices.Contains(part.Nodes, n) {
		t.Fatalf("node %s is not among those that move to %s, or not in its part", n.Name, n.Move.To)
	}
}
