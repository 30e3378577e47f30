// Package consensus wires hashicorp/raft: stores, bootstrap, leadership. Open
// starts Raft; Close stops it and waits.
package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// Errors of Propose and Barrier; package cluster says what they mean.
var (
	ErrNotLeader = errors.New("this peer does not lead")
	ErrUnknown   = errors.New("leadership was lost meanwhile: the change may or may not have been made")
)

// How the log is kept. Snapshots are taken when this many entries are new; so many
// are kept beyond one for peers that lag.
const (
	snapshotThreshold = 8192
	snapshotInterval  = 2 * time.Minute
	trailingLogs      = 20480
	snapshotsKept     = 3
	logCacheSize      = 512
)

// A mesh of one needs no time to find out that nobody else leads.
const (
	soloTimeout = 100 * time.Millisecond
	soloLease   = 50 * time.Millisecond
)

// Config of a Log.
type Config struct {
	// Dir is what Bootstrap made.
	Dir string
	// ID is this peer's ID, its server ID in Raft.
	ID  string
	FSM raft.FSM
	Log *slog.Logger
}

// Log is the replicated log. It is safe for concurrent use.
type Log struct {
	raft   *raft.Raft
	stores *stores
	// watch ends when notify is closed.
	notify chan bool
	watch  sync.WaitGroup

	// mu guards leads and changed, which is closed when leads changes.
	mu      sync.Mutex
	leads   bool
	changed chan struct{}
}

type stores struct {
	bolt      *raftboltdb.BoltStore
	logs      raft.LogStore
	snapshots raft.SnapshotStore
}

func openStores(dir string, out *slog.Logger) (*stores, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(dir, "raft.db"),
		// The freelist is rebuilt on open: written with every commit it grows with the
		// file.
		BoltOptions:             &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: 5 * time.Second},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, fmt.Errorf("log: %s: %w", dir, err)
	}
	logs, err := raft.NewLogCache(logCacheSize, bolt)
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, leveled(out))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log: snapshots: %w", err), bolt.Close())
	}
	return &stores{bolt: bolt, logs: logs, snapshots: snapshots}, nil
}

// Bootstrap writes a log with one voter and one entry, committed once Open elects
// that voter.
func Bootstrap(dir, id string, first []byte) error {
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	c := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)}}}
	entries := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)},
		{Index: 2, Term: 1, Type: raft.LogCommand, Data: first},
	}
	err = errors.Join(s.bolt.SetUint64([]byte("CurrentTerm"), 1), s.bolt.StoreLogs(entries))
	if err = errors.Join(err, s.bolt.Close()); err != nil {
		return fmt.Errorf("log: bootstrap: %w", err)
	}
	return nil
}

// Open starts Raft on what Bootstrap made.
func Open(c Config) (*Log, error) {
	s, err := openStores(c.Dir, c.Log)
	if err != nil {
		return nil, err
	}
	// The address is the ID: who listens where is looked up by ID.
	_, transport := raft.NewInmemTransport(raft.ServerAddress(c.ID))
	l := &Log{stores: s, notify: make(chan bool, 8), changed: make(chan struct{})}
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(c.ID)
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = soloTimeout, soloTimeout, soloLease
	config.SnapshotThreshold, config.SnapshotInterval, config.TrailingLogs = snapshotThreshold, snapshotInterval, trailingLogs
	config.BatchApplyCh, config.NoLegacyTelemetry, config.ShutdownOnRemove = true, true, false
	config.NotifyCh = l.notify
	config.Logger = leveled(c.Log)
	l.watch.Go(l.watchLeadership) // ends in Close
	l.raft, err = raft.NewRaft(config, c.FSM, s.logs, s.bolt, s.snapshots, transport)
	if err != nil {
		close(l.notify)
		l.watch.Wait()
		return nil, errors.Join(fmt.Errorf("log: %w", err), s.bolt.Close())
	}
	return l, nil
}

// Close stops Raft and waits for it.
func (l *Log) Close() error {
	err := l.raft.Shutdown().Error()
	close(l.notify)
	l.watch.Wait()
	return errors.Join(err, l.stores.bolt.Close())
}

// watchLeadership turns Raft's notices into a state that can be waited for.
func (l *Log) watchLeadership() {
	for leads := range l.notify {
		l.mu.Lock()
		// A loss and a win at once are a change, too: work of the old term must end.
		close(l.changed)
		l.leads, l.changed = leads, make(chan struct{})
		l.mu.Unlock()
	}
}

// Leading reports whether this peer leads, and returns a channel that is closed
// when that may have changed.
func (l *Log) Leading() (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leads, l.changed
}

// IsLeader reports whether this peer leads.
func (l *Log) IsLeader() bool { return l.raft.State() == raft.Leader }

// Leader returns the ID of the peer that leads, if one is known.
func (l *Log) Leader() (string, bool) {
	_, id := l.raft.LeaderWithID()
	return string(id), id != ""
}

// LastIndex is the index of the newest entry.
func (l *Log) LastIndex() uint64 { return l.raft.LastIndex() }

// Propose commits a command and returns what the FSM answered.
func (l *Log) Propose(ctx context.Context, command []byte) (any, error) {
	f := l.raft.Apply(command, timeLeft(ctx))
	if err := wait(ctx, f); err != nil {
		return nil, err
	}
	return f.Response(), nil
}

// Barrier blocks until everything committed before is applied.
func (l *Log) Barrier(ctx context.Context) error { return wait(ctx, l.raft.Barrier(timeLeft(ctx))) }

// timeLeft bounds how long an entry may wait to be taken; 0: for ever.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return 0
}

// wait waits for a future; after ctx has ended its outcome is not known.
func wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }() // ends with the entry, at the latest when Raft stops
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}
