package state

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
)

// How many rows of history are kept.
const (
	keepEvents   = 4096
	keepRequests = 4096
)

// Store holds the state and its newest snapshot. Apply and Load are called by one
// goroutine at a time (Raft's); Snapshot by any.
type Store struct {
	// db belongs to the goroutine that calls Apply and Load.
	db      *memdb.MemDB
	current atomic.Pointer[version]
	// mu makes the exchange of current and the closing of its channel one step.
	mu sync.Mutex
}

type version struct {
	snap    *Snapshot
	changed chan struct{}
}

// New returns an empty store.
func New() *Store {
	s := &Store{db: newDB()}
	s.publish(0)
	return s
}

func newDB() *memdb.MemDB {
	db, err := memdb.NewMemDB(schema())
	must(err)
	return db
}

// Snapshot returns the newest snapshot, and a channel that is closed once there is
// a newer one.
func (s *Store) Snapshot() (*Snapshot, <-chan struct{}) {
	v := s.current.Load()
	return v.snap, v.changed
}

func (s *Store) publish(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	changed := make(chan struct{})
	s.current.Store(&version{
		snap:    &Snapshot{txn: s.db.Txn(false), index: index, changed: changed},
		changed: changed,
	})
	if old != nil {
		close(old.changed)
	}
}

// Apply records one command at a log index. The error is the command's own
// refusal: nothing but the index, and the memory of the request, changed then. The
// command belongs to the store from then on: its slices and maps become rows.
func (s *Store) Apply(index uint64, e Envelope) error {
	t := s.begin(index, e.UnixMilli)
	if e.Request != "" {
		if err := checkKey("request ID", e.Request); err != nil {
			t.Abort()
			s.publish(index)
			return err
		}
		if row, ok := first[*RequestRow](t.Txn, tableRequests, "id", e.Request); ok {
			t.Abort()
			s.publish(index)
			return row.result()
		}
	}
	err := e.Command.apply(t)
	if err != nil {
		t.Abort()
		t = s.begin(index, e.UnixMilli)
	}
	if e.Request != "" {
		t.rememberRequest(e.Request, err)
	}
	t.recordEvents()
	s.commit(t)
	return err
}

func (s *Store) begin(index uint64, now int64) *tx {
	t := &tx{Txn: s.db.Txn(true), index: index, now: now, touched: map[string]bool{}}
	t.TrackChanges() // for noteTunnels
	return t
}

// commit publishes what a transaction made, and then wakes who waits for it.
func (s *Store) commit(t *tx) {
	t.noteTunnels()
	t.Commit()
	s.publish(t.index)
	for _, c := range t.wake {
		close(c)
	}
}

// tx is a write transaction at one log index.
type tx struct {
	*memdb.Txn
	index uint64
	now   int64
	// events are what recordEvents puts into the history.
	events []Event
	// touched are the views that were touched, and wake the channels of who waited for
	// them.
	touched map[string]bool
	wake    []chan struct{}
}

func (t *tx) put(table string, row any) { must(t.Insert(table, row)) }

func (t *tx) event(kind, cluster, node, format string, args ...any) {
	t.events = append(t.events, Event{Index: t.index, Seq: len(t.events), UnixMilli: t.now, Type: kind,
		Cluster: cluster, Node: node, Message: fmt.Sprintf(format, args...)})
}

// recordEvents adds the newest events to the history and trims it. What a command of
// ten thousand nodes says first never gets into it.
func (t *tx) recordEvents() {
	if len(t.events) == 0 {
		return
	}
	var newest uint64
	if last, ok := last[*EventRow](t.Txn, tableEvents, "id"); ok {
		newest = last.Serial
	}
	newest += uint64(len(t.events))
	trim(t, tableEvents, "id", func(e *EventRow) bool { return e.Serial+keepEvents <= newest })
	first := max(0, len(t.events)-keepEvents)
	for i, e := range t.events[first:] {
		t.put(tableEvents, &EventRow{Serial: newest - uint64(len(t.events)-first-i-1), Event: e})
	}
}

// trim deletes rows from the front of an index for as long as they are old. It
// takes as long as there is to delete, however large the table is.
func trim[T any](t *tx, table, index string, old func(T) bool) {
	it, err := t.Get(table, index)
	must(err)
	// Deleted afterwards: a row that goes moves what the iterator stands on.
	var rows []T
	for row := it.Next(); row != nil && old(row.(T)); row = it.Next() {
		rows = append(rows, row.(T))
	}
	for _, row := range rows {
		must(t.Delete(table, row))
	}
}
