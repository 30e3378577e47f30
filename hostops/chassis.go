package hostops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// ChassisStatus is what a chassis says of itself.
type ChassisStatus struct {
	Power state.Power
	// Boot is the override in force: a one-shot one is gone once it was used.
	Boot   state.Boot
	Policy state.RestorePolicy
	// LastOnByCommand says that the last power-on was by a BMC command.
	LastOnByCommand bool
}

// Chassis is the box around one node: what its BMC controls. It outlives the
// driver: Status answers from memory, and what must be remembered is on disk before
// a request returns. It is safe for concurrent use.
type Chassis struct {
	host *Host
	uuid string
	line line

	// saving holds one while the row is changed and written, so that rows reach the
	// disk in the order of their changes; it guards gone. It is no mutex because it is
	// held while others' writes are waited for: a test's clock stands still for those.
	saving chan struct{}
	gone   bool
	// Drive is the CD-ROM drive; usb takes sticks.
	*Drive

	usb *Drive
	// setting holds one while what clients changed of the hardware is changed.
	setting chan struct{}

	// mu guards what follows; nobody waits while holding it.
	mu     sync.Mutex
	driver string
	// secureBoot is what the node's type says, firmware what the driver last said.
	secureBoot bool
	firmware   map[string]string
	row        row
	// memory is what is kept for the BMC, by key. Values are not changed.
	memory map[string][]byte
	// carried is what memory had of keySetup when the driver's node was last seen to have it.
	carried []byte
	power   state.Power
	// job is the power request under way.
	job *job
	// stopped refuses new jobs.
	stopped bool
	// changes counts what may have changed power: an observation that began before a
	// change says nothing.
	changes uint64
	// told is the power that subscribers were last told of; softUntil is until when a
	// guest's end is what a command to shut down asked for.
	told      state.Power
	softUntil time.Time
	// sample is what the guest had used when it was last asked, sampled what changes was
	// then; load is what came of it.
	sample  sample
	sampled uint64
	load    ChassisLoad
	// hostOff says that the host, not a person or the guest, switched it off last.
	hostOff bool
	// late is until when the driver's report of a change that was asked for may still
	// arrive and be out of date; reset is the same for reboots that a reset, or a restart of
	// the guest, causes: firmware resets the machine once more, and each is reported.
	late, reset time.Time
}

func newChassis(h *Host, uuid string, r row) *Chassis {
	c := &Chassis{host: h, uuid: uuid, line: line{host: h, uuid: uuid, end: time.Now().UnixNano()}, row: r, memory: map[string][]byte{}, power: state.PowerUnknown, told: state.PowerUnknown, saving: make(chan struct{}, 1), setting: make(chan struct{}, 1)}
	c.Drive, c.usb = newDrive(c, driver.SlotCD), newDrive(c, driver.SlotUSB)
	return c
}

// Status returns the state of the chassis, from memory.
func (c *Chassis) Status() ChassisStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ChassisStatus{Power: c.power, Boot: state.Boot(c.row.Boot), Policy: c.row.Policy, LastOnByCommand: c.row.OnByCommand}
}

// SetBoot sets the boot override; the zero value takes it back. It is on disk when
// SetBoot returns.
func (c *Chassis) SetBoot(ctx context.Context, boot state.Boot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !slices.Contains([]state.BootDevice{state.BootNone, state.BootPXE, state.BootDisk, state.BootCDROM, state.BootUSB, state.BootSetup, state.BootSafe}, boot.Device) {
		return fmt.Errorf("node %s: boot device %q: %w", c.uuid, boot.Device, state.ErrUnsupported)
	}
	return c.save(func(r *row) {
		// A start under way uses up the override that was there, not this one.
		r.Boot, r.Starting = savedBoot(boot), ""
	})
}

// SetRestorePolicy says what happens when the host comes back. It is on disk when
// SetRestorePolicy returns.
func (c *Chassis) SetRestorePolicy(ctx context.Context, policy state.RestorePolicy) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !slices.Contains([]state.RestorePolicy{state.RestorePrevious, state.RestoreOn, state.RestoreOff}, policy) {
		return fmt.Errorf("node %s: restore policy %q: %w", c.uuid, policy, state.ErrUnsupported)
	}
	return c.save(func(r *row) { r.Policy = policy })
}

// save changes what is remembered, on disk first. It writes nothing if nothing
// changed.
func (c *Chassis) save(change func(*row)) error {
	c.saving <- struct{}{}
	defer func() { <-c.saving }()
	old := c.remembered()
	next := old
	change(&next)
	if next.equal(old) {
		return nil
	}
	if c.gone {
		return fmt.Errorf("node %s: %w", c.uuid, state.ErrNotFound)
	}
	if err := c.host.store.put(c.uuid, next); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.row = next
	return nil
}

// remember is save where the caller can do nothing about an error: what differs
// from the node as it is, is saved by the next pass.
func (c *Chassis) remember(ctx context.Context, change func(*row)) {
	if err := c.save(change); err != nil && !errors.Is(err, state.ErrNotFound) {
		c.host.log.ErrorContext(ctx, "chassis not saved: its power or boot order may be wrong after a restart", "node", c.uuid, "err", err)
	}
}

// drop forgets the row for good, and deletes the images in the drives.
func (c *Chassis) drop(ctx context.Context) error {
	c.saving <- struct{}{}
	defer func() { <-c.saving }()
	c.gone = true
	if err := c.host.store.drop(c.uuid); err != nil {
		return err
	}
	for _, d := range c.drives() {
		c.removeImage(ctx, d.remembered())
	}
	return nil
}

// stop ends the power request and the fetch under way, and consoles, and takes no more.
func (c *Chassis) stop() {
	c.line.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, d := range c.drives() {
		if d.fetching != nil {
			d.fetching.cancel(fmt.Errorf("%w: the node is being taken down", state.ErrBusy))
		}
	}
	if c.job != nil {
		c.job.cancel()
	}
}

func (c *Chassis) remembered() row {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.row
}

func (c *Chassis) driverName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.driver
}

// placed takes over what is declared of a node of this host.
func (c *Chassis) placed(m state.Machine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.driver, c.secureBoot = m.Driver, m.SecureBoot
}

func (c *Chassis) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

// observed takes over what a driver said of power, unless power may have changed
// since seen was the version.
func (c *Chassis) observed(ctx context.Context, p state.Power, seen uint64) {
	c.mu.Lock()
	if c.job != nil || c.changes != seen {
		c.mu.Unlock()
		return
	}
	c.power = p
	c.turned(originNone)
	hostOff := c.hostOff && p == state.PowerOff
	c.mu.Unlock()
	if p == state.PowerUnknown {
		return
	}
	c.remember(ctx, func(r *row) {
		r.recover(p)
		if r.HostBoot == c.host.cfg.BootID && !hostOff {
			r.Power = p
		}
		if p == state.PowerOff {
			r.Relinked = false
		}
	})
}

// recover decides, after the agent ended in the middle of a start, whether the
// override was used. A node that was off and is on has booted with it. Any other is
// still to be started with it, at worst again: the client that got no answer asks
// again, and means the same order.
func (r *row) recover(p state.Power) {
	if r.Starting == "" {
		return
	}
	if r.Starting == state.PowerOff && p == state.PowerOn {
		r.started(r.Boot)
	}
	r.Starting = ""
}

// started records a start with the order b.
func (r *row) started(b savedBoot) {
	r.Started = &b
	if r.Starting != "" {
		r.Boot, r.Starting = savedBoot{}, ""
	}
}

// powerEvent takes over a change that the driver reports.
func (c *Chassis) powerEvent(ctx context.Context, e driver.Event) {
	c.reported(ctx, e)
	c.mu.Lock()
	outdated := e.Cause == driver.CauseRequest && e.Power != c.power && time.Now().Before(c.late)
	if outdated || e.Power == state.PowerUnknown {
		c.mu.Unlock()
		c.host.wakeSoon()
		return
	}
	c.changes++
	c.power = e.Power
	c.hostOff = e.Power == state.PowerOff && e.Cause == driver.CauseHost
	if e.Cause == driver.CauseRequest {
		c.turned(c.asked())
	} else {
		c.turned(originNone)
	}
	asked, byHost := c.job != nil, c.hostOff
	if c.unexpected() {
		c.host.wakeSoon()
	}
	c.mu.Unlock()
	c.remember(ctx, func(r *row) {
		if e.Power == state.PowerOff {
			r.Relinked = false
		}
		// What was asked for is recorded when it is done, or was above.
		if asked || byHost || r.Power == e.Power || r.HostBoot == hostFenced {
			return
		}
		r.Power = e.Power
		if e.Power == state.PowerOn {
			r.OnByCommand, r.Started, r.Setup = false, nil, c.setup().Print()
		}
	})
}

// rebootEvent makes a restart of the guest obey the override, as firmware does that
// reads the boot flags each time: an order for one boot is over, and one that was
// set since the last start begins. The order of a running domain is fixed, so where
// it differs the node is power cycled, which a guest that has just restarted does
// not notice.
func (c *Chassis) rebootEvent(ctx context.Context) {
	c.mu.Lock()
	asked := c.job != nil || time.Now().Before(c.reset)
	if !asked {
		c.reset = time.Now().Add(resetReport)
		c.tell(ChassisReset, false)
	}
	started, boot, outdated := c.row.Started, c.row.Boot, c.outdated()
	plain := len(decodeSetup(c.memory[keySetup]).Order) == 0
	c.mu.Unlock()
	switch {
	case asked || started == nil:
	case !outdated && sameOrder(started.Device, boot.Device, plain):
		if boot.once() {
			c.remember(ctx, func(r *row) { r.Started, r.Boot = &boot, savedBoot{} })
		}
	default:
		if _, err := c.begin(ctx, request{action: state.ActionCycle, origin: originReboot}); err != nil {
			c.host.log.WarnContext(ctx, "guest restarted with an order, or a setup, that is over", "node", c.uuid, "order", string(started.Device), "err", err)
		}
	}
}

// sameOrder reports whether two overrides boot the same. Without one, disks are first,
// unless the order is not the plain one.
func sameOrder(a, b state.BootDevice, plain bool) bool {
	of := func(d state.BootDevice) state.BootDevice {
		if d == state.BootDisk && plain {
			return state.BootNone
		}
		return d
	}
	return of(a) == of(b)
}

// event takes over what a driver reports.
func (h *Host) event(ctx context.Context, e driver.Event) {
	c, ok := h.known(e.UUID)
	switch {
	case ok && e.Type == driver.EventPower:
		c.powerEvent(ctx, e)
	case ok && e.Type == driver.EventReboot:
		c.rebootEvent(ctx)
	default:
		h.wakeSoon()
	}
}
