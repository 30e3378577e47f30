// Package bmc is the interface between BMC protocols and drivers: a Chassis is the
// box that one BMC controls (IPMI v2.0 §28). Protocol servers are in bmc/ipmi and
// later bmc/redfish; bmc/endpoint opens and closes their listeners. The package
// itself starts nothing.
package bmc

import (
	"context"

	"tenks/raftfsm/state"
)

// A Chassis is safe for concurrent use. Reads come from memory and never wait for
// the driver; requests wait a moment for it, and return state.ErrBusy when it
// cannot take them now. Other errors: state.ErrWrongState, state.ErrUnsupported.
type Chassis interface {
	// Status returns the state of the chassis.
	Status() Status
	// Power asks for a power change. It returns once the change is made, or is under
	// way for longer than a client waits.
	Power(ctx context.Context, action state.PowerAction) error
	// SetBoot sets the boot override; it survives agent and host restarts.
	SetBoot(ctx context.Context, boot state.Boot) error
	// SetRestorePolicy says what happens when the host comes back.
	SetRestorePolicy(ctx context.Context, policy state.RestorePolicy) error
}

// Status is what a chassis says of itself.
type Status struct {
	Power state.Power
	// Boot is the override in force: a one-shot one is gone once it was used.
	Boot   state.Boot
	Policy state.RestorePolicy
	// LastPowerOn says that the last power-on was by a BMC command.
	LastOnByCommand bool
}
