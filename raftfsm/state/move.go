package state

import (
	"fmt"
	"slices"
)

// Move is a node's move to another hypervisor, with what it has on disk. Until it is
// finished the node stays placed where it is, and must be off. Where To is empty the
// move has not begun: Error says what it waits for.
type Move struct {
	// To is the ID of the hypervisor that the node moves to, and Name what that is called.
	To, Name string
	// BMC is the endpoint that the node gets there.
	BMC Endpoint
	// Start is the log index at which the move began. It tells moves of a node apart.
	Start uint64
	// Done is how much of Total has got there, in bytes; Total 0: it is not known yet.
	Done, Total uint64
	// Error says why the move does not go on, or has not begun.
	Error string
}

// Moving reports whether a move of the node is under way.
func (n *Node) Moving() bool { return n.Move != nil && n.Move.To != "" }

// Gone reports whether a hypervisor is to delete what it has of the node, because it
// moved away with its disks, or never got there whole.
func (n *Node) Gone(hypervisor string) bool {
	_, there := slices.BinarySearch(n.Discard, hypervisor)
	return there
}

// said is a move in words, as in "moving to hv2: 34 %".
func (m *Move) said() string {
	switch {
	case m == nil:
		return ""
	case m.To == "":
		return m.Error
	}
	text := "moving to " + m.Name
	if m.Total > 0 {
		text += fmt.Sprintf(": %d %%", m.Percent())
	}
	if m.Error != "" {
		text += ": " + m.Error
	}
	return text
}

// Percent is how much of a move is done, from 0 to 100.
func (m *Move) Percent() int {
	if m.Total == 0 {
		return 0
	}
	return int(min(100, float64(m.Done)/float64(m.Total)*100))
}

// StartMoves begins moves, and records what others wait for. A move of a node that is
// not placed with that epoch, is being removed or to be made anew, is lost or moves already
// is skipped; so is one to where it was before, and to where PlaceNodes would not place it.
type StartMoves struct {
	Moves []NodeMove
	Waits []NodeWait
}

// NodeMove begins the move of one node.
type NodeMove struct {
	UUID string
	// Epoch is that of the placement which the node moves from.
	Epoch uint64
	To    string
	BMC   Endpoint
}

// NodeWait says what the move of one node waits for.
type NodeWait struct {
	UUID   string
	Epoch  uint64
	Reason string
}

// ReportMoves records how far the moves to a hypervisor are. Reports of other moves
// are skipped.
type ReportMoves struct {
	Hypervisor string
	Moves      []MoveReport
}

// MoveReport is one node's part of a ReportMoves.
type MoveReport struct {
	UUID        string
	Start       uint64
	Done, Total uint64
	Error       string
}

// FinishMove records that all of a node is where it moved to: it is placed there from
// now on, and what is left where it was is to be deleted. Errors: ErrConflict if that
// move is no longer under way.
type FinishMove struct {
	UUID  string
	Start uint64
}

// CancelMoves ends moves: the nodes stay where they are, and what has come of them
// elsewhere is to be deleted. Moves that are not under way are skipped.
type CancelMoves struct{ Moves []MoveCancel }

// MoveCancel ends the move of one node.
type MoveCancel struct {
	UUID   string
	Start  uint64
	Reason string
}

// ReportDiscarded records that a hypervisor has nothing left of nodes that it was to
// delete: it is told of them no longer.
type ReportDiscarded struct {
	Hypervisor string
	Nodes      []string
}

func (StartMoves) kind() string { return "start-moves" }

func (c StartMoves) apply(t *tx) error {
	for _, m := range c.Moves {
		t.startMove(m)
	}
	for _, w := range c.Waits {
		old, ok := t.movable(w.UUID, w.Epoch)
		if !ok || old.Move != nil && old.Move.Error == w.Reason {
			continue
		}
		n := *old
		n.Move = &Move{Error: w.Reason}
		t.putNode(&n)
		t.event(EventMoveWaits, n.Cluster, n.Name, "%s", w.Reason)
	}
	return nil
}

// movable returns a node that could move from its present placement.
func (t *tx) movable(uuid string, epoch uint64) (*Node, bool) {
	n, ok := first[*Node](t.Txn, tableNodes, "id", uuid)
	return n, ok && n.Placement != nil && n.Placement.Epoch == epoch && !n.Removing && !n.Anew && !n.Moving()
}

func (t *tx) startMove(m NodeMove) {
	old, ok := t.movable(m.UUID, m.Epoch)
	if !ok || old.Lost || m.To == old.Placement.Hypervisor || slices.Contains(old.Past, m.To) {
		return
	}
	h, ok := first[*Hypervisor](t.Txn, tableHypervisors, "id", m.To)
	if peer, _ := t.peerOf(m.To); !ok || peer.Refuses() != "" || t.endpointTaken(m.To, m.BMC) {
		return
	}
	n := *old
	n.Move = &Move{To: m.To, Name: h.Name, BMC: m.BMC, Start: t.index}
	t.putNode(&n)
	t.event(EventMoveStarted, n.Cluster, n.Name, "from hypervisor %s to %s", t.hypervisorName(n.Placement.Hypervisor), h.Name)
}

// moving returns a node whose move with that start is under way.
func (t *tx) moving(uuid string, start uint64) (*Node, bool) {
	n, ok := first[*Node](t.Txn, tableNodes, "id", uuid)
	return n, ok && n.Moving() && n.Move.Start == start
}

func (ReportMoves) kind() string { return "report-moves" }

func (c ReportMoves) apply(t *tx) error {
	for _, r := range c.Moves {
		old, ok := t.moving(r.UUID, r.Start)
		if !ok || old.Move.To != c.Hypervisor {
			continue
		}
		m := *old.Move
		m.Done, m.Total, m.Error = r.Done, r.Total, r.Error
		if m == *old.Move {
			continue
		}
		n := *old
		n.Move = &m
		t.putNode(&n)
		if m.Error != "" && m.Error != old.Move.Error {
			t.event(EventMoveError, n.Cluster, n.Name, "%s", m.Error)
		}
	}
	return nil
}

func (FinishMove) kind() string { return "finish-move" }

func (c FinishMove) apply(t *tx) error {
	old, ok := t.moving(c.UUID, c.Start)
	if !ok {
		return fmt.Errorf("node %s: the move that began at log index %d is no longer under way: %w", c.UUID, c.Start, ErrConflict)
	}
	n := *old
	from, to := old.Placement.Hypervisor, old.Move.To
	n.LastPlacement = old.Placement
	n.Placement = &Placement{Hypervisor: to, Epoch: t.index, BMC: old.Move.BMC}
	n.Past = withPast(withoutPast(old.Past, to), from)
	n.Discard = withPast(withoutPast(old.Discard, to), from)
	n.Move, n.Unplaced, n.Host = nil, "", HostStatus{}
	n.Origin = old.Origin.elsewhere()
	if n.Pin == from {
		n.Pin = "" // one that came meanwhile stays
	}
	n.Lost, n.LostReason = false, ""
	if peer, ok := t.peerOf(to); ok {
		n.loseWith(peer)
	}
	t.putNode(&n)
	t.event(EventMoveFinished, n.Cluster, n.Name, "from hypervisor %s to %s, BMC %s", t.hypervisorName(from),
		t.hypervisorName(to), n.endpoint())
	return nil
}

func (CancelMoves) kind() string { return "cancel-moves" }

func (c CancelMoves) apply(t *tx) error {
	for _, m := range c.Moves {
		if old, ok := t.moving(m.UUID, m.Start); ok {
			t.cancelMove(old, m.Reason)
		}
	}
	return nil
}

// cancelMove ends a node's move, and what it waits for to move.
func (t *tx) cancelMove(old *Node, reason string) {
	if old.Move == nil {
		return
	}
	n := *old
	n.endMove()
	t.putNode(&n)
	if old.Moving() {
		t.event(EventMoveCancelled, n.Cluster, n.Name, "to hypervisor %s: %s", old.Move.Name, reason)
	}
}

// endMove makes a node one that does not move; what has come of it elsewhere is to be
// deleted.
func (n *Node) endMove() {
	if n.Moving() {
		n.Past = withPast(n.Past, n.Move.To)
		n.Discard = withPast(n.Discard, n.Move.To)
	}
	n.Move = nil
}

// cancelMovesTo ends the moves to a hypervisor.
func (t *tx) cancelMovesTo(hypervisor, reason string) {
	for _, n := range byName(all[*Node](t.Txn, tableNodes, "target", hypervisor)) {
		t.cancelMove(n, reason)
	}
}

// cancelMovesFrom ends the moves of the nodes on a hypervisor.
func (t *tx) cancelMovesFrom(hypervisor, reason string) {
	for _, n := range t.nodesOn(hypervisor) {
		t.cancelMove(n, reason)
	}
}

func (ReportDiscarded) kind() string { return "report-discarded" }

func (c ReportDiscarded) apply(t *tx) error {
	for _, uuid := range c.Nodes {
		old, ok := first[*Node](t.Txn, tableNodes, "id", uuid)
		if !ok || !old.Gone(c.Hypervisor) {
			continue
		}
		n := *old
		n.Past, n.Discard = withoutPast(old.Past, c.Hypervisor), withoutPast(old.Discard, c.Hypervisor)
		t.putNode(&n)
		t.depart(uuid, c.Hypervisor)
	}
	return nil
}

// MovingTo returns the nodes that move to a hypervisor, by name.
func (s *Snapshot) MovingTo(hypervisor string) []*Node {
	return byName(all[*Node](s.txn, tableNodes, "target", hypervisor))
}

// ToDiscard returns the nodes that a hypervisor is to delete what it has of, by name.
func (s *Snapshot) ToDiscard(hypervisor string) []*Node {
	var out []*Node
	for _, n := range byName(all[*Node](s.txn, tableNodes, "past", hypervisor)) {
		if n.Gone(hypervisor) {
			out = append(out, n)
		}
	}
	return out
}
