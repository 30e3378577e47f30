// Package bmc is the interface between BMC protocols and drivers: a Chassis is the
// box that one BMC controls (IPMI v2.0 §28). Protocol servers are in bmc/ipmi and
// bmc/redfish; bmc/endpoint opens and closes their listeners. The package
// itself starts nothing.
package bmc

import (
	"context"
	"io"
	"time"

	"tenks/raftfsm/state"
)

// A Chassis is safe for concurrent use. Reads come from memory and never wait for
// the driver; requests wait a moment for it, and return state.ErrBusy when it
// cannot take them now. Other errors: state.ErrWrongState, state.ErrUnsupported.
type Chassis interface {
	Control
	Machine
	Memory
	Drive
}

// Control is what is set on the chassis.
type Control interface {
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

// Machine is what is in the chassis.
type Machine interface {
	// Console attaches to the serial console of the running node; closing the result, or
	// the end of ctx, detaches. Read returns io.EOF once the node is off. Several may be
	// attached at a time: each sees all output, and first what others have seen lately.
	// state.ErrWrongState: it is off.
	Console(ctx context.Context) (io.ReadWriteCloser, error)
	// Hardware says what the node consists of, from memory.
	Hardware() Hardware
	// Load returns what the node's guest used of its hardware lately, from memory; ok is
	// false while nothing is known, as when the node is off.
	Load() (l Load, ok bool)
	// Subscribe calls on for each event of the chassis, in order and one at a time, until
	// cancel was called. on must not wait, and may call no method of the chassis.
	Subscribe(on func(Event)) (cancel func())
}

// Drive takes media (Redfish DSP0266: virtual media). A Chassis is its own CD-ROM drive,
// which is always there: boot it with state.BootCDROM. USBPort has another one.
type Drive interface {
	// InsertMedia fetches an image and puts it into the drive, at once also where the guest
	// runs, in place of what is there. It waits until that is done, which may take long: the
	// end of ctx, EjectMedia or another InsertMedia ends it. It stays over restarts of agent
	// and host. Errors, besides those of any request: state.ErrRefused (the URL, or an image
	// that is too large: asking again does not help), and what the image's server said.
	InsertMedia(ctx context.Context, m Media) error
	// EjectMedia empties the drive, whatever the guest says; an empty one is no error.
	EjectMedia(ctx context.Context) error
	// Media says what is in the drive, from memory.
	Media() MediaStatus
}

// Media is an image to put into the drive.
type Media struct {
	// URL is of http or https.
	URL string
	// Username and Password are for basic authentication; both empty: none.
	Username string
	Password state.Secret
	// VerifyCertificate checks an https server's certificate, against CACert (PEM) if that is
	// not empty, otherwise against the host's certificate authorities.
	VerifyCertificate bool
	CACert            []byte
}

// MediaStatus is what is in the drive.
type MediaStatus struct {
	Inserted bool
	// URL is where it came from, without user and password; Name is the last part of its path.
	URL, Name string
	// Fetching says that an image is being fetched, of which Fetched bytes are here. The drive
	// is as it was meanwhile.
	Fetching bool
	Fetched  uint64
}

// AwaitsMedia says that the next start is from a drive, while the image for it is still
// on its way: who starts the machine now would start it without. Every protocol has such
// a start wait, or refuses it as state.ErrBusy.
func AwaitsMedia(c Chassis) bool {
	d := DriveOf(c, c.Status().Boot.Device)
	return d != nil && d.Media().Fetching
}

// DriveOf returns the drive that a boot device starts, or nil: it is not one that takes
// media, or the chassis has none.
func DriveOf(c Chassis, device state.BootDevice) Drive {
	switch device {
	case state.BootCDROM:
		return c
	case state.BootUSB:
		if p, able := As[USBPort](c); able {
			return p.USB()
		}
	case state.BootNone, state.BootPXE, state.BootDisk, state.BootSetup, state.BootSafe:
	}
	return nil
}

// StartsAnew says whether a power action begins the machine anew.
func StartsAnew(action state.PowerAction, power state.Power) bool {
	return action == state.ActionReset || action == state.ActionCycle || action == state.ActionOn && power != state.PowerOn
}

// Memory is what a BMC keeps of its node over restarts of agent and host, by a key per
// purpose such as "ipmi/sel". It goes where the node goes.
type Memory interface {
	// Recall returns what was kept under the key, or nil. It does not wait. The result is
	// not to be changed.
	Recall(key string) []byte
	// Keep writes value, at most 64 KiB; it is on disk when Keep returns. A nil value
	// forgets the key.
	Keep(ctx context.Context, key string, value []byte) error
}

// KeyAssetTag is where every protocol keeps the asset tag: text of at most 63 bytes.
const KeyAssetTag = "asset-tag"

// Hardware is what a node consists of.
type Hardware struct {
	// UUID is the node's, in lower case with hyphens; Name its name in the mesh.
	UUID, Name string
	MemoryMB   uint64 // in MiB
	VCPUs      int
	// Arch is libvirt's name, such as "x86_64".
	Arch     string
	BootMode state.BootMode
	// TPM is the version of the TPM (TCG), state.TPM2; empty: there is none.
	TPM   string
	NICs  []NIC
	Disks []Disk
	// Identity is what it says it is; what is empty is up to the protocol.
	Identity Identity
	// Display is where its screen is shared while it runs, as a URL; empty: nowhere.
	Display string
}

// Identity is what a machine says it is, by SMBIOS (DMTF DSP0134 §7.2) as well.
type Identity struct {
	Manufacturer, Product, Version, Serial, SKU string
	// Asset is the asset tag until a client sets another.
	Asset string
}

// NIC is a network interface of a node.
type NIC struct {
	// MAC is in lower case with colons.
	MAC     string
	Physnet string
	// Switch is where it is plugged in, as far as that is known.
	Switch SwitchPort
}

// SwitchPort is the port of a switch that a node's interface is plugged in to: Ironic's
// local_link_connection, and what LLDP says (IEEE 802.1AB).
type SwitchPort struct {
	// Name and MAC are the switch's: empty while they are not known. MAC is in lower case
	// with colons; Port is the name of its interface.
	Name, MAC, Port string
}

// Disk is a volume of a node.
type Disk struct{ CapacityBytes uint64 }

// Load is what a guest used of its hardware over the last seconds.
type Load struct {
	// At is when it was measured.
	At time.Time
	// CPU is the share of all its vCPUs, 0 to 1.
	CPU float64
}

// Event is something that happened to a chassis.
type Event struct {
	At   time.Time
	Kind EventKind
	// ByCommand says that a BMC command was the reason.
	ByCommand bool
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventOn    EventKind = "on"    // power came
	EventOff   EventKind = "off"   // power went
	EventReset EventKind = "reset" // the machine began anew under power

	EventInsert EventKind = "insert" // an image was put into the drive
	EventEject  EventKind = "eject"  // the drive was emptied
	EventPlug   EventKind = "plug"   // a USB stick was plugged in
	EventUnplug EventKind = "unplug" // it was unplugged
)

// Status is what a chassis says of itself.
type Status struct {
	Power state.Power
	// Boot is the override in force: a one-shot one is gone once it was used.
	Boot   state.Boot
	Policy state.RestorePolicy
	// LastPowerOn says that the last power-on was by a BMC command.
	LastOnByCommand bool
}

// Wrapper is a Chassis around another one; As looks inside.
type Wrapper interface {
	// Unwrap returns the chassis inside, or nil while there is none.
	Unwrap() Chassis
}

// As finds what else a chassis can do, such as SecureBooter or RAID, also inside of
// Wrappers.
func As[T any](c Chassis) (t T, ok bool) {
	for c != nil {
		if t, ok = c.(T); ok {
			return t, true
		}
		w, wraps := c.(Wrapper)
		if !wraps {
			break
		}
		c = w.Unwrap()
	}
	return t, false
}

// SecureBooter is a chassis whose firmware can do UEFI Secure Boot (UEFI 2.10 §32). The
// firmware of others cannot.
type SecureBooter interface {
	// SecureBoot says how it is set, from memory.
	SecureBoot() SecureBoot
	// SetSecureBoot turns it on or off, from the next start on. It survives agent and host
	// restarts. state.ErrWrongState: there is no platform key.
	SetSecureBoot(ctx context.Context, enable bool) error
	// ResetKeys changes the keys in the firmware's variables, from the next start on; without
	// a platform key Secure Boot is off.
	ResetKeys(ctx context.Context, keys KeySet) error
}

// SecureBoot is how Secure Boot is set.
type SecureBoot struct {
	// Enabled is for the next start; Enforced is what the running guest was started with,
	// false if it is off.
	Enabled, Enforced bool
	// Keys is for the next start; Enrolled is what is in the firmware's variables now.
	Keys, Enrolled KeySet
	// Certificates are those of the databases "PK", "KEK", "db" and "dbx" as PEM, as far as
	// they are known.
	Certificates map[string][]string
	// Hashes are the SHA-256 digests of images in the databases, in hexadecimal, as far as
	// they are known.
	Hashes map[string][]string
}

// KeySet says which keys are in the firmware's variables.
type KeySet string

// The key sets.
const (
	KeysDefault KeySet = "default" // those that the firmware comes with
	KeysNone    KeySet = "none"
	KeysNoPK    KeySet = "no-pk" // as they were, without the platform key
	// KeysCustom has a platform key that is not the firmware's: who uses the node enrolled it.
	KeysCustom KeySet = "custom"
)

// BIOSer is a chassis whose hardware, or firmware, is as some attributes of the firmware
// setup say. Where one is not, clients configure a model that the guest does not see.
type BIOSer interface {
	// SetAttributes sets all of them, from the guest's next start on: what is not among them
	// has its default, and what is no such attribute is left out. It survives agent and host
	// restarts. The firmware that is set is Hardware.BootMode at once.
	SetAttributes(ctx context.Context, attributes map[string]string) error
}

// The attributes of a BIOSer. Where nothing else is said they are "Enabled", the default, or
// "Disabled".
const (
	// AttributeBootMode is the firmware: "Uefi" or "Legacy"; by default what was declared.
	AttributeBootMode = "BootMode"
	// AttributeVirtualization is whether the processors can virtualize.
	AttributeVirtualization = "ProcVirtualization"
	// AttributeLogicalProc is whether a core is two processors: without it there are half as
	// many.
	AttributeLogicalProc = "LogicalProc"
	// AttributeNetworkBoot is whether the firmware starts from NICs, also if it is told to.
	AttributeNetworkBoot = "NetworkBoot"
	// AttributeSerial is whether firmware that is no UEFI shows itself on the serial console.
	AttributeSerial = "SerialRedirection"
	// AttributeBootTimeout is for how many seconds the boot menu waits, at most 59; by default
	// there is none.
	AttributeBootTimeout = "BootTimeout"
)

// USBPort is a chassis into which a USB stick can be plugged.
type USBPort interface {
	// USB returns the stick's drive: inserting an image plugs in a stick that has it, and
	// ejecting unplugs the stick. Boot it with state.BootUSB.
	USB() Drive
}

// BootOrderer is a chassis whose boot order can be set. Others have one that follows from
// their hardware: disks, then NICs, then the CD-ROM drive, then the USB stick.
type BootOrderer interface {
	// BootOrder is what starts without an override try, first to last, from memory: "disk0"
	// is the first disk that the guest sees, "nic0" the first NIC, "cdrom" the drive, "usb" the
	// stick. What it does not name comes last, in the order of others. Nil: it was not set.
	BootOrder() []string
	// SetBootOrder sets it, from the next start on. It survives agent and host restarts.
	SetBootOrder(ctx context.Context, order []string) error
}

// RAID is a chassis that can put its disks together to volumes. Where one cannot, clients
// configure a model that the guest does not see.
type RAID interface {
	// SetVolumes has the guest see the volumes in place of the disks that they are made of,
	// from its next start on; a guest that runs keeps what it has until then. Volumes that are
	// new are blank, and what was on the disks that they are made of is lost then. Disks of no
	// volume are seen as disks; those whose volume is gone are as they were declared. It
	// survives agent and host restarts.
	SetVolumes(ctx context.Context, volumes []Volume) error
}

// Volume is a part of some disks that the guest sees as one.
type Volume struct {
	ID string
	// Level is the RAID level: "0", "1", "5", "6", "10", "50" or "60".
	Level string
	// Disks are indices of Hardware.Disks, in order.
	Disks         []int
	CapacityBytes uint64
	// Serial is the serial number that the guest sees, of at most 20 bytes.
	Serial string
}
