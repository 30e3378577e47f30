// Package bmctest has a chassis that behaves without a node behind it, and the
// suite that every bmc.Chassis must pass. It starts no goroutine.
package bmctest

import (
	"context"
	"fmt"
	"slices"
	"sync"

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
}

var _ bmc.Chassis = (*Chassis)(nil)

// NewChassis returns a chassis that is off, without override, and restores power
// as it was.
func NewChassis() *Chassis {
	return &Chassis{status: bmc.Status{Power: state.PowerOff, Policy: state.RestorePrevious}}
}

// FailNext makes the next request (Power, SetBoot or SetRestorePolicy) change
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
	c.status.Power = p
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
		}
	case state.ActionOff:
		c.status.Power = state.PowerOff
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
		c.status.Power = state.PowerOff
	case state.ActionCycle, state.ActionReset:
		c.start()
	}
}

// start uses up an override for the next boot.
func (c *Chassis) start() {
	c.status.Power, c.status.LastOnByCommand = state.PowerOn, true
	if !c.status.Boot.Persistent {
		c.status.Boot = state.Boot{}
	}
}
