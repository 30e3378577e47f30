package driver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Setup is what clients of its BMC changed of a node's hardware. The zero value is a node
// as it was declared. Like everything of a Spec it is effective at the next power-on.
type Setup struct {
	// SecureBoot turns UEFI Secure Boot on.
	SecureBoot bool `json:"secure_boot,omitempty"`
	// Keys are those in the firmware's variables: default, none or no-pk (bmc.KeySet); empty:
	// as the firmware has them. KeysAt counts how often they were set, so that the same ones
	// set again are set again.
	Keys   string `json:"keys,omitempty"`
	KeysAt uint64 `json:"keys_at,omitempty"`
	// Volumes are what the guest sees in place of the disks that they are made of.
	Volumes []RAIDVolume `json:"volumes,omitempty"`
	// BIOS are attributes of the firmware setup, by name.
	BIOS map[string]string `json:"bios,omitempty"`
	// Order is what a start without an override tries, first to last: "disk0" is the first
	// disk that the guest sees, "nic0" the first NIC, "cdrom" the drive, "usb" the stick. What it does not
	// name comes last, as it would be without it.
	Order []string `json:"order,omitempty"`
}

// The attributes of Setup.BIOS. Those that can be turned off are "Disabled" or "Enabled",
// which they are by default. What a driver does not know it leaves out.
const (
	// BIOSBootMode is "Uefi" or "Legacy". Whoever makes a Spec writes it into Machine.
	BIOSBootMode = "BootMode"
	// BIOSVirtualization is whether the processors can virtualize.
	BIOSVirtualization = "ProcVirtualization"
	// BIOSLogicalProc is whether a core is two processors: without it there are half as many.
	BIOSLogicalProc = "LogicalProc"
	// BIOSNetworkBoot is whether the firmware starts from NICs, also if it is told to.
	BIOSNetworkBoot = "NetworkBoot"
	// BIOSSerial is whether firmware that is no UEFI shows itself on the serial console.
	BIOSSerial = "SerialRedirection"
	// BIOSBootTimeout is for how many seconds the boot menu waits; empty or 0: there is none.
	BIOSBootTimeout = "BootTimeout"
)

// Off reports whether an attribute that can be turned off is.
func (s Setup) Off(attribute string) bool { return s.BIOS[attribute] == "Disabled" }

// RAIDVolume is a part of some disks that the guest sees as one.
type RAIDVolume struct {
	ID string `json:"id"`
	// Level is the RAID level: "0", "1", "5", "6", "10", "50" or "60".
	Level string `json:"level"`
	// Disks are indices of Machine.Volumes, in order.
	Disks         []int  `json:"disks,omitempty"`
	CapacityBytes uint64 `json:"capacity_bytes"`
	// Serial is how the guest tells it from others: its serial number, of at most 20 bytes.
	Serial string `json:"serial,omitempty"`
	// Made is a number that no other volume of the node has or had: one that is deleted and
	// made again is a new, blank one. It is 1 at least.
	Made uint64 `json:"made"`
}

// IsZero reports whether nothing was changed.
func (s Setup) IsZero() bool {
	return !s.SecureBoot && s.Keys == "" && s.KeysAt == 0 && len(s.Volumes) == 0 && len(s.BIOS) == 0 && len(s.Order) == 0
}

// Clone returns a copy that shares nothing with s.
func (s Setup) Clone() Setup {
	s.Volumes, s.BIOS, s.Order = slices.Clone(s.Volumes), maps.Clone(s.BIOS), slices.Clone(s.Order)
	for i := range s.Volumes {
		s.Volumes[i].Disks = slices.Clone(s.Volumes[i].Disks)
	}
	return s
}

// Print identifies a Setup: equal ones have equal prints; empty: nothing was changed.
func (s Setup) Print() string {
	if s.IsZero() {
		return ""
	}
	b, err := json.Marshal(s)
	if err != nil { // only strings and numbers: cannot happen
		panic(fmt.Sprintf("setup: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
