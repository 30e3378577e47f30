// Package gossip knows which peers are there, how they are reached, and static facts
// of each: memberlist behind our own values. Open listens on one port, TCP and UDP,
// and starts what runs; Close stops it and waits.
//
// Whoever has the key can say anything here, of any peer. What decides over nodes
// must not rest on it.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds, in bytes: of an ID, of a key, and of the label that the mesh ID becomes
// (memberlist allows 255).
const (
	maxID    = 128
	keySize  = 32
	maxLabel = 253
)

// leaveTime bounds Leave if its context does not.
const leaveTime = 10 * time.Second

// ErrClosed is returned after Close.
var ErrClosed = errors.New("gossip is closed")

// Config of a Gossip. ID, Bind and Keys are required.
type Config struct {
	// ID is this peer's.
	ID string
	// Mesh is the mesh's ID: peers of another one are not heard.
	Mesh string
	// Bind is the host:port to listen at, TCP and UDP. Port 0: any that is free.
	Bind string
	// Advertise is the host, or host:port, by which others reach this peer. Empty: that
	// of Bind or, if it listens everywhere, the first private address of the host.
	Advertise string
	// Keys are of 32 bytes. The first encrypts; each one decrypts.
	Keys [][]byte
	// Facts are what is spread first.
	Facts Facts
	// Allowed says whether a peer may come. Nil: all may. It must neither block nor call
	// Gossip, and is called by several goroutines.
	Allowed func(id string) bool
	// Known returns the gossip addresses of peers that should be there. They are tried
	// until they are. Nil: none. It is called by one goroutine.
	Known func() []string
	// Transport carries everything. Zero: TCP and UDP at Bind.
	Transport Transport
	// Timing may be left zero, in whole or in parts.
	Timing Timing
	// Log may be nil.
	Log *slog.Logger
}

// Timing is how fast things go. Zero values mean those of a LAN, which are named.
type Timing struct {
	// Probe is how often another peer is asked whether it is there (1 s), and ProbeTimeout
	// how long it may take to say so by UDP (500 ms). Death is seen after about 4 Probes,
	// at most 24; in a large mesh some times that.
	Probe, ProbeTimeout time.Duration
	// Gossip is how often news is passed on (200 ms).
	Gossip time.Duration
	// PushPull is how often everything is exchanged with some peer (30 s; less often from
	// 32 peers on).
	PushPull time.Duration
	// Dead is how long the dead are still told that they are thought dead (30 s).
	Dead time.Duration
	// Reclaim is how long a peer must be dead before it may have another address (30 s).
	// One that left may at once.
	Reclaim time.Duration
	// Rejoin is how often peers are tried that should be there and are not (30 s).
	Rejoin time.Duration
	// Capacity is how often FreeEighths is spread at most (60 s; five times that from 500
	// peers on).
	Capacity time.Duration
	// Stream bounds each connection (10 s).
	Stream time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		have *time.Duration
		lan  time.Duration
	}{
		{&t.Probe, time.Second},
		{&t.ProbeTimeout, 500 * time.Millisecond},
		{&t.Gossip, 200 * time.Millisecond},
		{&t.PushPull, 30 * time.Second},
		{&t.Dead, 30 * time.Second},
		{&t.Reclaim, 30 * time.Second},
		{&t.Rejoin, 30 * time.Second},
		{&t.Capacity, 60 * time.Second},
		{&t.Stream, 10 * time.Second},
	} {
		if *d.have <= 0 {
			*d.have = d.lan
		}
	}
	return t
}

// Gossip is this peer's part in the gossip. It is safe for concurrent use.
type Gossip struct {
	config    Config
	log       *slog.Logger
	list      *memberlist.Memberlist
	keys      *keys
	transport *transport
	table     *table
	lines     *lines
	clones    *clones
	published *publisher
	refused   refusals

	// run ends with Close; work is what has to end before Close returns.
	run  context.Context //nolint:containedctx // its life is that of the Gossip, and Close ends it
	stop context.CancelFunc
	work sync.WaitGroup

	// life guards closed, and against leaving what was shut down, which panics. Close
	// waits for it.
	life   sync.Mutex
	closed bool
	// starting guards ended: after it, work gets no more.
	starting sync.Mutex
	ended    bool
}

// Open listens and begins to answer. Nobody is asked yet: that is Join, and what Known
// names. Errors: what Config lacks, or that the address is taken.
func Open(c Config) (*Gossip, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	c.Timing = c.Timing.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gossip{config: c, log: c.Log.With("part", "gossip"), table: newTable(c.ID)}
	g.run, g.stop = context.WithCancel(context.Background()) //nolint:forbidigo // what runs ends with Close
	if err := g.open(); err != nil {
		g.stop()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return g, nil
}

func (c Config) validate() error {
	var errs []error
	if c.ID == "" || len(c.ID) > maxID {
		errs = append(errs, fmt.Errorf("id %q: want 1 to %d bytes", c.ID, maxID))
	}
	if c.Bind == "" && c.Transport.Packets == nil {
		errs = append(errs, errors.New("bind: no address"))
	}
	return errors.Join(append(errs, validateKeys(c.Keys))...)
}

func (g *Gossip) open() error {
	var err error
	if g.keys, err = newKeys(g.config.Keys); err != nil {
		return err
	}
	if g.transport, err = openTransport(g.run, g.config); err != nil {
		return err
	}
	g.lines = newLines(g.log)
	g.clones = newClones()
	g.published = newPublisher(g.config.Facts)
	g.table.publish(g.published.edition())
	if g.list, err = memberlist.Create(g.settings()); err != nil {
		return errors.Join(err, g.transport.Shutdown())
	}
	g.work.Go(g.publishLoop) // these end with run
	g.work.Go(g.rejoinLoop)
	g.work.Go(g.cloneLoop)
	return nil
}

// settings are memberlist's for a LAN, and ours.
func (g *Gossip) settings() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	t := g.config.Timing
	c.Name, c.Label = g.config.ID, label(g.config.Mesh)
	c.Transport, c.LogOutput = g.transport, g.lines
	c.BindPort, c.AdvertisePort = int(g.transport.advertise.Port()), int(g.transport.advertise.Port())
	c.Keyring = g.keys.ring
	c.ProbeInterval, c.ProbeTimeout = t.Probe, t.ProbeTimeout
	c.GossipInterval, c.GossipToTheDeadTime = t.Gossip, t.Dead
	c.PushPullInterval, c.TCPTimeout = t.PushPull, t.Stream
	// LZW for each packet costs more than the few bytes of facts are worth.
	c.EnableCompression = false
	c.DeadNodeReclaimTime, c.RequireNodeNames = t.Reclaim, true
	d := delegate{g}
	c.Delegate, c.Events, c.Conflict, c.Merge, c.Alive = d, d, d, d, d
	return c
}

func label(mesh string) string { return mesh[:min(len(mesh), maxLabel)] }

// Addr is the host:port by which others reach this peer.
func (g *Gossip) Addr() string { return g.transport.advertise.String() }

// Peers are those that are there and those that were seen to die or leave, this one
// among them, sorted by ID. The caller may keep and change what it gets.
func (g *Gossip) Peers() []Peer { return g.table.peers() }

// Changed returns a channel that is closed when Peers next changes.
func (g *Gossip) Changed() <-chan struct{} { return g.table.changes() }

// Leave tells the others that this peer goes on purpose, and returns when some of them
// were told; without a deadline, after ten seconds at the latest. It can't come back
// afterwards: what is left is Close. It may be repeated.
func (g *Gossip) Leave(ctx context.Context) error {
	limit := leaveTime
	if at, ok := ctx.Deadline(); ok {
		limit = max(min(limit, time.Until(at)), time.Millisecond)
	}
	done := make(chan error, 1)
	if !g.start(func() { done <- g.leave(limit) }) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("gossip: leave: %w", ctx.Err())
	}
}

// leave first spreads that this peer will leave: what memberlist tells its listeners
// does not say whether a peer left or died.
func (g *Gossip) leave(limit time.Duration) error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed {
		return ErrClosed
	}
	if g.published.leave() {
		g.table.publish(g.published.edition())
		_ = g.list.UpdateNode(limit / 2) // too late to be told is no reason to stay
	}
	if err := g.list.Leave(limit / 2); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close stops everything without a word to the others, who will see a death unless
// Leave came first. It waits for all goroutines but memberlist's own probe, which ends
// within its interval and does nothing any more. It may be repeated.
func (g *Gossip) Close() error {
	g.starting.Lock()
	g.ended = true
	g.starting.Unlock()
	g.stop()
	err := g.shutdown()
	g.work.Wait()
	g.table.close()
	return err
}

func (g *Gossip) shutdown() error {
	g.life.Lock()
	defer g.life.Unlock()
	g.closed = true
	g.lines.close()
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("gossip: close: %w", err)
	}
	return nil
}

// start runs f unless Close began, which waits for it.
func (g *Gossip) start(f func()) bool {
	g.starting.Lock()
	defer g.starting.Unlock()
	if !g.ended {
		g.work.Go(f)
	}
	return !g.ended
}
