package state

import "errors"

// What BMC protocols and drivers both speak of.

// Power is the power state of a chassis.
type Power string

// The power states.
const (
	PowerOn      Power = "on"
	PowerOff     Power = "off"
	PowerUnknown Power = "unknown"
)

// PowerAction is a request to change power.
type PowerAction string

// The power actions. Soft asks the guest by ACPI; Reset keeps power on; Diag is a
// non-maskable interrupt.
const (
	ActionOn    PowerAction = "on"
	ActionOff   PowerAction = "off"
	ActionSoft  PowerAction = "soft"
	ActionCycle PowerAction = "cycle"
	ActionReset PowerAction = "reset"
	ActionDiag  PowerAction = "diag"
)

// BootMode is the firmware of a node.
type BootMode string

// The boot modes.
const (
	BootBIOS BootMode = "bios"
	BootUEFI BootMode = "uefi"
)

// BootDevice is what a node boots from first.
type BootDevice string

// The boot devices. The empty one means no override: disks first, then network.
const (
	BootNone  BootDevice = ""
	BootPXE   BootDevice = "pxe"
	BootDisk  BootDevice = "disk"
	BootCDROM BootDevice = "cdrom"
	BootUSB   BootDevice = "usb"
	BootSetup BootDevice = "bios"
	BootSafe  BootDevice = "safe"
)

// Boot is a chassis' boot override.
type Boot struct {
	Device BootDevice
	// Persistent overrides hold for every boot, others for the next one only.
	Persistent bool
	// EFI is the flag a client set; it does not change the firmware.
	EFI bool
}

// RestorePolicy says what a chassis does when the host comes back.
type RestorePolicy string

// The restore policies (IPMI v2.0 §28.8).
const (
	RestorePrevious RestorePolicy = "previous"
	RestoreOn       RestorePolicy = "always-on"
	RestoreOff      RestorePolicy = "always-off"
)

// Errors of chassis operations that protocols translate.
var (
	// ErrBusy says that the driver cannot answer now; try again.
	ErrBusy = errors.New("node busy")
	// ErrWrongState says that the request is not possible in the present power state.
	ErrWrongState = errors.New("not possible in the present power state")
	// ErrUnsupported says that the driver cannot do this at all.
	ErrUnsupported = errors.New("not supported by this driver")
)
