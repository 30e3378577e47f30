package hostops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Timing of the guard over nodes that are made anew elsewhere when this host is lost;
// state.FenceMargin says why that is safe.
const (
	// guardEvery is how often the guard looks at the lease.
	guardEvery = 500 * time.Millisecond
	// closeAfter is the time without a lease after which a new one does not say that the
	// state here is the present one. It is the least that stop_after may be.
	closeAfter = 15 * time.Second
	// fenceTimeout bounds one try to stop a node.
	fenceTimeout = 5 * time.Second
	// killAfter is how long after its time a node that its driver did not stop is killed.
	killAfter = 3 * time.Second
	// confirmTimeout bounds one try to read the present state.
	confirmTimeout = 10 * time.Second
)

// hostFenced takes the place of the host's boot in the row of a node that was stopped
// because this host had no lease: it gets its power back like after a reboot.
const hostFenced = "fenced"

// fence is what the guard knows. The times are since the host booted. It is safe for
// concurrent use.
type fence struct {
	// clock is the time since the host booted, with the time that it slept.
	clock func() time.Duration

	mu sync.Mutex // guards what follows
	// last is when this peer asked for the last lease that was confirmed, written down
	// as saved.
	last, saved time.Duration
	// open says that a state was read that is newer than a lease, and that leases did not
	// end since; round counts how often they did.
	open    bool
	round   int
	opening bool
	// stopping are nodes that a goroutine is stopping now, stopped those that it did.
	stopping, stopped map[string]bool
	// stale are nodes placed here, of which this host has something that is older.
	stale map[string]bool
}

// savedLease is the lease on disk. It outlives the agent, as guests do, and not the host.
type savedLease struct {
	Boot string        `json:"boot"`
	Last time.Duration `json:"last"`
}

func newFence(clock func() time.Duration) *fence {
	if clock == nil {
		clock = sinceBoot
	}
	return &fence{clock: clock, stopping: map[string]bool{}, stopped: map[string]bool{}, stale: map[string]bool{}}
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("clock_gettime: %v", err)) // Linux has this clock since 2.6.39
	}
	return time.Duration(t.Nano())
}

// load takes over the last lease of an agent before this one. Without one, as after a
// reboot, when nothing runs, time counts from now.
func (f *fence) load(path, boot string) error {
	f.last = f.clock()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || path == "" {
		return nil
	}
	var s savedLease
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return fmt.Errorf("lease %s: %w", path, err)
	}
	if s.Boot == boot && s.Last < f.last {
		f.last, f.saved = s.Last, s.Last
	}
	return nil
}

// save writes the last lease down, where that is newer. It need not survive the host, and
// is therefore not synced.
func (f *fence) save(path, boot string) error {
	f.mu.Lock()
	last, same := f.last, f.last == f.saved
	f.mu.Unlock()
	if same || path == "" {
		return nil
	}
	b, err := json.Marshal(savedLease{Boot: boot, Last: last})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved = last
	return nil
}

// age returns the time since the last lease; fresh says that one was confirmed since the
// agent started. It notices when leases ended.
func (f *fence) age(lease func() (time.Duration, bool)) (age time.Duration, fresh bool) {
	since, fresh := lease()
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	// The mesh's lease may have been confirmed during a look that found none.
	if fresh {
		f.last = max(f.last, now-since)
	}
	age = now - f.last
	if age >= closeAfter && f.open {
		f.open = false
		f.round++
	}
	return age, fresh
}

// late reports whether the last lease is so long ago.
func (f *fence) late(limit time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock()-f.last >= limit
}

// mayStart says why a node may not be switched on here now, or nil. It is always the
// mesh's word whose node it is; with a node that would be made anew elsewhere this host
// must also be sure of its lease.
func (h *Host) mayStart(uuid string) error {
	snap, _ := h.cfg.Source.Snapshot()
	n, ok := snap.Node(uuid)
	if !ok || n.Placement == nil || n.Placement.Hypervisor != h.cfg.Hypervisor {
		return fmt.Errorf("%w: the node is not placed on this host", state.ErrBusy)
	}
	if h.fence.isStale(uuid) {
		return fmt.Errorf("%w: what this host has of it is in quarantine", state.ErrBusy)
	}
	return h.Assured(n)
}

// Lapsed reports whether this host must have nothing of a node that the mesh could see,
// because it has had no lease for so long that the node may be made anew elsewhere.
func (h *Host) Lapsed(n *state.Node) bool {
	limit := n.StopAfter()
	if limit == 0 || h.cfg.LeaseAge == nil {
		return false
	}
	age, _ := h.fence.age(h.cfg.LeaseAge)
	return age >= limit
}

// Assured says why this host cannot be sure that a node which would be made anew elsewhere
// is still its own, or nil.
func (h *Host) Assured(n *state.Node) error {
	limit := n.StopAfter()
	if limit == 0 || h.cfg.LeaseAge == nil {
		return nil
	}
	age, fresh := h.fence.age(h.cfg.LeaseAge)
	switch {
	case age >= limit/2:
		return fmt.Errorf("%w: this host has had no lease from the mesh for %s, and the node may be made anew elsewhere", state.ErrBusy, age.Round(time.Second))
	case !fresh || !h.fence.isOpen():
		return fmt.Errorf("%w: this host does not know yet whether the node is still placed on it", state.ErrBusy)
	}
	return nil
}

func (f *fence) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

func (f *fence) isStale(uuid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stale[uuid]
}

// guard stops nodes that this host must not run without a lease, until ctx ends. It waits
// for no pass and no leader.
func (h *Host) guard(ctx context.Context) error {
	if h.cfg.LeaseAge == nil {
		return nil
	}
	for ctx.Err() == nil {
		h.guardOnce(ctx)
		timer := time.NewTimer(guardEvery)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func (h *Host) guardOnce(ctx context.Context) {
	age, fresh := h.fence.age(h.cfg.LeaseAge)
	snap, _ := h.cfg.Source.Snapshot()
	guarded := false
	for _, n := range snap.NodesOn(h.cfg.Hypervisor) {
		limit := n.StopAfter()
		guarded = guarded || limit > 0
		if limit > 0 && age >= limit {
			h.stopFenced(ctx, n, age)
		}
	}
	if guarded {
		if err := h.fence.save(h.cfg.LeaseFile, h.cfg.BootID); err != nil {
			h.log.WarnContext(ctx, "lease not written down; will retry", "err", err)
		}
	}
	// Before there is such a node: the first one can then be switched on at once.
	if fresh && age < closeAfter {
		h.confirm(ctx)
	}
}

// confirm reads a state that is newer than the present lease, where leases had ended.
func (h *Host) confirm(ctx context.Context) {
	f := h.fence
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open || f.opening {
		return
	}
	round := f.round
	f.opening = h.start(func() {
		ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
		defer cancel()
		err := h.cfg.Confirm(ctx)
		f.mu.Lock()
		f.opening = false
		f.open = err == nil && f.round == round
		if f.open {
			clear(f.stopped)
		}
		f.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "state not read after this host got a lease; will retry", "err", err)
		}
		h.wakeSoon()
	})
}

// stopFenced begins to stop a node, unless it is stopped or being so.
func (h *Host) stopFenced(ctx context.Context, n *state.Node, age time.Duration) {
	f, c := h.fence, h.chassisOf(n)
	off := c.Status().Power == state.PowerOff // before f is locked: whoever starts it holds the chassis first
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping[n.UUID] || f.stopped[n.UUID] && off {
		return
	}
	f.stopping[n.UUID] = h.start(func() {
		err := c.fenceOff(ctx)
		if err != nil && h.fence.late(n.StopAfter()+killAfter) && h.cfg.Kill != nil {
			killed, failed := h.cfg.Kill(n.UUID)
			if err = errors.Join(err, failed); killed && failed == nil {
				h.log.WarnContext(ctx, "node is killed, because its driver did not stop it", "node", n.Name, "err", err)
				c.isOff()
				err = nil
			}
		}
		f.mu.Lock()
		delete(f.stopping, n.UUID)
		first := !f.stopped[n.UUID]
		f.stopped[n.UUID] = err == nil
		f.mu.Unlock()
		switch {
		case err != nil:
			h.log.ErrorContext(ctx, "node must be stopped, because this host has no lease, and cannot be; will retry", "node", n.Name, "without_lease", age.Round(time.Millisecond), "err", err)
		case first:
			h.log.WarnContext(ctx, "node is stopped, because this host has no lease and the node may be made anew elsewhere", "node", n.Name, "without_lease", age.Round(time.Millisecond))
		}
	})
}

// fenceOff stops the node, whatever else is under way, and remembers that it was the host
// that did so.
func (c *Chassis) fenceOff(ctx context.Context) error {
	c.mu.Lock()
	if c.job != nil {
		c.job.cancel()
	}
	c.mu.Unlock()
	if c.Status().Power != state.PowerOff {
		c.remember(ctx, func(r *row) {
			if r.HostBoot == c.host.cfg.BootID {
				r.HostBoot = hostFenced
			}
		})
	}
	d, err := c.host.driverOf(c.driverName())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	c.host.powerRequests.Add(1)
	err = d.Power(ctx, c.uuid, driver.PowerRequest{Action: state.ActionOff})
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	c.isOff()
	return nil
}

// isOff takes over that the host took the node down.
func (c *Chassis) isOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.power, c.hostOff, c.late = state.PowerOff, true, time.Now().Add(lateReports)
}
