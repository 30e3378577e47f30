package state

import (
	"errors"
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
	db, err := memdb.NewMemDB(schema())
	must(err)
	s := &Store{db: db}
	s.publish(0)
	return s
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
	s.current.Store(&version{
		snap:    &Snapshot{txn: s.db.Txn(false), index: index},
		changed: make(chan struct{}),
	})
	if old != nil {
		close(old.changed)
	}
}

// Apply records one command at a log index. The error is the command's own
// refusal: nothing but the index changed then.
func (s *Store) Apply(index uint64, e Envelope) error {
	txn := s.db.Txn(true)
	t := &tx{Txn: txn, index: index, now: e.UnixMilli}
	if e.Request != "" {
		if row, ok := first[*requestRow](txn, tableRequests, "id", e.Request); ok {
			txn.Abort()
			s.publish(index)
			return row.result()
		}
	}
	err := e.Command.apply(t)
	if err != nil {
		txn.Abort()
		txn = s.db.Txn(true)
		t = &tx{Txn: txn, index: index, now: e.UnixMilli}
	}
	if e.Request != "" {
		t.rememberRequest(e.Request, err)
	}
	t.trimEvents()
	txn.Commit()
	s.publish(index)
	return err
}

func (r *requestRow) result() error {
	switch r.Err {
	case "":
		return nil
	case ErrConflict.Error():
		return ErrConflict
	}
	return errors.New(r.Err)
}

// tx is a write transaction at one log index.
type tx struct {
	*memdb.Txn
	index uint64
	now   int64
	seq   int
}

func (t *tx) put(table string, row any) { must(t.Insert(table, row)) }

func (t *tx) event(kind, cluster, node, format string, args ...any) {
	t.put(tableEvents, &Event{Index: t.index, Seq: t.seq, UnixMilli: t.now, Type: kind,
		Cluster: cluster, Node: node, Message: fmt.Sprintf(format, args...)})
	t.seq++
}

func (t *tx) rememberRequest(id string, err error) {
	row := &requestRow{ID: id, Index: t.index}
	if err != nil {
		row.Err = err.Error()
		if errors.Is(err, ErrConflict) {
			row.Err = ErrConflict.Error()
		}
	}
	t.put(tableRequests, row)
	trim(t, tableRequests, "index", keepRequests)
}

func (t *tx) trimEvents() {
	if t.seq > 0 {
		trim(t, tableEvents, "id", keepEvents)
	}
}

// trim deletes the oldest rows of a table beyond keep.
func trim(t *tx, table, index string, keep int) {
	it, err := t.Get(table, index)
	must(err)
	var rows []any
	for row := it.Next(); row != nil; row = it.Next() {
		rows = append(rows, row)
	}
	for i := 0; i < len(rows)-keep; i++ {
		must(t.Delete(table, rows[i]))
	}
}
