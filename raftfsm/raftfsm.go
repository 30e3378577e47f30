// Package raftfsm puts the replicated state behind hashicorp/raft: it encodes and
// decodes commands, applies them to a state.Store, and writes and restores
// snapshots. Formats carry a version, and what was once written decodes for ever.
// An FSM starts nothing; Raft calls it from one goroutine at a time, everybody else
// reads through Source.
package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// FSM implements raft.FSM over a state.Store.
type FSM struct {
	store *state.Store
	// stopped is set once an entry could not be understood: nothing is applied from
	// then on, because what follows may depend on it.
	stopped atomic.Pointer[error]
}

// New returns an FSM with an empty state.
func New() *FSM { return &FSM{store: state.New()} }

// Result is what Apply answers: the command's log index, and its refusal. A command
// that was refused, and a request that was repeated, have an index too: the state
// there is the answer to them.
type Result struct {
	Index uint64
	Err   error
}

// Source gives snapshots of the state.
func (f *FSM) Source() reconcile.Source { return f.store }

// Err returns nil, or why this peer no longer follows the log: an entry of a newer
// version (state.ErrNewer), or a damaged one.
func (f *FSM) Err() error {
	if p := f.stopped.Load(); p != nil {
		return *p
	}
	return nil
}

// Apply implements raft.FSM. The answer is a Result.
func (f *FSM) Apply(entry *raft.Log) any {
	if err := f.Err(); err != nil {
		return Result{Index: entry.Index, Err: err}
	}
	if snap, _ := f.store.Snapshot(); entry.Index <= snap.Index() {
		return Result{Index: entry.Index} // see Restore; nobody waits for this answer
	}
	envelope, err := Decode(entry.Data)
	if err != nil {
		err = fmt.Errorf("log entry %d: %w", entry.Index, err)
		f.stopped.Store(&err)
		return Result{Index: entry.Index, Err: err}
	}
	return Result{Index: entry.Index, Err: f.store.Apply(entry.Index, envelope)}
}

// Snapshot implements raft.FSM. An FSM that has stopped refuses: Raft would take a
// snapshot for everything that it ever handed over, and forget entries that a newer
// version can still apply.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.Err(); err != nil {
		return nil, err
	}
	snap, _ := f.store.Snapshot()
	return &snapshot{snap}, nil
}

// ErrForeign says that a snapshot is another mesh's.
var ErrForeign = errors.New("it is another mesh's")

// Restore implements raft.FSM: it replaces the whole state, or leaves it as it is
// and returns an error. A snapshot of an earlier index changes nothing, and Apply passes
// over the entries that come after it once more: Raft sends one to a peer that needs an
// entry which its leader no longer has, and a state that went back would have hosts take
// apart what was placed on them meanwhile. A state that it replaced goes on even if the FSM had
// stopped before. Errors: state.ErrNewer, ErrForeign.
func (f *FSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	d, err := ReadSnapshot(r)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	snap, _ := f.store.Snapshot()
	if ours := snap.Mesh().ID; ours != "" && (d.Mesh == nil || d.Mesh.ID != ours) {
		return fmt.Errorf("snapshot: %w: this is mesh %s", ErrForeign, ours)
	}
	if earlier(d, snap) {
		return nil
	}
	if err := f.store.Load(d); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	f.stopped.Store(nil)
	return nil
}

// earlier reports whether a snapshot is of an earlier index of the same log: a mesh that
// was recovered counts anew.
func earlier(d state.Dump, now *state.Snapshot) bool {
	return d.Mesh != nil && d.Mesh.Generation == now.Mesh().Generation && d.Index < now.Index()
}

// snapshot implements raft.FSMSnapshot.
type snapshot struct{ *state.Snapshot }

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := WriteSnapshot(sink, s.Snapshot); err != nil {
		return fmt.Errorf("snapshot: %w (cancel: %w)", err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

// Index is the newest log entry that the state has seen.
func (f *FSM) Index() uint64 {
	snap, _ := f.store.Snapshot()
	return snap.Index()
}

// WaitIndex blocks until the state is at a log index or beyond.
func WaitIndex(ctx context.Context, source reconcile.Source, index uint64) (*state.Snapshot, error) {
	for {
		snap, changed := source.Snapshot()
		if snap.Index() >= index {
			return snap, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for index %d: at %d: %w", index, snap.Index(), ctx.Err())
		case <-changed:
		}
	}
}
