package state

import (
	"math"
	"slices"
)

// Machine is the hardware of a node: what its type declares.
type Machine struct {
	// Driver names what embodies the node: "libvirt", "fake".
	Driver string
	// MemoryMB is in MiB.
	MemoryMB uint64
	VCPUs    int
	Volumes  []Volume
	// Physnets names the physical network of each port, in port order.
	Physnets []string
	BootMode BootMode
	// IronicDriver is the hardware type in Ironic, and so the BMC protocol: "ipmi",
	// "redfish", or "snmp" where there is only an outlet.
	IronicDriver string
	// SecureBoot has nodes begin with UEFI Secure Boot on and the firmware's default keys; only
	// with BootUEFI.
	SecureBoot bool `json:",omitempty"`
	// TPM is the version of the node's TPM, TPM2; empty: it has none.
	TPM string `json:",omitempty"`
	// Trunks has, for each of Physnets, which tagged frames the port passes, as Port.Trunk
	// says; nil: no port is a trunk.
	Trunks []string `json:",omitempty"`
	// Hardware is all else; what is zero is up to the driver.
	Hardware Hardware `json:",omitzero"`
}

// Trunk is what Port.Trunk of port i is.
func (m Machine) Trunk(i int) string {
	if i < len(m.Trunks) {
		return m.Trunks[i]
	}
	return ""
}

// TPM2 is the version of a TPM that there can be (TCG TPM 2.0 Library).
const TPM2 = "2.0"

// DiskBytes is the sum of the capacities, in bytes, of all volumes that are made for the
// node; the largest number there is where it is larger still. What exists already takes no
// room of the hypervisor's.
func (m Machine) DiskBytes() uint64 {
	var sum uint64
	for _, v := range m.Volumes {
		if v.Path != "" {
			continue
		}
		if sum > math.MaxUint64-v.CapacityBytes {
			return math.MaxUint64
		}
		sum += v.CapacityBytes
	}
	return sum
}

// Volume is one disk. Volumes can be compared.
type Volume struct {
	// CapacityBytes may be 0, for not known, where there is a Path.
	CapacityBytes uint64
	// Image is a disk image that the volume begins with: its absolute path on the hypervisor,
	// or a URL of http or https; empty: a blank volume.
	Image string
	// Copy makes the volume a copy of the image, instead of a difference to it.
	Copy bool `json:",omitempty"`
	// Checksum of the image's file, as in "sha256:…"; empty: it is not checked.
	Checksum string `json:",omitempty"`
	// Format is "raw" or "qcow2"; empty: raw for a blank volume, qcow2 for one with an image.
	Format string `json:",omitempty"`
	// Path is a file or block device on the hypervisor that is the disk. It is never made,
	// changed or deleted. Empty: the volume is the node's own.
	Path string `json:",omitempty"`
	// Pool names a storage pool of the hypervisor's that the volume is made in; empty: the
	// driver's own.
	Pool string `json:",omitempty"`
	// Bus and Cache are as in Hardware, and before those.
	Bus   string `json:",omitempty"`
	Cache string `json:",omitempty"`
	// Discard is "unmap" or "ignore"; empty: unmap.
	Discard string `json:",omitempty"`
	// Serial and WWN are how the guest tells the disk from others; empty: it has none.
	Serial string `json:",omitempty"`
	WWN    string `json:",omitempty"`
	// Made counts how often a node's volume was declared as one that it cannot become with
	// its data: it is made anew, without that. In the declaration of a type it is 0.
	Made uint64 `json:",omitempty"`
}

// Architectures, as Hardware.Arch has them, and Ironic's property cpu_arch. ArchX86 is what
// an empty one means.
const (
	ArchX86 = "x86_64"
	ArchARM = "aarch64"
)

// Hardware is what a node's type may say of the machine beyond its size. The zero value, and
// each zero field, leaves it to the driver; a driver ignores what it cannot do.
type Hardware struct {
	// Arch is ArchARM; empty: ArchX86. See Machine.Arch.
	Arch string `json:",omitempty"`
	// MachineType is the driver's own word, such as "q35", "pc" or "virt".
	MachineType string `json:",omitempty"`
	// CPUMode is "host-passthrough", "host-model", "maximum", or "custom" with a CPUModel.
	CPUMode  string   `json:",omitempty"`
	CPUModel string   `json:",omitempty"`
	Topology Topology `json:",omitzero"`
	// VolumePrefix is between a node's name and a number in the names of its volumes; empty:
	// "vol". Those that there are keep theirs.
	VolumePrefix string `json:",omitempty"`
	// ClockOffset is "utc" or "localtime".
	ClockOffset string `json:",omitempty"`
	// DiskBus is "virtio", "scsi", "sata", "ide" or "usb"; DiskCache is "none", "writeback",
	// "writethrough", "directsync" or "unsafe".
	DiskBus   string `json:",omitempty"`
	DiskCache string `json:",omitempty"`
	NICModel  string `json:",omitempty"`
	// NoConsoleLog keeps the serial console out of the file that it is logged to otherwise;
	// NewConsoleLog begins that file anew with each start.
	NoConsoleLog  bool `json:",omitempty"`
	NewConsoleLog bool `json:",omitempty"`
	// ConsoleLogBytes is how large the file may get until it is rotated, ConsoleLogKeep how
	// many older ones stay; 0: as the driver does.
	ConsoleLogBytes uint64 `json:",omitempty"`
	ConsoleLogKeep  int    `json:",omitempty"`
	// VNC and Spice give the machine a screen that is shared by that protocol.
	VNC   bool `json:",omitempty"`
	Spice bool `json:",omitempty"`
	// GuestAgent gives it a channel for the QEMU guest agent.
	GuestAgent bool   `json:",omitempty"`
	SMBIOS     SMBIOS `json:",omitzero"`
	// USBDevices are devices of the hypervisor that are plugged into the machine.
	USBDevices []USBDevice `json:",omitempty"`
	// TrustGuestRXFilters lets a guest change the MAC address of a NIC's link.
	TrustGuestRXFilters bool `json:",omitempty"`
	// CDROMs are drives with a disc, beside the one that the BMC has.
	CDROMs []CDROM `json:",omitempty"`
	// XMLOverlay is what a driver for libvirt merges over the domain that it makes.
	XMLOverlay string `json:",omitempty"`
}

// Topology says how vCPUs are made up; all zero, or each 1 at least.
type Topology struct{ Sockets, Cores, Threads int }

// SMBIOS is what a machine says it is (DMTF DSP0134 §7.2-7.4). "{name}" and "{uuid}" in a
// text stand for the node's.
type SMBIOS struct {
	Manufacturer string `json:",omitempty"`
	Product      string `json:",omitempty"`
	Version      string `json:",omitempty"`
	Serial       string `json:",omitempty"`
	SKU          string `json:",omitempty"`
	Family       string `json:",omitempty"`
	Asset        string `json:",omitempty"`
}

// USBDevice is told from others by two numbers of four hexadecimal digits each.
type USBDevice struct{ Vendor, Product string }

// CDROM is a drive with a disc in it.
type CDROM struct {
	// Image is a path on the hypervisor, or a URL of http or https.
	Image    string
	Checksum string `json:",omitempty"`
	// Bus is as in Hardware; empty: that of the BMC's drive.
	Bus string `json:",omitempty"`
}

// Equal reports whether both say the same.
func (h Hardware) Equal(o Hardware) bool {
	usb, cds := slices.Equal(h.USBDevices, o.USBDevices), slices.Equal(h.CDROMs, o.CDROMs)
	return usb && cds && h.plain() == o.plain()
}

// IsZero reports whether nothing is said. It is what omitzero asks.
func (h Hardware) IsZero() bool { return h.Equal(Hardware{}) }

// plainHardware is all of Hardware that is no list.
type plainHardware struct {
	words    [9]string
	topology Topology
	flags    [6]bool
	bytes    uint64
	keep     int
	smbios   SMBIOS
}

func (h Hardware) plain() plainHardware {
	return plainHardware{
		words:    [...]string{h.Arch, h.MachineType, h.CPUMode + " " + h.CPUModel, h.ClockOffset, h.DiskBus, h.DiskCache, h.NICModel, h.XMLOverlay, h.VolumePrefix},
		topology: h.Topology,
		flags:    [...]bool{h.NoConsoleLog, h.NewConsoleLog, h.VNC, h.Spice, h.GuestAgent, h.TrustGuestRXFilters},
		bytes:    h.ConsoleLogBytes, keep: h.ConsoleLogKeep, smbios: h.SMBIOS,
	}
}

// Arch is the machine's architecture.
func (m Machine) Arch() string {
	if m.Hardware.Arch == "" {
		return ArchX86
	}
	return m.Hardware.Arch
}
