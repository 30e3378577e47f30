// Package pdu is an SNMP agent for power distribution units whose outlets are nodes: as
// APC's rack PDUs for whoever reads and writes their MIB (PowerNet-MIB). It speaks SNMPv1,
// SNMPv2c and SNMPv3 (RFC 3411 to 3418, 3584, 3826, 7860). Who logs in says which unit is
// meant. Listen opens a Server, which starts goroutines; Close stops and waits for them.
package pdu

import (
	"context"
	"log/slog"

	"tenks/raftfsm/state"
)

// Unit is a power distribution unit.
type Unit struct {
	// PDU says who may log in.
	state.PDU
	// Outlets are those that have a node, by number.
	Outlets []Outlet
}

// Outlet is one outlet of a unit.
type Outlet struct {
	// Number counts from 1.
	Number int
	// Node is the name of the node that is plugged in, UUID its UUID.
	Node, UUID string
}

// Command is what outlets are told.
type Command string

// The commands.
const (
	On     Command = "on"
	Off    Command = "off"
	Reboot Command = "reboot"
)

// Config says which units there are, and who switches them.
type Config struct {
	// Engine identifies this agent: it is made an engine ID of (RFC 3411 §5), so it is to be
	// another one for every agent, and stay the same.
	Engine string
	// Version is that of the firmware.
	Version string
	// States says which outlets are on, by UUID. Those that nobody knows of are left out.
	States func(ctx context.Context, outlets []Outlet) map[string]bool
	// Switch carries out a command. state.ErrBusy: not now.
	Switch func(ctx context.Context, o Outlet, c Command) error
	Log    *slog.Logger
}
