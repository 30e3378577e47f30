// Package bmctest has a chassis that behaves without a node behind it, and the
// suite that every bmc.Chassis must pass. It starts no goroutine.
package bmctest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// Chassis is an in-memory bmc.Chassis: it has a power state that moves as a
// machine's does, a guest that obeys the power button at once, and an override that
// the next start uses up. NewChassis makes one; it is safe for concurrent use.
type Chassis struct {
	mu      sync.Mutex
	status  bmc.Status
	actions []state.PowerAction
	failing []error
	holding int
	kept    map[string][]byte
	// hardware, load and loaded are what the accessors of the same name return.
	hardware bmc.Hardware
	load     bmc.Load
	loaded   bool
	subs     map[int]func(bmc.Event)
	nextSub  int
	now      func() time.Time
	// guests are the guest's ends of consoles, the last one's last.
	guests []net.Conn
	// cd and usb are the drives.
	cd, usb drive
}

var _ bmc.Chassis = (*Chassis)(nil)

// NewChassis returns a chassis that is off, without override, and restores power
// as it was.
func NewChassis() *Chassis {
	c := &Chassis{now: time.Now, status: bmc.Status{Power: state.PowerOff, Policy: state.RestorePrevious},
		kept: map[string][]byte{}, subs: map[int]func(bmc.Event){}, hardware: bmc.Hardware{
			UUID: "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10", Name: "node0", MemoryMB: 2048, VCPUs: 2, Arch: "x86_64", BootMode: state.BootUEFI,
			NICs:  []bmc.NIC{{MAC: "52:54:00:00:00:01", Physnet: "physnet1"}, {MAC: "52:54:00:00:00:02", Physnet: "physnet2"}},
			Disks: []bmc.Disk{{CapacityBytes: 10 << 30}}}}
	c.cd = drive{chassis: c, insert: bmc.EventInsert, eject: bmc.EventEject}
	c.usb = drive{chassis: c, insert: bmc.EventPlug, eject: bmc.EventUnplug}
	return c
}

// SetClock says by which clock events happen.
func (c *Chassis) SetClock(now func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// SetLoad says what Load returns while the chassis is on.
func (c *Chassis) SetLoad(l bmc.Load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load, c.loaded = l, true
}

// SetHardware says what Hardware returns.
func (c *Chassis) SetHardware(h bmc.Hardware) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hardware = h
}

// Guest returns the guest's end of the console that was attached last, or nil: what is
// written there is output, and what is read there was typed.
func (c *Chassis) Guest() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.guests) == 0 {
		return nil
	}
	return c.guests[len(c.guests)-1]
}

// Console implements bmc.Chassis; the end of ctx does not detach.
func (c *Chassis) Console(context.Context) (io.ReadWriteCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.Power != state.PowerOn {
		return nil, fmt.Errorf("chassis: console: %w", state.ErrWrongState)
	}
	ours, guest := net.Pipe()
	c.guests = append(c.guests, guest)
	return ours, nil
}

// Hardware implements bmc.Chassis.
func (c *Chassis) Hardware() bmc.Hardware {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hardware
}

// Load implements bmc.Chassis.
func (c *Chassis) Load() (bmc.Load, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load, c.loaded && c.status.Power == state.PowerOn
}

// Subscribe implements bmc.Chassis.
func (c *Chassis) Subscribe(on func(bmc.Event)) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.nextSub
	c.nextSub++
	c.subs[id] = on
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subs, id)
	}
}

// tell calls the subscribers; c.mu is held.
func (c *Chassis) tell(kind bmc.EventKind, byCommand bool) {
	for _, id := range slices.Sorted(maps.Keys(c.subs)) {
		c.subs[id](bmc.Event{At: c.now(), Kind: kind, ByCommand: byCommand})
	}
}

// Recall implements bmc.Chassis.
func (c *Chassis) Recall(key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[key]
}

// Keep implements bmc.Chassis.
func (c *Chassis) Keep(ctx context.Context, key string, value []byte) error {
	return c.request(ctx, "keep", func() error {
		if value == nil {
			delete(c.kept, key)
			return nil
		}
		if len(value) > 64<<10 {
			return fmt.Errorf("%d bytes: %w", len(value), state.ErrUnsupported)
		}
		c.kept[key] = slices.Clone(value)
		return nil
	})
}

// FailNext makes the next request (whatever takes a context, but Console) change
// nothing and return err; called again, the one after it.
func (c *Chassis) FailNext(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = append(c.failing, err)
}

// HoldNext makes the next request wait until its context ends, as one that a hung
// driver never answers, and return state.ErrBusy then.
func (c *Chassis) HoldNext() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding++
}

// SetPower sets the power state behind the BMC's back.
func (c *Chassis) SetPower(p state.Power) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.Power == p {
		return
	}
	c.status.Power = p
	c.tell(map[state.Power]bmc.EventKind{state.PowerOn: bmc.EventOn, state.PowerOff: bmc.EventOff}[p], false)
}

// Actions returns the power actions that were carried out, oldest first.
func (c *Chassis) Actions() []state.PowerAction {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.actions)
}

// Status implements bmc.Chassis.
func (c *Chassis) Status() bmc.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Power implements bmc.Chassis.
func (c *Chassis) Power(ctx context.Context, action state.PowerAction) error {
	return c.request(ctx, "power", func() error { return c.power(action) })
}

// SetBoot implements bmc.Chassis.
func (c *Chassis) SetBoot(ctx context.Context, boot state.Boot) error {
	return c.request(ctx, "boot", func() error {
		c.status.Boot = boot
		return nil
	})
}

// SetRestorePolicy implements bmc.Chassis.
func (c *Chassis) SetRestorePolicy(ctx context.Context, policy state.RestorePolicy) error {
	return c.request(ctx, "restore policy", func() error {
		c.status.Policy = policy
		return nil
	})
}

// request carries out do, unless a failure was set.
func (c *Chassis) request(ctx context.Context, what string, do func() error) error {
	held, err := c.admit(do)
	if held {
		<-ctx.Done()
		err = state.ErrBusy
	}
	if err != nil {
		return fmt.Errorf("chassis: %s: %w", what, err)
	}
	return nil
}

func (c *Chassis) admit(do func() error) (held bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holding > 0 {
		c.holding--
		return true, nil
	}
	if len(c.failing) > 0 {
		err, c.failing = c.failing[0], c.failing[1:]
		return false, err
	}
	return false, do()
}

func (c *Chassis) power(action state.PowerAction) error {
	on := c.status.Power == state.PowerOn
	switch action {
	case state.ActionOn:
		if !on {
			c.start()
			c.tell(bmc.EventOn, true)
		}
	case state.ActionOff:
		if on {
			c.stop()
		}
	case state.ActionSoft, state.ActionDiag, state.ActionCycle, state.ActionReset:
		if !on {
			return state.ErrWrongState
		}
		c.restart(action)
	default:
		return state.ErrUnsupported
	}
	c.actions = append(c.actions, action)
	return nil
}

func (c *Chassis) restart(action state.PowerAction) {
	switch action {
	case state.ActionSoft:
		c.stop()
	case state.ActionCycle:
		c.stop()
		c.start()
		c.tell(bmc.EventOn, true)
	case state.ActionReset:
		c.start()
		c.tell(bmc.EventReset, true)
	}
}

// stop takes power away, and so ends the consoles.
func (c *Chassis) stop() {
	c.status.Power = state.PowerOff
	for _, g := range c.guests {
		_ = g.Close() // a pipe's Close does not fail
	}
	c.guests = nil
	c.tell(bmc.EventOff, true)
}

// start uses up an override for the next boot.
func (c *Chassis) start() {
	c.status.Power, c.status.LastOnByCommand = state.PowerOn, true
	if !c.status.Boot.Persistent {
		c.status.Boot = state.Boot{}
	}
}
