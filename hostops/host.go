// Package hostops makes this host match what the mesh decided for it: it observes
// the host's links and its drivers' nodes, decides what differs (plan, pure), and
// carries that out in small steps that may be repeated. It owns the chassis of each
// node placed here (power, boot override, restore policy) and a bbolt file with what
// a chassis must remember.
//
// Open reads that file and starts nothing. Run reconciles until its context ends and
// has ended its goroutines when it returns. Power requests and reports go on in
// goroutines of their own; Close ends them and waits.
package hostops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// Timing of the reconciler.
const (
	// period is the longest time until drift is seen that nobody reported.
	period = 2 * time.Second
	// retryPass is the time until the next pass after one that could not be made.
	retryPass = time.Second
	// settle is how long changes are collected before they cause a pass.
	settle = 50 * time.Millisecond
	// rest is between a pass that changed something and the next one: its events and its
	// report, which both cause one, shall be out first.
	rest = 20 * time.Millisecond
	// watchPause is the time until a lost watch is begun again.
	watchPause = 500 * time.Millisecond
	// observeTimeout bounds what a hung driver may hold up a pass.
	observeTimeout = 10 * time.Second

	defaultParallel = 16
)

// Linker is the host's layer 2, as link.Host has it.
type Linker interface {
	// Observe returns all links.
	Observe(ctx context.Context) (link.Have, error)
	// Apply carries out one step; it may be repeated.
	Apply(ctx context.Context, s link.Step) error
	// Watch calls wake after every change until ctx ends (nil). wake does not block.
	Watch(ctx context.Context, wake func()) error
}

// Switcher is the host's Open vSwitch, as ovs.Host has it.
type Switcher interface {
	// Observe returns all bridges and ports; what cannot be known is in Have.Down.
	Observe(ctx context.Context) (ovs.Have, error)
	// Apply carries out one step; it may be repeated.
	Apply(ctx context.Context, s ovs.Step) error
	// Watch calls wake after every change until ctx ends (nil). wake does not block.
	Watch(ctx context.Context, wake func()) error
}

// Physnet is how this host has a physical network; the zero value: isolated.
type Physnet struct {
	// Device is an interface or bridge of the host; empty: none.
	Device string
	// VLAN is one of Device's; 0: its untagged frames.
	VLAN int
	// VNI is that of an overlay between the hosts, without Device; 0: it is none.
	VNI int
	// MTU is in bytes; 0: worked out.
	MTU int
}

// Config says what a Host is of. All fields are required unless they say otherwise.
type Config struct {
	// Hypervisor is this peer's ID.
	Hypervisor string
	// Mesh is the mesh's ID.
	Mesh string
	// Since is the log index that the mesh's generation began at. Nodes from before that
	// the state does not know are left alone.
	Since  uint64
	Source reconcile.Source
	// Report proposes statuses. It gets only those that changed, many at a time, from
	// one goroutine at a time; what it returns an error for is reported again.
	Report func(ctx context.Context, nodes []state.NodeHostReport) error
	// Discarded proposes that nodes which this host was to delete are gone. Optional.
	Discarded func(ctx context.Context, nodes []string) error
	// Drivers are this host's drivers by name.
	Drivers map[string]driver.Driver
	// Health says of a driver why it does not answer now, or nil. Optional, and for
	// each driver.
	Health map[string]func() error
	Links  Linker
	// Switches is the host's Open vSwitch; nil: it has none.
	Switches Switcher
	// OVS has bridges of Open vSwitch made instead of Linux bridges, with Datapath, which is
	// one of ovs.DatapathSystem and ovs.DatapathNetdev.
	OVS      bool
	Datapath string
	// Physnets are those that this host offers, by name.
	Physnets map[string]Physnet
	// VXLAN is where overlays end here: an IP address of this host and a UDP port. Required
	// if a physnet is one.
	VXLAN state.Endpoint
	// DB is the path of a file of our own, in a directory that exists.
	DB string
	// BootID identifies the host's present boot. When it changed since a node was
	// last looked after, the node's restore policy applies.
	BootID string
	// Ready says why a node is not usable yet although it exists, such as a BMC that
	// does not listen, or nil. Optional.
	Ready func(n *state.Node) error
	// LeaseAge is the time since this peer asked for the last lease that the mesh confirmed,
	// counted while the host sleeps, too; false: none was since the agent started. Nil:
	// no node is stopped for want of a lease.
	LeaseAge func() (age time.Duration, ok bool)
	// Confirm returns once Source has everything that was acknowledged before the call.
	// Required with LeaseAge.
	Confirm func(ctx context.Context) error
	// Kill ends what embodies a node although its driver does not answer, and reports whether
	// there was anything and is no longer. Optional.
	Kill func(uuid string) (bool, error)
	// LeaseFile is the path of a file of our own for the last lease; empty: it is not kept.
	LeaseFile string
	// MediaDir is a directory of our own for images in nodes' CD-ROM drives, an absolute
	// path; it is made when it is needed. Empty: the drives take none.
	MediaDir string
	// MediaLimit is how large an image may be, in bytes; 0: 16 GiB.
	MediaLimit uint64
	// MediaLocal lets images come from addresses of the host itself (loopback) and of its
	// links only (link-local).
	MediaLocal bool
	// Parallel bounds how many nodes are worked on at a time; 0: 16.
	Parallel int
	Log      *slog.Logger

	// clock takes the place of the time since the host booted in tests.
	clock func() time.Duration
}

// Stats counts what a Host did since Open.
type Stats struct {
	// Passes are reconcile passes.
	Passes uint64
	// DriverWrites are calls that the reconciler made to change something at a
	// driver, LinkWrites those to links. Power requests of clients are not among them.
	DriverWrites, LinkWrites uint64
	// PowerRequests are power calls to drivers, whoever asked.
	PowerRequests uint64
}

// Host is this host's reconciler. It is safe for concurrent use, but for Pass.
type Host struct {
	cfg   Config
	log   *slog.Logger
	store *store
	// wake asks Run for a pass; size 1: a signal.
	wake    chan struct{}
	waking  atomic.Bool
	reports reporter
	fence   *fence
	events  announcer
	fetcher fetcher
	clear   clearing
	// switched says whether anything of ours may be in Open vSwitch.
	switched switchMemory

	// discarding says that a report of deleted nodes is on its way.
	discarding atomic.Bool

	passes, driverWrites, linkWrites, powerRequests atomic.Uint64

	// life guards closed. It is apart from mu because a chassis starts a goroutine
	// while it holds its own lock.
	life   sync.Mutex
	closed bool
	// work are the goroutines of power requests and reports.
	work sync.WaitGroup

	// mu guards chassis, and quarantine and all below, which are what the last pass found.
	mu         sync.Mutex
	chassis    map[string]*Chassis
	quarantine []Quarantined
	mtus       map[string]int
	exposed    []Exposed
	shared     []SharedBridge
	// guessed are the physnets of which mtus has no more than a guess.
	guessed map[string]bool
	missing []Missing

	// What follows belongs to Pass.

	// bridges is the index of each physnet's bridge as the store has it.
	bridges map[string]int
	// adopted are the addresses of bridges that were taken over, as the store has them.
	adopted map[string]string
	// trials are nodes whose last work failed.
	trials map[string]trial
	// stuck are steps of the host that failed.
	stuck map[string]trial
	// unready says since when a node misses nothing but Config.Ready.
	unready map[string]time.Time
	// logged is what was last logged as being wrong, so that it is logged once.
	logged map[string]string
}

// Open reads what is remembered of this host's nodes.
func Open(c Config) (*Host, error) {
	if c.Parallel <= 0 {
		c.Parallel = defaultParallel
	}
	s, err := openStore(c.DB)
	if err != nil {
		return nil, fmt.Errorf("host database %s: open: %w", c.DB, err)
	}
	h := &Host{
		cfg: c, log: c.Log, store: s, wake: make(chan struct{}, 1),
		reports: reporter{report: c.Report, log: c.Log, queue: map[string]state.NodeHostReport{}, sent: map[string]sentReport{}},
		fence:   newFence(c.clock), chassis: map[string]*Chassis{}, trials: map[string]trial{}, stuck: map[string]trial{}, unready: map[string]time.Time{}, logged: map[string]string{},
	}
	h.events.start = h.start
	h.fetcher = fetcher{limit: cmp.Or(c.MediaLimit, defaultMediaLimit), local: c.MediaLocal, stall: fetchStall, room: roomIn}
	if err := h.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("host database %s: %w", c.DB, err), s.close())
	}
	return h, nil
}

func (h *Host) load() error {
	rows, err := h.store.rows()
	if err != nil {
		return err
	}
	for uuid, r := range rows {
		h.chassis[uuid] = newChassis(h, uuid, r)
	}
	memories, err := h.store.memories()
	if err != nil {
		return err
	}
	for uuid, memory := range memories {
		h.chassisNamed(uuid).memory = memory
	}
	if h.bridges, err = h.store.bridges(); err != nil {
		return err
	}
	if h.adopted, err = h.store.adopted(); err != nil {
		return err
	}
	if err := errors.Join(h.loadCleared(), h.switched.load(h.store)); err != nil {
		return err
	}
	if err := h.sweepMedia(); err != nil {
		return err
	}
	return h.fence.load(h.cfg.LeaseFile, h.cfg.BootID)
}

// Close ends power requests that are under way, waits for them, and closes the
// file. Run must have returned.
func (h *Host) Close() error {
	h.life.Lock()
	h.closed = true
	h.life.Unlock()
	for _, c := range h.all() {
		c.stop()
	}
	h.work.Wait()
	return h.store.close()
}

// start runs do in a goroutine that Close waits for; it reports whether it did.
func (h *Host) start(do func()) bool {
	h.life.Lock()
	defer h.life.Unlock()
	if !h.closed {
		h.work.Go(do)
	}
	return !h.closed
}

// Run reconciles until ctx ends; it returns nil then.
func (h *Host) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	loop := &reconcile.Loop{Name: "host", Source: h.cfg.Source, Do: h.passAndRest,
		Period: period, Retry: retryPass, Wake: h.wake, Log: h.log}
	g.Go(func() error { return loop.Run(ctx) })
	g.Go(func() error { return h.guard(ctx) })
	g.Go(func() error { return h.measure(ctx) })
	g.Go(func() error {
		return h.rewatch(ctx, "links", func(ctx context.Context) error { return h.cfg.Links.Watch(ctx, h.wakeSoon) })
	})
	if h.cfg.Switches != nil {
		g.Go(func() error {
			return h.rewatch(ctx, "open vswitch", func(ctx context.Context) error { return h.cfg.Switches.Watch(ctx, h.wakeSoon) })
		})
	}
	for name, d := range h.cfg.Drivers {
		g.Go(func() error {
			return h.rewatch(ctx, "driver "+name, func(ctx context.Context) error {
				return d.Watch(ctx, func(e driver.Event) { h.event(ctx, e) })
			})
		})
	}
	return g.Wait()
}

// passAndRest is a Pass of the loop.
func (h *Host) passAndRest(ctx context.Context, snap *state.Snapshot) error {
	before := h.linkWrites.Load() + h.driverWrites.Load()
	err := h.Pass(ctx, snap)
	if h.linkWrites.Load()+h.driverWrites.Load() == before {
		return err
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return err
}

// rewatch repeats a watch until ctx ends. A loss is logged once until its reason
// changes.
func (h *Host) rewatch(ctx context.Context, what string, watch func(context.Context) error) error {
	last := ""
	for {
		err := watch(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it was told to
		}
		if err != nil && err.Error() != last {
			last = err.Error()
			h.log.WarnContext(ctx, "watch lost; will begin again", "watch", what, "err", err)
		}
		timer := time.NewTimer(watchPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		h.wakeSoon()
	}
}

// wakeSoon asks for a pass. It does not block; many calls make one pass.
func (h *Host) wakeSoon() { h.wakeIn(settle) }

func (h *Host) wakeIn(d time.Duration) {
	if !h.waking.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(d, func() {
		h.waking.Store(false)
		select {
		case h.wake <- struct{}{}:
		default:
		}
	})
}

// Stats returns what was done so far.
func (h *Host) Stats() Stats {
	return Stats{Passes: h.passes.Load(), DriverWrites: h.driverWrites.Load(),
		LinkWrites: h.linkWrites.Load(), PowerRequests: h.powerRequests.Load()}
}

// Chassis returns the chassis of a node that is placed here.
func (h *Host) Chassis(uuid string) (*Chassis, bool) {
	if c, ok := h.known(uuid); ok {
		return c, true
	}
	snap, _ := h.cfg.Source.Snapshot()
	n, ok := snap.Node(uuid)
	if !ok || n.Placement == nil || n.Placement.Hypervisor != h.cfg.Hypervisor {
		return nil, false
	}
	return h.chassisOf(n), true
}

func (h *Host) known(uuid string) (*Chassis, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.chassis[uuid]
	return c, ok && c.driverName() != ""
}

// all returns every chassis, also of nodes that are not placed here.
func (h *Host) all() map[string]*Chassis {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.chassis)
}

// chassisOf returns the node's chassis, a new one if it has none yet.
func (h *Host) chassisOf(n *state.Node) *Chassis {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chassisNamed(n.UUID)
	c.placed(n.Machine)
	return c
}

// chassisNamed is chassisOf without a driver; h.mu is held.
func (h *Host) chassisNamed(uuid string) *Chassis {
	c, ok := h.chassis[uuid]
	if !ok {
		c = newChassis(h, uuid, newRow(h.cfg.BootID))
		h.chassis[uuid] = c
	}
	return c
}

// forget drops a chassis and what is remembered of it.
func (h *Host) forget(ctx context.Context, uuid string) {
	h.mu.Lock()
	c := h.chassis[uuid]
	delete(h.chassis, uuid)
	h.mu.Unlock()
	if c == nil {
		return
	}
	c.stop()
	if err := c.drop(ctx); err != nil {
		h.log.WarnContext(ctx, "chassis not forgotten", "node", uuid, "err", err)
	}
}

// Power returns a node's power state; PowerUnknown if it is not known.
func (h *Host) Power(uuid string) state.Power {
	c, ok := h.known(uuid)
	if !ok {
		return state.PowerUnknown
	}
	return c.Status().Power
}

// Powers returns the power state of every node here.
func (h *Host) Powers() map[string]state.Power {
	all := h.all()
	powers := make(map[string]state.Power, len(all))
	for uuid, c := range all {
		if c.driverName() != "" {
			powers[uuid] = c.Status().Power
		}
	}
	return powers
}

// driverOf returns a driver that answers. Errors: state.ErrUnsupported if this host
// has no such driver, state.ErrBusy.
func (h *Host) driverOf(name string) (driver.Driver, error) {
	d, ok := h.cfg.Drivers[name]
	if !ok {
		return nil, fmt.Errorf("driver %q: %w: this host has no such driver", name, state.ErrUnsupported)
	}
	if healthy := h.cfg.Health[name]; healthy != nil {
		if err := healthy(); err != nil {
			return nil, fmt.Errorf("driver %s: %w: %w", name, state.ErrBusy, err)
		}
	}
	return d, nil
}
