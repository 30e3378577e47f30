package pdu

import (
	"context"
	"errors"
	"fmt"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// keyOutlet is where a chassis remembers the outlet that it is plugged into.
const keyOutlet = "pdu/outlet"

// What is remembered: an outlet that was switched off keeps whether its node ran then.
// Nothing means that it was never switched.
const (
	keptOn      = "on"
	keptOff     = "off"
	keptRunning = "off, was running"
)

// Plug is a node that is plugged into an outlet. It has no state of its own.
type Plug struct {
	Chassis bmc.Chassis
	// Bare is a node without a BMC, which starts whenever power comes. Others do what their
	// restore policy says.
	Bare bool
}

// IsOn reports whether the outlet is on. One that was never switched is, but that of a bare
// node which is off: who sees a node off switches it on.
func (p Plug) IsOn() bool {
	switch string(p.Chassis.Recall(keyOutlet)) {
	case keptOff, keptRunning:
		return false
	case keptOn:
		return true
	}
	return !p.Bare || p.Chassis.Status().Power == state.PowerOn
}

// IsCut reports whether a chassis has an outlet that was switched off.
func IsCut(m bmc.Memory) bool {
	kept := string(m.Recall(keyOutlet))
	return kept == keptOff || kept == keptRunning
}

// Turn switches the outlet. It returns as bmc.Control's Power does: off cuts power, whatever
// the guest does.
func (p Plug) Turn(ctx context.Context, c Command) error {
	switch c {
	case Off:
		return p.cut(ctx)
	case On:
		if p.IsOn() {
			return p.change(ctx, keptOn, "")
		}
		return p.feed(ctx, string(p.Chassis.Recall(keyOutlet)) == keptRunning)
	case Reboot:
		return p.reboot(ctx)
	}
	return fmt.Errorf("outlet command %q: %w", c, state.ErrUnsupported)
}

// cut switches the outlet off. It is noted first, so that nobody starts the node meanwhile.
func (p Plug) cut(ctx context.Context) error {
	if IsCut(p.Chassis) {
		return bmc.PowerWhenFree(ctx, p.Chassis, state.ActionOff, bmc.PowerPatience)
	}
	kept := keptOff
	switch p.Chassis.Status().Power {
	case state.PowerOn:
		kept = keptRunning
	case state.PowerUnknown:
		return fmt.Errorf("%w: the node's power is not known yet", state.ErrBusy)
	}
	return p.change(ctx, kept, state.ActionOff)
}

// feed switches the outlet on; ran says whether the node ran when it was switched off.
func (p Plug) feed(ctx context.Context, ran bool) error {
	if p.starts(ran) {
		return p.change(ctx, keptOn, state.ActionOn)
	}
	return p.change(ctx, keptOn, "")
}

// reboot is off and on at once.
func (p Plug) reboot(ctx context.Context) error {
	if IsCut(p.Chassis) {
		return p.Turn(ctx, On)
	}
	runs := p.Chassis.Status().Power == state.PowerOn
	switch {
	case !runs:
		return p.feed(ctx, false)
	case p.starts(true):
		return p.change(ctx, keptOn, state.ActionCycle)
	}
	return p.change(ctx, keptOn, state.ActionOff)
}

// starts reports whether the node starts when power comes (IPMI v2.0 §28.8).
func (p Plug) starts(ran bool) bool {
	policy := p.Chassis.Status().Policy
	return p.Bare || policy == state.RestoreOn || policy == state.RestorePrevious && ran
}

// networkFirst has a bare node boot from the network first, unless it was told otherwise:
// nobody can set its boot device by a BMC, and Ironic's snmp driver relies on that order.
func (p Plug) networkFirst(ctx context.Context, action state.PowerAction) error {
	starts := action == state.ActionOn || action == state.ActionCycle
	if !starts || !p.Bare || p.Chassis.Status().Boot.Device != state.BootNone {
		return nil
	}
	return p.Chassis.SetBoot(ctx, state.Boot{Device: state.BootPXE, Persistent: true, EFI: p.Chassis.Hardware().BootMode == state.BootUEFI})
}

// change notes what the outlet is, and changes power; an empty action: it does not. If that
// fails, the outlet is as it was.
func (p Plug) change(ctx context.Context, kept string, action state.PowerAction) error {
	before := p.Chassis.Recall(keyOutlet)
	if string(before) != kept {
		if err := p.Chassis.Keep(ctx, keyOutlet, []byte(kept)); err != nil {
			return err
		}
	}
	if action == "" {
		return nil
	}
	err := p.networkFirst(ctx, action)
	if err == nil {
		err = bmc.PowerWhenFree(ctx, p.Chassis, action, bmc.PowerPatience)
	}
	if err != nil && string(before) != kept {
		err = errors.Join(err, p.Chassis.Keep(context.WithoutCancel(ctx), keyOutlet, before))
	}
	return err
}
