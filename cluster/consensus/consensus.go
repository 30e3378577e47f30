// Package consensus wires hashicorp/raft: stores, bootstrap, proposals, leadership.
// Open starts Raft; Close stops it and waits.
package consensus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
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

// drainTime bounds how long Close waits for proposals that are under way.
const drainTime = 5 * time.Second

// Config of a Log.
type Config struct {
	// Dir is what Bootstrap made.
	Dir string
	// ID is this peer's ID, its server ID in Raft.
	ID string
	// FSM is the state machine. ReadIndex is exact after a snapshot was restored, too,
	// if it has a method Index() uint64: the index of the newest entry it has seen.
	FSM raft.FSM
	// Network reaches the other peers. Nil: there are none, and nothing listens. It is
	// for this Log alone; who made it closes it, and what it accepted, after the Log.
	Network Network
	// Stalled is told when the disk hangs, and when it goes on: then this peer must
	// leave the network and return to it, for Raft would go on leading. In between the
	// Log does not lead. It is called by one goroutine at a time, must not wait for
	// the Log, and may be called until Close returns. Optional: nothing is watched.
	Stalled func(bool)
	// Disk stands between Raft and its log, where tests let a disk fail. Nil: nothing does.
	Disk func(raft.LogStore) raft.LogStore
	// Snapshots say when the log becomes a snapshot; zero: the usual.
	Snapshots Snapshots
	Log       *slog.Logger

	// transport takes Network's place in tests.
	transport raft.Transport
	// stall is how long a write may take; 0: stallTime.
	stall time.Duration
}

// Snapshots say when the log becomes a snapshot. Zero values mean the usual.
type Snapshots struct {
	// Interval is how often it is looked whether there are Threshold new entries.
	Interval  time.Duration
	Threshold uint64
	// Trailing is how many entries are kept behind a snapshot, for peers that lag.
	Trailing uint64
}

// Log is the replicated log. It is safe for concurrent use.
type Log struct {
	raft   *raft.Raft
	self   raft.ServerID
	fsm    *indexed
	stores *stores
	out    *slog.Logger
	// transport is closed after Raft.
	transport raft.Transport
	// watch ends when notify is closed.
	notify chan bool
	watch  sync.WaitGroup
	// stopped is closed once Raft has ended, which does not answer every proposal.
	stopped chan struct{}

	// retiming orders changes of Raft's timeouts.
	retiming sync.Mutex

	// mu guards what follows. changed is closed when won or hung changes.
	mu      sync.Mutex
	changed chan struct{}
	// won is what Raft says of this peer; hung, that nothing can be written, or that
	// Raft has not yet found out whether another leads since then. hangs counts.
	won, hung bool
	hangs     int
	// closed refuses new proposals; inflight counts those under way.
	closed   bool
	inflight sync.WaitGroup
	// failed is the term in which a transfer of leadership last failed, and until when
	// there is no other one in it.
	failed struct {
		term  uint64
		until time.Time
	}
	// barred is the newest term in which a barrier was passed.
	barred uint64
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
		BoltOptions:             &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: 2 * time.Second},
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

// Bootstrap writes a log with one voter and its first entries, committed once Open
// elects that voter. It is durable when Bootstrap returns.
func Bootstrap(dir, id string, first ...[]byte) error {
	return bootstrap(dir, []string{id}, first...)
}

// Prepare makes an empty log, which waits for a leader to fill it.
func Prepare(dir string) error {
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(s.bolt.Close(), syncDir(dir))
}

func bootstrap(dir string, voters []string, first ...[]byte) error {
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var c raft.Configuration
	for _, id := range voters {
		// The address is the ID: who listens where is looked up by ID.
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	entries := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)},
	}
	for i, command := range first {
		entries = append(entries, &raft.Log{Index: uint64(i + 2), Term: 1, Type: raft.LogCommand, Data: command})
	}
	err = errors.Join(s.bolt.SetUint64([]byte("CurrentTerm"), 1), s.bolt.StoreLogs(entries))
	if err = errors.Join(err, s.bolt.Close(), syncDir(dir)); err != nil {
		return fmt.Errorf("log: bootstrap: %w", err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open starts Raft on what Bootstrap made.
func Open(c Config) (*Log, error) {
	s, err := openStores(c.Dir, c.Log)
	if err != nil {
		return nil, err
	}
	switch {
	case c.transport != nil:
	case c.Network != nil:
		c.transport = newTransport(c.ID, c.Network, c.Log)
	default:
		_, c.transport = raft.NewInmemTransport(raft.ServerAddress(c.ID))
	}
	l := &Log{self: raft.ServerID(c.ID), fsm: &indexed{FSM: c.FSM}, stores: s, out: c.Log, transport: c.transport,
		notify: make(chan bool, 8), stopped: make(chan struct{}), changed: make(chan struct{})}
	if c.Disk != nil {
		s.logs = c.Disk(s.logs)
	}
	if c.Stalled != nil {
		s.logs = &stallStore{LogStore: s.logs, limit: cmp.Or(c.stall, stallTime), stalled: func(hangs bool) {
			l.setHung(hangs)
			c.Stalled(hangs)
		}}
	}
	config, err := l.configure(c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", err), closeTransport(c.transport), s.bolt.Close())
	}
	r, err := raft.NewRaft(config, l.fsm, s.logs, s.bolt, s.snapshots, c.transport)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", err), closeTransport(c.transport), s.bolt.Close())
	}
	l.mu.Lock() // Raft's own goroutines may already call setHung
	l.raft = r
	l.mu.Unlock()
	l.watch.Go(l.watchLeadership) // ends in Close
	l.watch.Go(l.noticeSilence)   // ends in Close
	return l, nil
}

// configure returns Raft's settings for as many voters as there are.
func (l *Log) configure(c Config) (*raft.Config, error) {
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(c.ID)
	config.SnapshotInterval = cmp.Or(c.Snapshots.Interval, snapshotInterval)
	config.SnapshotThreshold = cmp.Or(c.Snapshots.Threshold, snapshotThreshold)
	config.TrailingLogs = cmp.Or(c.Snapshots.Trailing, trailingLogs)
	config.BatchApplyCh, config.NoLegacyTelemetry, config.ShutdownOnRemove = true, true, false
	config.Logger = leveled(c.Log)
	// Only a copy is looked through: the state machine must not see the snapshot twice.
	peek := *config
	peek.NoSnapshotRestoreOnStart, peek.Logger = true, hclog.NewNullLogger()
	members, err := raft.GetConfiguration(&peek, c.FSM, l.stores.logs, l.stores.bolt, l.stores.snapshots, c.transport)
	if err != nil {
		return nil, fmt.Errorf("who votes: %w", err)
	}
	t := timingFor(members, config.LocalID)
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = t.heartbeat, t.election, t.lease
	config.NotifyCh = l.notify
	return config, nil
}

// timing is how soon the lack of a leader is noticed.
type timing struct{ heartbeat, election, lease time.Duration }

// leaderLease is how long a leader that hears from no majority goes on leading. It
// cannot change while Raft runs, and so is the same for one voter and for several.
const leaderLease = 500 * time.Millisecond

// timingFor: a mesh of one needs no time to find out that nobody else leads. Among
// several, a host that is busy with its guests must not lose its leadership for it;
// a new leader is there within two seconds (noticeSilence). A log that waits for its first entries
// is one among several.
func timingFor(c raft.Configuration, self raft.ServerID) timing {
	if len(c.Servers) == 1 && c.Servers[0].ID == self {
		return timing{leaderLease, leaderLease, leaderLease}
	}
	return timing{time.Second, time.Second, leaderLease}
}

// Close lets proposals that are under way finish, for a while, stops Raft and waits
// for it. Closing again does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	drained := make(chan struct{})
	go func() { l.inflight.Wait(); close(drained) }() // awaited below
	waitFor(drained, drainTime)
	err := l.raft.Shutdown().Error()
	close(l.stopped)
	close(l.notify)
	l.watch.Wait()
	if !waitFor(drained, drainTime) {
		err = errors.Join(err, errors.New("log: proposals are left without an answer"))
	}
	return errors.Join(err, closeTransport(l.transport), l.stores.bolt.Close())
}

func closeTransport(t raft.Transport) error {
	if n, ok := t.(*raft.NetworkTransport); ok {
		n.CloseStreams() // Close leaves the connections it keeps
	}
	if c, ok := t.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}

// waitFor reports whether done was closed in time.
func waitFor(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// LastIndex is the index of the newest entry.
func (l *Log) LastIndex() uint64 { return l.raft.LastIndex() }
