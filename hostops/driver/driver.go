// Package driver is the boundary between this host's reconciler and whatever
// embodies nodes: the Driver interface, the values it speaks of, and its form as a
// separate process (hashicorp/go-plugin over gRPC), so that libvirt's C code, or
// anybody's own provider, runs outside the agent.
//
// A Driver is safe for concurrent use. It touches only objects that carry the mark
// of its mesh.
package driver

import (
	"context"
	"io"
	"time"

	"tenks/raftfsm/state"
)

// Config is what a driver is told once, before anything else.
type Config struct {
	// Mesh is the mesh's ID, the mark that every object gets.
	Mesh string
	// DataDir is a directory of the driver's own, made by the caller, mode 0700.
	DataDir string
	// ConsoleDir is where serial console logs go, one file "<node>.log" each.
	ConsoleDir string
	// Options are the driver's keys of agent.yml, such as uri, domain_type, pool_path.
	Options map[string]string
}

// Driver is everything that an agent needs of a provider.
type Driver interface {
	Provisioner
	Operator
}

// Provisioner makes and removes nodes.
type Provisioner interface {
	// Info says what the driver is and what the host has. It fails when the
	// provider cannot be reached, with an error that says what to do.
	Info(ctx context.Context) (Info, error)
	// Instances returns every node that carries our mark, sorted by UUID.
	Instances(ctx context.Context) ([]Instance, error)
	// Ensure makes the node exist as described, powered off if it is new. Repeating
	// it changes nothing. A running guest is never disturbed: what cannot change
	// under it becomes effective at its next power-on, and Instance.Pending says so.
	// A foreign object of the same name is an error that names it.
	Ensure(ctx context.Context, spec Spec) error
	// Remove stops and deletes the node, its volumes, firmware variables and
	// console log; an absent one is no error.
	Remove(ctx context.Context, uuid string) error
}

// Operator works a node's chassis.
type Operator interface {
	// Power carries out req and returns when it is done; ActionSoft and ActionDiag
	// return once the guest has been told. On when on and off when off are no
	// errors. Errors: state.ErrWrongState, state.ErrNotFound, state.ErrUnsupported.
	Power(ctx context.Context, uuid string, req PowerRequest) error
	// SetMedia puts a file, read only, into one of the node's drives, at once also where the
	// guest runs, and in place of what is there; an empty path empties it. The guest is not
	// asked. It may be repeated, and stays over power cycles. A file that is gone is an
	// empty drive at the next power-on. Errors: state.ErrNotFound, state.ErrUnsupported.
	SetMedia(ctx context.Context, uuid string, slot Slot, path string) error
	// Loads returns what every running guest of ours used, in no order, in one cheap call.
	// Errors: state.ErrUnsupported.
	Loads(ctx context.Context) ([]Load, error)
	// Console attaches to the serial console of a running node. Closing the result
	// detaches, and so may the end of ctx. Read returns io.EOF once the guest is off
	// or the console is closed. Errors: state.ErrWrongState when it is off,
	// state.ErrNotFound.
	Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error)
	// Watch calls on for every change until ctx ends (nil) or the provider is lost
	// (an error). The first call is EventReady, made once no later change can be
	// missed. Calls are made one at a time.
	Watch(ctx context.Context, on func(Event)) error
}

// Slot is where a node takes media.
type Slot string

// The slots. The CD-ROM drive is always there; a USB stick is plugged in with its medium,
// and unplugged with it.
const (
	SlotCD  Slot = "cdrom"
	SlotUSB Slot = "usb"
)

// A Breaker is a console that can send a break, the signal of a serial line that is no
// byte: what Console returns may be one. It is in order with what is written, and not called
// at the same time as that.
type Breaker interface {
	// SendBreak returns once it is on its way.
	SendBreak(ctx context.Context) error
}

// Info says what a driver is and what its host has.
type Info struct {
	Name    string
	Version string
	// Capacity is what the provider has in all; zero where the host's own count.
	Capacity state.Resources
	// Facts are for people and doctor, such as "domain_type": "qemu".
	Facts map[string]string
}

// Spec is a node as it should be on this host.
type Spec struct {
	UUID  string
	Name  string
	Epoch uint64
	// Machine is what it consists of.
	Machine state.Machine
	// Ports are its NICs, in order.
	Ports []Port
	// Boot is the order for a start that nobody asked this agent for. It is not part
	// of the digest.
	Boot state.Boot
	// Setup is what clients of its BMC changed.
	Setup Setup `json:",omitzero"`
	// Origin is what there was of it before it was declared: it is taken over as it is.
	Origin Origin `json:",omitzero"`
}

// Origin is what there was of a node before it was declared, made by another tool. A node
// with one whose object has no mark is not foreign: it gets ours.
type Origin struct {
	// Volumes are those of Machine, in order.
	Volumes []state.OriginVolume `json:",omitempty"`
	// NVRAM is the file of the firmware's variables; empty: there is none.
	NVRAM string `json:",omitempty"`
}

// IsZero reports whether there was nothing.
func (o Origin) IsZero() bool { return o.Volumes == nil && o.NVRAM == "" }

// Port is a NIC of a node.
type Port struct {
	MAC     string
	Physnet string
	// Link is the node-side end ("…-tap") that the NIC is plugged into.
	Link string
	// MTU is what the guest is told that its NIC takes, in bytes; 0: 1500, which needs no word.
	MTU int `json:",omitempty"`
}

// Instance is a node as it is.
type Instance struct {
	UUID  string
	Name  string
	Epoch uint64
	Power state.Power
	// Digest is Spec.Digest of what it was last made from. It is empty when a part
	// is missing or was changed from outside, so that Ensure mends it.
	Digest string
	// Pending says, in words, what becomes effective at the next power-on.
	Pending []string
	// Media is the file in the CD-ROM drive, USB the one that is plugged in as a stick;
	// empty: none.
	Media, USB string
	// Firmware is what is known of the firmware and its variables as they are now, by words
	// of the driver's; nil: nothing.
	Firmware map[string]string
	// Display is where the screen of a running guest is shared, as a URL such as
	// vnc://127.0.0.1:5900; empty: nowhere.
	Display string
}

// In is the file in a slot; empty: none.
func (i Instance) In(slot Slot) string {
	if slot == SlotUSB {
		return i.USB
	}
	return i.Media
}

// Load is what a guest used since it began.
type Load struct {
	UUID string
	// CPU is the time on all its CPUs together.
	CPU time.Duration
	// VCPUs is how many CPUs it has; 0: not known.
	VCPUs int
}

// PowerRequest is a power change.
type PowerRequest struct {
	Action state.PowerAction
	// Boot is the effective boot order for a start (On, Cycle, Reset).
	Boot state.Boot
}

// EventType says what an Event is about.
type EventType string

// The event types.
const (
	// EventReady opens a watch.
	EventReady EventType = "ready"
	// EventPower reports a new power state.
	EventPower EventType = "power"
	// EventReboot reports that the guest, or a reset, restarted the machine while
	// power stayed on.
	EventReboot EventType = "reboot"
	// EventChanged reports a definition made, changed or removed, by anybody.
	EventChanged EventType = "changed"
)

// Event is a change that the provider reports.
type Event struct {
	Type EventType
	UUID string
	// Power is set for EventPower.
	Power state.Power
	// Cause says who changed power.
	Cause Cause
}

// Cause says who changed power.
type Cause string

// The causes.
const (
	// CauseRequest is a Power call, or an administrator's tool.
	CauseRequest Cause = "request"
	// CauseGuest is the guest that shut itself down.
	CauseGuest Cause = "guest"
	// CauseHost is the host that stopped it, a crash, or a killed process: not
	// something a chassis should remember as "switched off".
	CauseHost Cause = "host"
)
