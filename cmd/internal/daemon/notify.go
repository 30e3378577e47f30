package daemon

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"tenks/cmd/internal/service"
	"tenks/raftfsm/state"
)

const (
	// stuckAfter is how long a loop that runs every few seconds may be silent, and a
	// command may take to be applied, before the agent no longer says that it lives.
	stuckAfter = 45 * time.Second
	// watchShare is how often the agent says so in the time that it may be silent.
	watchShare = 4
)

// pulse is when a loop last began anew. It is safe for concurrent use.
// It goes by the monotonic clock: the other one may be set meanwhile.
type pulse struct{ last atomic.Pointer[time.Time] } // nil: it did not begin

// around notes each time that a loop does its work.
func (p *pulse) around(do func(context.Context, *state.Snapshot) error) func(context.Context, *state.Snapshot) error {
	return func(ctx context.Context, snap *state.Snapshot) error {
		now := time.Now()
		p.last.Store(&now)
		return do(ctx, snap)
	}
}

// silent is how long the loop has not begun anew.
func (p *pulse) silent(now time.Time) time.Duration {
	last := p.last.Load()
	if last == nil {
		return 0
	}
	return now.Sub(*last)
}

// stuck says what of this agent does not go on; nil: it lives. It is about the agent
// itself: to be started anew would not help against a libvirt or a disk that hangs.
func (a *agent) stuck(now time.Time) error {
	if d := a.pulse.silent(now); d > stuckAfter {
		return fmt.Errorf("the loop of BMCs is stuck for %s", d.Round(time.Second))
	}
	if d := a.mesh.Applying(); d > stuckAfter {
		return fmt.Errorf("a command of the log is being applied for %s", d.Round(time.Second))
	}
	return nil
}

// notify tells systemd that the agent is ready, that it lives, and that it stops, until
// ctx ends.
func (a *agent) notify(ctx context.Context) error {
	tell(ctx, a.opt.Notify, func() error { return a.stuck(time.Now()) }, func(err error) {
		a.log.ErrorContext(ctx, "systemd is not told any more that this agent lives", "err", err)
	})
	return nil
}

// tell does that for an agent of which stuck says how it is. failed is told once of each
// change for the worse.
func tell(ctx context.Context, n service.Notifier, stuck func() error, failed func(error)) {
	if !n.Enabled() {
		<-ctx.Done()
		return
	}
	if err := n.Send(service.Ready, service.Status("runs")); err != nil {
		failed(err)
	}
	var tick <-chan time.Time
	if d := n.Watchdog(); d > 0 {
		t := time.NewTicker(d / watchShare)
		defer t.Stop()
		tick = t.C
	}
	ill := false
	for {
		select {
		case <-ctx.Done():
			_ = n.Send(service.Stopping, service.Status("stops")) // it is seen to stop anyway
			return
		case <-tick:
		}
		err := stuck()
		if err == nil {
			err = n.Send(service.Alive)
		} else {
			_ = n.Send(service.Status(err.Error())) // what matters is what is not sent
		}
		if err != nil && !ill {
			failed(err)
		}
		ill = err != nil
	}
}
