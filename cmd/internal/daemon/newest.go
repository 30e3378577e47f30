package daemon

import (
	"context"
	"sync"

	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// newest is the newest state that this peer has: the whole of it, by the log, or its
// part, by a feed or from its file. What reconciles this host reads it; what decides for
// the mesh reads the log's.
type newest struct {
	log, part reconcile.Source

	mu      sync.Mutex // guards what follows
	snap    *state.Snapshot
	changed chan struct{}
	whole   bool
}

var _ reconcile.Source = (*newest)(nil)

func newNewest(log, part reconcile.Source) *newest {
	n := &newest{log: log, part: part, changed: make(chan struct{})}
	n.look()
	return n
}

// Snapshot implements reconcile.Source.
func (n *newest) Snapshot() (*state.Snapshot, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.snap, n.changed
}

// isWhole reports whether the newest state is all of it.
func (n *newest) isWhole() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.whole
}

// run keeps up until ctx ends.
func (n *newest) run(ctx context.Context) {
	for {
		log, part := n.look()
		select {
		case <-ctx.Done():
			return
		case <-log:
		case <-part:
		}
	}
}

// look takes what is newer, and returns what is closed once one of them changed.
func (n *newest) look() (logChanged, partChanged <-chan struct{}) {
	whole, logChanged := n.log.Snapshot()
	part, partChanged := n.part.Snapshot()
	best, isWhole := whole, true
	if newer(part, whole) {
		best, isWhole = part, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if best != n.snap {
		n.snap, n.whole = best, isWhole
		close(n.changed)
		n.changed = make(chan struct{})
	}
	return logChanged, partChanged
}

// newer reports whether a comes after b: a mesh that was recovered counts anew.
func newer(a, b *state.Snapshot) bool {
	if x, y := a.Mesh().Generation, b.Mesh().Generation; x != y {
		return x > y
	}
	return a.Index() > b.Index()
}
