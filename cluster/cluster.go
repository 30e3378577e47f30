// Package cluster is a peer's place in the mesh: its identity, and the replicated
// log behind Propose and WhileLeader. It never looks into commands: the state
// machine is an opaque raft.FSM. Open starts the log's goroutines; Close stops them
// and waits.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"tenks/cluster/consensus"
	"tenks/cluster/gossip"
	"tenks/cluster/transport"
)

// Errors that callers branch on.
var (
	// ErrNotLeader says that nothing was proposed: another peer leads, or none, or the
	// log is closed.
	ErrNotLeader = consensus.ErrNotLeader
	// ErrUnknown says that leadership was lost while a command was in flight: it is
	// committed once, or never. Repeat it with the same request ID.
	ErrUnknown = consensus.ErrUnknown
	// ErrExists says that the directory holds a mesh already.
	ErrExists = errors.New("there is a mesh already")
	// ErrAbsent says that the directory holds no mesh, or a half-made one.
	ErrAbsent = errors.New("there is no mesh")
)

// Config of a Mesh.
type Config struct {
	// Dir is what Init or Join made.
	Dir string
	// FSM is the replicated state. Open replays into it. One that says how far it is
	// (Index() uint64) makes reads wait for no more than that.
	FSM raft.FSM
	// Answers carries what the state machine answered from the leader to other peers.
	Answers Answers
	// View returns what the state here says now. It must not block.
	View func() View
	// Admit lets a peer in that shows a token, in the log, or says why not. A repeat by
	// the same peer is no error.
	Admit func(ctx context.Context, a Admission) error
	// Roles records who has which part in the log. The leader calls it when that changed.
	Roles func(ctx context.Context, roles map[string]Role) error
	// Feed sends peers that do not follow the log their part of the state; nil: none get any.
	Feed Feeder
	// Listen is the host:port for other peers; port 0 takes a free one.
	Listen string
	// Gossip is the host:port of gossip; port 0 takes a free one.
	Gossip string
	// Advertise is the IP address or host name that other peers reach this one by.
	Advertise string
	// Facts are what gossip spreads of this peer.
	Facts gossip.Facts
	// Level is the newest format of the state that FSM knows: peers tell each other. Who knows
	// less than View.Level says has no part in the log.
	Level int
	// Rules are the times that roles go by; zero: the usual ones.
	Rules consensus.Rules
	// Net carries what peers say to each other; nil: the host's TCP.
	Net transport.Net
	// GossipNet carries gossip, which closes it; zero: TCP and UDP at Gossip.
	GossipNet gossip.Transport
	// Disk stands between Raft and its log, where tests let a disk fail. Nil: nothing does.
	Disk func(raft.LogStore) raft.LogStore
	// Snapshots say when the log becomes a snapshot; zero: the usual.
	Snapshots consensus.Snapshots
	Log       *slog.Logger
}

// Answers turns what a state machine answers into bytes and back.
type Answers interface {
	Encode(answer any) ([]byte, error)
	Decode(b []byte) (any, error)
}

// Mesh is this peer's part in a mesh. It is safe for concurrent use.
type Mesh struct {
	cfg Config
	id  string
	log *consensus.Log
	// files is what the directory said at Open.
	files membership
	// transport, gossip and rpc are nil in a mesh without a network.
	transport *transport.Transport
	gossip    *gossip.Gossip
	rpc       rpcClient
	leases    leases
	fence     fence
	// refused says that others do not accept this peer's certificate.
	refused  atomic.Bool
	verifier verifier
	gate     *gate

	// cancel ends work, which Close waits for.
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu sync.Mutex // guards what follows
	// certificate is the one in use.
	certificate *tls.Certificate
	// kept is what this peer goes by and has written down.
	kept membership
	// leased is when this peer asked for the lease that was confirmed last, also as the
	// time since the host booted.
	leased     time.Time
	leasedBoot time.Duration
	// led is who last answered as the leader, at ledAt.
	led   string
	ledAt time.Time
	// health is since when each peer answers, or does not.
	health map[string]health
}

// doneFile is written last by Init: a directory without it is half-made.
const doneFile = "initialised"

// Exists reports whether Init has made a mesh in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, doneFile))
	return err == nil
}

// Init makes a mesh of one in dir: the peer's key, the mesh's authority, and a log
// with one voter that begins with what first returns. After a crash half-way it may
// be repeated. Errors: ErrExists.
func Init(dir, mesh string, first func(Founding) ([][]byte, error)) error {
	if Exists(dir) {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	f, err := found(dir, mesh, time.Now())
	if err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	entries, err := first(f)
	if err != nil {
		return err
	}
	// Whatever a crash left of a log was never acknowledged.
	if err := os.RemoveAll(logDir(dir)); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	if err := consensus.Bootstrap(logDir(dir), f.Peer, entries...); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	return finish(dir, f.Peer)
}

// finish makes a directory whole.
func finish(dir, id string) error {
	if err := writeFile(filepath.Join(dir, doneFile), []byte(id+"\n")); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func logDir(dir string) string { return filepath.Join(dir, "raft") }

// Open starts this peer's part of the mesh. Errors: ErrAbsent.
func Open(ctx context.Context, c Config) (*Mesh, error) {
	if !Exists(c.Dir) {
		return nil, fmt.Errorf("%s: %w", c.Dir, ErrAbsent)
	}
	if err := advance(c.Dir); err != nil {
		return nil, err
	}
	id, err := readIdentity(c.Dir)
	if err != nil {
		return nil, err
	}
	m := &Mesh{cfg: c, id: id, verifier: verifier{wake: make(chan struct{}, 1)}, gate: newGate(c.Log), health: map[string]health{}}
	lc := consensus.Config{Dir: logDir(c.Dir), ID: id, FSM: c.FSM, Disk: c.Disk, Snapshots: c.Snapshots, Log: c.Log}
	if networked(c.Dir) {
		if err := m.openNetwork(ctx, &lc); err != nil && !m.alone(err) {
			return nil, err
		}
		if m.transport != nil && m.lookAround(ctx) {
			if err := m.closeNetwork(ctx); err != nil {
				return nil, err
			}
			return Open(ctx, c)
		}
	}
	if m.log, err = consensus.Open(lc); err != nil {
		return nil, errors.Join(err, m.closeNetwork(context.WithoutCancel(ctx)))
	}
	m.start(context.WithoutCancel(ctx))
	return m, nil
}

// alone says that a peer which cannot listen because its port is taken has nobody to
// listen for: it goes on without, and takes others in after a start with a free port.
func (m *Mesh) alone(err error) bool {
	if !errors.Is(err, syscall.EADDRINUSE) || len(m.files.Peers) > 1 {
		return false
	}
	m.cfg.Log.Warn("other peers cannot join this one", "err", err)
	m.transport, m.gossip = nil, nil
	return true
}

// Close hands leadership over, lets proposals that are under way finish, for a few
// seconds, stops everything and waits for it.
func (m *Mesh) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime) //nolint:forbidigo // there is no caller to wait for
	defer cancel()
	if len(m.log.Members()) > 1 && m.IsLeader() {
		if err := m.log.Transfer(ctx, ""); err != nil {
			m.cfg.Log.Warn("leadership not handed over", "err", err)
		}
	}
	m.cancel()
	err := m.log.Close()
	err = errors.Join(err, m.closeNetwork(ctx))
	m.work.Wait()
	return err
}

// closeTime bounds what Close does for others.
const closeTime = 10 * time.Second

// ID returns this peer's ID: a hash of its key.
func (m *Mesh) ID() string { return m.id }

// Barrier blocks until everything that was acknowledged before is applied here.
// Errors: ErrNotLeader.
func (m *Mesh) Barrier(ctx context.Context) error { return m.log.Barrier(ctx) }

// Leader returns the ID of the peer that leads, if one is known: by the log, or, where
// that leaves this peer out, by who answered as the leader a moment ago.
func (m *Mesh) Leader() (id string, ok bool) {
	if id, ok := m.log.Leader(); ok || m.log.Following() {
		return id, ok
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.led, m.led != "" && time.Since(m.ledAt) < ledTime
}

// ledTime is for how long who led may be taken to lead: some times what a lease takes.
const ledTime = 3 * leaseEvery

// forgetLeader says that a peer did not answer as the leader.
func (m *Mesh) forgetLeader(peer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.led == peer {
		m.led = ""
	}
}

// noteLeader remembers a peer that answered as the leader.
func (m *Mesh) noteLeader(peer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.led, m.ledAt = peer, time.Now()
}

// Applying is for how long a command has been being applied here; 0: none is.
func (m *Mesh) Applying() time.Duration { return m.log.Applying() }

// IsLeader reports whether this peer leads.
func (m *Mesh) IsLeader() bool { return m.log.IsLeader() }

// LastIndex is the index of the newest entry of the log here.
func (m *Mesh) LastIndex() uint64 { return m.log.LastIndex() }

// WhileLeader runs work whenever this peer leads and has applied everything that
// was acknowledged, under a context that ends with its leadership, and again with
// growing pauses if work fails. It blocks until ctx ends and work has returned; it
// returns nil then. Several may run at once.
func (m *Mesh) WhileLeader(ctx context.Context, work func(context.Context) error) error {
	return m.log.WhileLeader(ctx, work)
}
