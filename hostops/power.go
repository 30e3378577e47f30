package hostops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Timing of power requests.
const (
	// powerWait is how long a client waits for a request; ipmitool repeats a message
	// after one second.
	powerWait = 700 * time.Millisecond
	// powerTimeout is how long a request goes on without anybody waiting.
	powerTimeout = 2 * time.Minute
	// The first and the longest pause of a request that found the driver busy.
	busyPause, busyPauseMax = 100 * time.Millisecond, 2 * time.Second
	// lateReports is how long after a change the driver may still report what was
	// before it.
	lateReports = time.Second
	// resetReport is how long after a reset the driver may report it as a reboot.
	resetReport = 2 * time.Second
)

// origin is who asked for a power change.
type origin int

const (
	originCommand origin = iota
	// originRestore is the restore policy, originReboot a guest's restart,
	// originDeclare a declared change that needs a restart.
	originRestore
	originReboot
	originDeclare
	// originNone is nobody here: the guest, the host, or another tool.
	originNone
)

type request struct {
	action state.PowerAction
	origin origin
	// restart is the RestartIndex that the request handles; 0: none.
	restart uint64
}

// job is a power request under way. Its fields but idle are set before it starts,
// err before done is closed.
type job struct {
	request
	cancel context.CancelFunc
	// idle says that it waits for a driver that was busy, wentOff that subscribers were
	// told of power that went; the chassis' mu guards them.
	idle, wentOff bool
	done          chan struct{}
	err           error
	// setup identifies what the guest is started with; it is the job's own.
	setup string
}

// Power asks for a power change and returns once it is made, or after 0.7 s: nil if
// it is still under way, and it then goes on for up to two minutes while the driver
// is busy. One that is under way already is joined; any other is state.ErrBusy
// meanwhile, unless what is under way only waits for the driver: then the newer
// takes its place. Other errors: state.ErrWrongState, state.ErrUnsupported.
func (c *Chassis) Power(ctx context.Context, action state.PowerAction) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j, err := c.begin(ctx, request{action: action})
	if err != nil {
		return fmt.Errorf("node %s: power %s: %w", c.uuid, action, err)
	}
	if j == nil {
		c.commanded(ctx, action)
		return nil
	}
	timer := time.NewTimer(powerWait)
	defer timer.Stop()
	select {
	case <-j.done:
		if j.err != nil {
			return fmt.Errorf("node %s: power %s: %w", c.uuid, action, j.err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// commanded remembers a command that had nothing to do: it holds all the same, also
// for a node whose power was to be restored.
func (c *Chassis) commanded(ctx context.Context, action state.PowerAction) {
	c.remember(ctx, func(r *row) {
		r.HostBoot, r.Power = c.host.cfg.BootID, state.PowerOff
		if action == state.ActionOn {
			r.Power = state.PowerOn
		}
	})
}

// begin starts a request, or joins it; nil without an error: there is nothing to do.
func (c *Chassis) begin(ctx context.Context, q request) (*job, error) {
	d, err := c.host.driverOf(c.driverName())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if starts(q.action) {
		if err := c.host.leaving(c.uuid); err != nil {
			return nil, err
		}
		if err := c.host.mayStart(c.uuid); err != nil {
			return nil, err
		}
	}
	if c.stopped {
		return nil, fmt.Errorf("%w: the node is being taken down", state.ErrBusy)
	}
	if c.job != nil && c.job.action == q.action {
		return c.job, nil
	}
	if c.job != nil && !c.job.idle {
		return nil, fmt.Errorf("%w: power %s is under way", state.ErrBusy, c.job.action)
	}
	if nothing, err := check(q.action, c.power); err != nil || nothing && c.job == nil {
		return nil, err
	}
	if c.job != nil {
		c.job.cancel()
	}
	// It outlives the client's request; stop ends it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), powerTimeout)
	j := &job{request: q, cancel: cancel, done: make(chan struct{})}
	c.changes++
	c.job, c.late = j, time.Time{}
	started := c.host.start(func() {
		defer cancel()
		defer close(j.done)
		j.err = c.carryOut(ctx, d, j)
		c.finish(ctx, j)
	})
	if !started {
		cancel()
		c.job = nil
		return nil, fmt.Errorf("%w: the agent is stopping", state.ErrBusy)
	}
	return j, nil
}

// check says whether an action is possible in a power state, and whether there is
// nothing to do.
func check(a state.PowerAction, p state.Power) (nothing bool, err error) {
	switch a {
	case state.ActionOn, state.ActionOff, state.ActionSoft, state.ActionCycle, state.ActionReset, state.ActionDiag:
	default:
		return false, state.ErrUnsupported
	}
	switch {
	case p == state.PowerUnknown:
		return false, fmt.Errorf("%w: its power state is not known yet", state.ErrBusy)
	case a == state.ActionOn:
		return p == state.PowerOn, nil
	case a == state.ActionOff:
		return p == state.PowerOff, nil
	case p == state.PowerOff:
		return false, state.ErrWrongState
	}
	return false, nil
}

// starts reports whether firmware runs because of an action, and reads the boot
// order.
func starts(a state.PowerAction) bool {
	return a == state.ActionOn || a == state.ActionCycle || a == state.ActionReset
}

// carryOut repeats a request while the driver is busy. Those that nobody waits for
// are repeated by whoever made them.
func (c *Chassis) carryOut(ctx context.Context, d driver.Driver, j *job) error {
	for pause := busyPause; ; pause = min(2*pause, busyPauseMax) {
		err := c.attempt(ctx, d, j)
		if !errors.Is(err, state.ErrBusy) || j.origin == originRestore || j.origin == originDeclare {
			return err
		}
		if !c.setIdle(j, true) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		if !c.setIdle(j, false) {
			return err
		}
	}
}

// setIdle reports whether j is still the chassis' request.
func (c *Chassis) setIdle(j *job, idle bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	j.idle = idle
	return c.job == j
}

// attempt makes the driver call. An override for one boot is marked as being used
// before it, and used up after it.
func (c *Chassis) attempt(ctx context.Context, d driver.Driver, j *job) error {
	var boot savedBoot
	action := j.action
	if starts(j.action) {
		var err error
		if j.setup, err = c.awaitSetup(); err != nil {
			return err
		}
		if action == state.ActionReset && j.setup != c.remembered().Setup {
			action = state.ActionCycle
		}
		// It may have waited for the driver for longer than this host has a lease.
		if err := c.host.mayStart(c.uuid); err != nil {
			return err
		}
		boot = c.arm(ctx)
	}
	c.host.powerRequests.Add(1)
	c.softly(j, time.Now().Add(softTime))
	err := d.Power(ctx, c.uuid, driver.PowerRequest{Action: action, Boot: state.Boot(boot)})
	switch {
	case err == nil:
		c.done(ctx, j, boot)
	case starts(j.action):
		c.remember(ctx, func(r *row) { r.Starting = "" })
	default:
		c.softly(j, time.Time{})
	}
	if errors.Is(err, state.ErrNotFound) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", state.ErrBusy, err)
	}
	return err
}

// arm returns the order of the start that follows.
func (c *Chassis) arm(ctx context.Context) savedBoot {
	power := c.Status().Power
	var boot savedBoot
	c.remember(ctx, func(r *row) {
		boot = r.Boot
		if boot.once() {
			r.Starting = power
		}
	})
	return boot
}

// powerAfter is the power after an action that was carried out; empty where the guest
// decides that, or nothing changes.
func powerAfter(a state.PowerAction) state.Power {
	switch a {
	case state.ActionOn, state.ActionCycle, state.ActionReset:
		return state.PowerOn
	case state.ActionOff:
		return state.PowerOff
	default:
		return ""
	}
}

// reported records the power that a request was to lead to as soon as the driver reports
// it, which may be long before its call returns, and before anybody is told: who has seen
// a node on finds it on after a power cut at that moment.
func (c *Chassis) reported(ctx context.Context, e driver.Event) {
	c.mu.Lock()
	asked := c.job != nil && powerAfter(c.job.action) == e.Power && e.Cause == driver.CauseRequest
	c.mu.Unlock()
	if !asked {
		return
	}
	c.remember(ctx, func(r *row) {
		if r.HostBoot != hostFenced {
			r.Power = e.Power
		}
	})
}

// done records what the driver has done.
func (c *Chassis) done(ctx context.Context, j *job, boot savedBoot) {
	after := powerAfter(j.action)
	if after != "" {
		// Before anybody is told, as above.
		c.remember(ctx, func(r *row) { c.enter(r, j, after, boot) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if after != "" {
		c.power, c.hostOff, c.late = after, false, time.Now().Add(lateReports)
	}
	if j.action == state.ActionReset {
		c.reset = time.Now().Add(resetReport)
	}
	c.tellDone(j)
}

// enter records in a row that a request was carried out.
func (c *Chassis) enter(r *row, j *job, after state.Power, boot savedBoot) {
	r.Power, r.HostBoot = after, c.host.cfg.BootID
	r.Restarted = max(r.Restarted, j.restart)
	if starts(j.action) {
		r.started(boot)
		r.Setup = j.setup
	}
	if j.action != state.ActionReset {
		r.Relinked = false
	}
	if j.action == state.ActionOn || j.action == state.ActionCycle {
		r.OnByCommand = j.origin == originCommand
	}
}

// finish makes room for the next request.
func (c *Chassis) finish(ctx context.Context, j *job) {
	c.mu.Lock()
	c.changes++
	superseded := c.job != j
	if !superseded {
		c.job = nil
		c.turned(j.origin) // where a quiet request ended otherwise
	}
	c.mu.Unlock()
	ours := j.origin == originRestore || j.origin == originDeclare
	if j.err == nil || !ours {
		// What the driver reported meanwhile was not recorded.
		c.host.wakeSoon()
	}
	if j.err != nil && !superseded && !ours {
		c.host.log.WarnContext(ctx, "power request not carried out", "node", c.uuid, "action", string(j.action), "err", j.err)
	}
}
