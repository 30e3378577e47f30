package ipmi

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/raftfsm/state"
)

// watchdogCommands are IPMI v2.0 §27.
var watchdogCommands = []command{
	{is: types.CommandResetWatchdogTimer, privilege: types.PrivilegeLevelOperator, handle: resetWatchdog},
	{is: types.CommandSetWatchdogTimer, privilege: types.PrivilegeLevelOperator, min: 6, max: 6, handle: setWatchdog},
	{is: types.CommandGetWatchdogTimer, privilege: types.PrivilegeLevelUser, handle: getWatchdog},
}

const (
	// Bits of the timer's use.
	watchdogDontLog  = 0x80
	watchdogDontStop = 0x40 // in a request
	watchdogRunning  = 0x40 // in an answer
	watchdogUse      = 0x07
	minUse, maxUse   = 1, 5

	watchdogAction     = 0x07
	watchdogPreTimeout = 0x70

	// watchdogUnit is the unit of the countdown.
	watchdogUnit = 100 * time.Millisecond
	// watchdogRetry is when an action is tried again that the chassis was too busy for.
	watchdogRetry = time.Second

	watchdogNotSet = refused(0x80)
)

// watchdogActions are the actions at a timeout, by number; "" is none.
var watchdogActions = []state.PowerAction{"", state.ActionReset, state.ActionOff, state.ActionCycle}

// watchdog is the timer as it was set. It is forgotten with the BMC, as one is that
// loses standby power: who uses it sets it when the machine starts. Methods may be
// called on nil, a timer that never was set.
type watchdog struct {
	use, action, pre byte
	// expired has a bit per use whose timer ran out.
	expired byte
	initial uint16
	// left is the countdown while the timer stands still, ends when it runs out otherwise.
	left    uint16
	running bool
	ends    time.Time
	// act is when the action is to be tried; zero: not at all. acting says that the chassis
	// was asked for it.
	act    time.Time
	acting bool
}

func (w *watchdog) stop() {
	if w != nil {
		w.running, w.act = false, time.Time{}
	}
}

// acts reports whether a power change that is seen now may be the timer's doing.
func (w *watchdog) acts() bool { return w != nil && w.acting }

func (w *watchdog) acted() { w.acting = false }

// wake returns when something is to be done; zero: nothing.
func (w *watchdog) wake() time.Time {
	switch {
	case w == nil:
		return time.Time{}
	case w.running:
		return w.ends
	}
	return w.act
}

// countdown is what is left.
func (w *watchdog) countdown(now time.Time) uint16 {
	if !w.running {
		return w.left
	}
	return uint16(max(0, w.ends.Sub(now)) / watchdogUnit)
}

func (w *watchdog) start(now time.Time) {
	w.running, w.act, w.ends = true, time.Time{}, now.Add(time.Duration(w.initial)*watchdogUnit)
}

// tickWatchdog carries out what is due. The caller holds mu.
func (e *engine) tickWatchdog(now time.Time) {
	w := e.watchdog
	if at := w.wake(); at.IsZero() || now.Before(at) {
		return
	}
	if w.running {
		w.running, w.left, w.act = false, 0, now
		w.expired |= 1 << (w.use & watchdogUse)
		e.watchdogRanOut(now, w)
	}
	w.act = time.Time{}
	if action := watchdogActions[w.action&watchdogAction]; action != "" {
		w.acting = true
		e.soon(func(ctx context.Context) { e.actAsWatchdog(ctx, now, w, action) })
	}
}

// watchdogRanOut logs the end of the countdown. The caller holds mu.
func (e *engine) watchdogRanOut(now time.Time, w *watchdog) {
	e.log.Info("bmc: watchdog ran out", "node", e.uuid, "use", w.use&watchdogUse, "action", watchdogActions[w.action&watchdogAction])
	if w.use&watchdogDontLog == 0 {
		e.logWatchdog(now, w.action&watchdogAction, w.use&watchdogUse)
	}
}

func (e *engine) actAsWatchdog(ctx context.Context, now time.Time, w *watchdog, action state.PowerAction) {
	err := e.chassis.Power(ctx, action)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		return // the event that follows takes acting back
	}
	w.acting = false
	if code, _ := codeOf(err); code == types.CodeNodeBusy && !w.running {
		w.act = now.Add(watchdogRetry)
	}
	if !errors.Is(err, state.ErrWrongState) { // it is off: there is nothing to watch
		e.log.Warn("bmc: watchdog could not act", "node", e.uuid, "action", action, "err", err)
	}
}

// setWatchdog is IPMI v2.0 §27.6. There is no interrupt before the timeout.
func setWatchdog(_ context.Context, c *call) ([]byte, error) {
	use, action := c.data[0], c.data[1]
	if n := use & watchdogUse; n < minUse || n > maxUse || action&watchdogPreTimeout != 0 || int(action&watchdogAction) >= len(watchdogActions) {
		return nil, badField
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watchdog
	if w == nil {
		w = &watchdog{}
		c.watchdog = w
	}
	w.use, w.action, w.pre = use&(watchdogDontLog|watchdogUse), action&watchdogAction, c.data[2]
	w.expired &^= c.data[3]
	w.initial = binary.LittleEndian.Uint16(c.data[4:])
	if w.running && use&watchdogDontStop != 0 {
		w.start(c.now)
		return nil, nil
	}
	w.stop()
	w.left = w.initial
	return nil, nil
}

// resetWatchdog is IPMI v2.0 §27.5: the countdown begins anew.
func resetWatchdog(_ context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchdog == nil {
		return nil, watchdogNotSet
	}
	c.watchdog.start(c.now)
	return nil, nil
}

// getWatchdog is IPMI v2.0 §27.7.
func getWatchdog(_ context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watchdog
	if w == nil {
		w = &watchdog{}
	}
	use := w.use
	if w.running {
		use |= watchdogRunning
	}
	b := []byte{use, w.action, w.pre, w.expired}
	b = binary.LittleEndian.AppendUint16(b, w.initial)
	return binary.LittleEndian.AppendUint16(b, w.countdown(c.now)), nil
}
