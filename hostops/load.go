package hostops

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

const (
	// loadPeriod is how often drivers are asked what guests use, loadTimeout how long they
	// may take for it.
	loadPeriod, loadTimeout = 10 * time.Second, 5 * time.Second
	// loadAge is how old a load may be that is still told: of a driver that hangs, the last
	// one is not for ever.
	loadAge = 3 * loadPeriod
)

// ChassisLoad is what a guest used of its hardware lately.
type ChassisLoad struct {
	// At is when it was measured.
	At time.Time
	// CPU is the share of all its vCPUs, 0 to 1.
	CPU float64
}

// sample is what a guest had used by then.
type sample struct {
	at  time.Time
	cpu time.Duration
}

// Load returns what the node's guest used over the last 10 s; false: it is off, has just
// begun, or its driver does not say.
func (c *Chassis) Load() (ChassisLoad, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.load
	return l, c.power == state.PowerOn && c.changes == c.sampled && !l.At.IsZero() && time.Since(l.At) < loadAge
}

// used takes over what a driver said of a guest, unless its power may have changed since
// seen was the version: it may be another guest's.
func (c *Chassis) used(l driver.Load, vcpus int, at time.Time, seen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.power != state.PowerOn || c.changes != seen || c.job != nil {
		return
	}
	last := c.sample
	c.sample = sample{at, l.CPU}
	took, cpu := at.Sub(last.at), l.CPU-last.cpu
	if l.VCPUs > 0 {
		vcpus = l.VCPUs
	}
	if last.at.IsZero() || took <= 0 || cpu < 0 || vcpus < 1 || c.sampled != seen {
		c.load, c.sampled = ChassisLoad{}, seen
		return
	}
	c.load = ChassisLoad{At: at, CPU: min(1, float64(cpu)/float64(took)/float64(vcpus))}
}

// measure samples loads until ctx ends. Nobody is asked while no node is on.
func (h *Host) measure(ctx context.Context) error {
	ticker := time.NewTicker(loadPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		var all sync.WaitGroup // a driver that hangs does not hold up another
		for _, name := range h.driversInUse() {
			all.Go(func() { h.sampleOf(ctx, name) })
		}
		all.Wait()
	}
}

// driversInUse returns the drivers of nodes that are on.
func (h *Host) driversInUse() []string {
	var out []string
	for _, c := range h.all() {
		c.mu.Lock()
		if c.power == state.PowerOn && c.driver != "" && !slices.Contains(out, c.driver) {
			out = append(out, c.driver)
		}
		c.mu.Unlock()
	}
	return out
}

// sampleOf asks one driver. A driver that cannot say, or not now, is not an error: there
// is no load then.
func (h *Host) sampleOf(ctx context.Context, name string) {
	d, err := h.driverOf(name)
	if err != nil {
		return
	}
	seen := map[string]uint64{}
	for uuid, c := range h.all() {
		seen[uuid] = c.version()
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	loads, err := d.Loads(ctx)
	if err != nil {
		if !errors.Is(err, state.ErrUnsupported) {
			h.log.DebugContext(ctx, "loads not read", "driver", name, "err", err)
		}
		return
	}
	at := time.Now()
	snap, _ := h.cfg.Source.Snapshot()
	for _, l := range loads {
		c, ok := h.known(l.UUID)
		if n, placed := snap.Node(l.UUID); ok && placed && c.driverName() == name {
			c.used(l, n.Machine.VCPUs, at, seen[l.UUID])
		}
	}
}
