package config

import "regexp"

// Hardware is what a node type may say of the machine beyond its size. What is empty is up
// to the driver.
type Hardware struct {
	// Architecture is "x86_64" or "aarch64".
	Architecture string
	// MachineType is libvirt's, such as "q35".
	MachineType string
	CPUMode     string
	// CPUModel goes with CPUMode "custom".
	CPUModel    string
	CPUTopology CPUTopology
	ClockOffset string
	DiskBus     string
	DiskCache   string
	NICModel    string
	// ConsoleLogEnabled, and how the file of the serial console is kept.
	ConsoleLogEnabled, ConsoleLogAppend bool
	ConsoleLogSize                      Size
	ConsoleLogKeep                      int
	EnableVNC, EnableSpice              bool
	// EnableGuestVirtio is a channel for the QEMU guest agent.
	EnableGuestVirtio   bool
	SMBIOS              SMBIOS
	USBDevices          []USBDevice
	TrustGuestRXFilters bool
	// XMLOverlay is a libvirt domain that is merged over the one that is made.
	XMLOverlay string
}

// CPUTopology is how the vCPUs are made up. Zero: not said.
type CPUTopology struct{ Sockets, Cores, Threads int }

// SMBIOS is what a machine says it is.
type SMBIOS struct {
	Manufacturer, Product, Version, Serial, SKU, Family, Asset string
}

// USBDevice is told from others by two numbers of four hexadecimal digits.
type USBDevice struct{ Vendor, Product string }

// Volume is a disk, or a CD-ROM.
type Volume struct {
	// Capacity may be 0 where there is a Path, and for a CD-ROM.
	Capacity Size
	// Image is an absolute path on the hypervisor, or a URL of http or https; BackingImage is
	// one that the volume is a difference to. Both are empty for a blank volume.
	Image, BackingImage string
	// Copy makes the volume a copy of Image, instead of a difference to it.
	Copy bool
	// Checksum is that of the image's file.
	Checksum string
	Format   string
	// Bus and Cache come before the type's DiskBus and DiskCache.
	Bus, Cache, Discard string
	// Device is "disk", "cdrom", or empty for a disk.
	Device string
	// Path is an existing file or block device on the hypervisor.
	Path string
	// Pool is a storage pool of the hypervisor's.
	Pool        string
	Serial, WWN string
}

// CDROM reports whether it is one.
func (v Volume) CDROM() bool { return v.Device == "cdrom" }

// maxOverlay is how long an xml_overlay may be, in characters.
const maxOverlay = 64 << 10

// Words that keys of the machine take.
var (
	diskBuses  = []string{"virtio", "scsi", "sata", "ide", "usb", "nvme"}
	diskCaches = []string{"none", "writeback", "writethrough", "directsync", "unsafe"}
	nicModels  = []string{"virtio", "e1000", "e1000e", "igb", "rtl8139", "vmxnet3", "pcnet", "ne2k_pci",
		"virtio-transitional", "virtio-non-transitional"}
)

var (
	machineType = pattern{
		re: regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._+-]*$`), most: 63,
		want: "a machine type of libvirt, such as q35, pc or virt",
	}
	cpuModel = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`), most: 63,
		want: "a CPU model of libvirt, such as Haswell-noTSX",
	}
	diskImage = pattern{
		re:   regexp.MustCompile(`^(https?://[^/?#@\s]+/[^?#\s]+|/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f])$`),
		most: 4095, quiet: true,
		want: "an absolute path, or an http or https URL without credentials and query",
	}
	checksum = pattern{
		re:   regexp.MustCompile(`^(md5:[0-9A-Fa-f]{32}|sha1:[0-9A-Fa-f]{40}|sha256:[0-9A-Fa-f]{64}|sha512:[0-9A-Fa-f]{128})$`),
		most: 200, want: "a checksum: sha512:, sha256:, sha1: or md5:, and its hexadecimal digits",
	}
	volPrefix = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`), most: 32,
		want: `at most 32 letters, digits, ".", "_" and "-", the first no "."`,
	}
	// poolMode lets QEMU's user through.
	poolMode = pattern{
		re: regexp.MustCompile(`^0?7[1357][1357]$`), most: 4,
		want: "an octal mode in quotes that lets others through, such as 711 or 755",
	}
	poolName = pattern{re: plainName.re, most: 63, want: "the name of a storage pool of libvirt"}
	// volumeGroup is what lvm(8) takes, short enough for logical volumes in it.
	volumeGroup = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+.-]*$`), most: 63,
		want: `the name of a volume group of LVM: letters, digits, "_", "+", "." and "-", the first no "-"`,
	}
	// diskSerial is what libvirt takes, as long as virtio has it.
	diskSerial = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`), most: 20,
		want: `a serial number of at most 20 letters, digits, "_", ".", "+" and "-"`,
	}
	wwn = pattern{
		re: regexp.MustCompile(`^[0-9A-Fa-f]{16}$`), most: 16,
		want: "a World Wide Name: 16 hexadecimal digits",
	}
	usbNumber = pattern{
		re: regexp.MustCompile(`^(0x)?[0-9A-Fa-f]{4}$`), most: 6,
		want: "a number of a USB device in quotes: four hexadecimal digits",
	}
	// smbiosText has no comma: QEMU's options are split there.
	smbiosText = pattern{
		re: regexp.MustCompile(`^[!-+\--~]([ -+\--~]*[!-+\--~])?$`), most: 64,
		want: "1 to 64 printable ASCII characters without commas",
	}
	xmlText = pattern{
		re: regexp.MustCompile(`^[^\x00-\x08\x0b\x0c\x0e-\x1f]*[!-~][^\x00-\x08\x0b\x0c\x0e-\x1f]*$`), most: maxOverlay,
		want: "a <domain> of libvirt's XML",
	}
)

func hardwareBase() Hardware {
	return Hardware{Architecture: "x86_64", ConsoleLogEnabled: true, ConsoleLogAppend: true}
}

// hardware are the keys of a node type that say what the machine is like.
func hardware() []field[NodeType] {
	return []field[NodeType]{
		opt("architecture", "Architecture of the processors. One that is not the host's is emulated.",
			func(t *NodeType) *string { return &t.Architecture }, choice([]string{"x86_64", "aarch64"}, nil)),
		opt("machine", "Machine type of libvirt. Absent: q35, or virt with architecture aarch64.",
			func(t *NodeType) *string { return &t.MachineType }, text(machineType)),
		opt("cpu_mode", "What the processors are like. Absent: host-passthrough with KVM, maximum where they are emulated.",
			func(t *NodeType) *string { return &t.CPUMode }, choice([]string{"host-passthrough", "host-model", "maximum", "custom"}, nil)),
		opt("cpu_model", "With cpu_mode custom: the model.",
			func(t *NodeType) *string { return &t.CPUModel }, text(cpuModel)),
		opt("cpu_topology", "How the vCPUs are made up. Absent: a socket each.",
			func(t *NodeType) *CPUTopology { return &t.CPUTopology }, topology()),
		opt("clock_offset", "What the hardware clock has. Absent: utc.",
			func(t *NodeType) *string { return &t.ClockOffset }, choice([]string{"utc", "localtime"}, nil)),
		opt("disk_bus", "Bus of the disks that do not name their own. Absent: virtio.",
			func(t *NodeType) *string { return &t.DiskBus }, choice(diskBuses, nil)),
		opt("disk_cache", "Caching of the disks that do not name their own; unsafe: the fastest, and a crash of the host may cost data.",
			func(t *NodeType) *string { return &t.DiskCache }, choice(diskCaches, nil)),
		opt("nic_model", "Model of the ports. Absent: virtio.",
			func(t *NodeType) *string { return &t.NICModel }, choice(nicModels, nil)),
		opt("console_log_enabled", "Whether the serial console is logged to a file.",
			func(t *NodeType) *bool { return &t.ConsoleLogEnabled }, flag()),
		opt("console_log_append", "Whether that file is gone on with at each start, instead of begun anew.",
			func(t *NodeType) *bool { return &t.ConsoleLogAppend }, flag()),
		opt("console_log_size", "How large that file may get until it is rotated. Absent: as virtlogd does.",
			func(t *NodeType) *Size { return &t.ConsoleLogSize }, logSize()),
		opt("console_log_keep", "How many older files stay. Absent: as virtlogd does.",
			func(t *NodeType) *int { return &t.ConsoleLogKeep }, whole[int](1, 100)),
		opt("enable_vnc", "Whether there is a screen, shared by VNC.",
			func(t *NodeType) *bool { return &t.EnableVNC }, flag()),
		opt("enable_spice", "Whether there is a screen, shared by SPICE.",
			func(t *NodeType) *bool { return &t.EnableSpice }, flag()),
		opt("enable_guest_virtio", "Whether there is a virtio channel for the QEMU guest agent.",
			func(t *NodeType) *bool { return &t.EnableGuestVirtio }, flag()),
		opt("smbios", "What the machine says it is, to its guest and by its BMC.",
			func(t *NodeType) *SMBIOS { return &t.SMBIOS }, smbios()),
		opt("usb_devices", "USB devices of the hypervisor that are plugged in where they are there.",
			func(t *NodeType) *[]USBDevice { return &t.USBDevices }, listOf(16, usbDevice())),
		opt("trust_guest_rx_filters", "Whether a guest may change the MAC addresses of its ports.",
			func(t *NodeType) *bool { return &t.TrustGuestRXFilters }, flag()),
		opt("xml_overlay", "A <domain> of libvirt's XML that is merged over the one of each node.",
			func(t *NodeType) *string { return &t.XMLOverlay }, text(xmlText)),
	}
}

func topology() shape[CPUTopology] {
	one := func() CPUTopology { return CPUTopology{Sockets: 1, Cores: 1, Threads: 1} }
	return object(one,
		opt("sockets", "Sockets.", func(t *CPUTopology) *int { return &t.Sockets }, whole[int](1, 1024)),
		opt("cores", "Cores in a socket.", func(t *CPUTopology) *int { return &t.Cores }, whole[int](1, 1024)),
		opt("threads", "Threads in a core.", func(t *CPUTopology) *int { return &t.Threads }, whole[int](1, 1024)),
	)
}

func smbios() shape[SMBIOS] {
	return object(zero[SMBIOS],
		opt("manufacturer", "Manufacturer. Absent: Tenks.", func(s *SMBIOS) *string { return &s.Manufacturer }, text(smbiosText)),
		opt("product", "Product name. Absent: Virtual Machine.", func(s *SMBIOS) *string { return &s.Product }, text(smbiosText)),
		opt("version", "Version. Absent: 1.0.", func(s *SMBIOS) *string { return &s.Version }, text(smbiosText)),
		opt("serial", "Serial number; {name} and {uuid} are the node's. Absent: its UUID.", func(s *SMBIOS) *string { return &s.Serial }, text(smbiosText)),
		opt("sku", "SKU number.", func(s *SMBIOS) *string { return &s.SKU }, text(smbiosText)),
		opt("family", "Family.", func(s *SMBIOS) *string { return &s.Family }, text(smbiosText)),
		opt("asset", "Asset tag of board and chassis; {name} and {uuid} are the node's.", func(s *SMBIOS) *string { return &s.Asset }, text(smbiosText)),
	)
}

func usbDevice() shape[USBDevice] {
	return object(zero[USBDevice],
		req("vendor", "Number of its vendor.", func(d *USBDevice) *string { return &d.Vendor }, text(usbNumber)),
		req("product", "Number of the product.", func(d *USBDevice) *string { return &d.Product }, text(usbNumber)),
	)
}

func volume() shape[Volume] {
	return object(zero[Volume],
		opt("capacity", "Size: 20GiB, 20GB, or a number of bytes. Required, but for device cdrom and where path is given.",
			func(v *Volume) *Size { return &v.Capacity }, capacity()),
		opt("image", "Disk image, on the hypervisor or at a URL, that the volume starts from. Absent: a blank volume.",
			func(v *Volume) *string { return &v.Image }, text(diskImage)),
		opt("backing_image", "As image; the volume is a difference to it, as it is without copy.",
			func(v *Volume) *string { return &v.BackingImage }, text(diskImage)),
		opt("copy", "Whether the volume is a copy of its image, instead of a difference to it.",
			func(v *Volume) *bool { return &v.Copy }, flag()),
		opt("checksum", "Checksum of the image, such as sha256:… Absent: it is not checked.",
			func(v *Volume) *string { return &v.Checksum }, text(checksum)),
		opt("format", "Format of the volume. Absent: raw, and qcow2 where there is an image.",
			func(v *Volume) *string { return &v.Format }, choice([]string{"raw", "qcow2"}, map[string]string{"vmdk": "raw or qcow2"})),
		opt("bus", "Bus. Absent: that of the type.",
			func(v *Volume) *string { return &v.Bus }, choice(diskBuses, nil)),
		opt("cache", "Caching. Absent: that of the type.",
			func(v *Volume) *string { return &v.Cache }, choice(diskCaches, nil)),
		opt("discard", "What becomes of blocks that the guest discards. Absent: unmap.",
			func(v *Volume) *string { return &v.Discard }, choice([]string{"unmap", "ignore"}, nil)),
		opt("device", "What it is. Absent: disk.",
			func(v *Volume) *string { return &v.Device }, choice([]string{"disk", "cdrom"}, nil)),
		opt("path", "An existing file or block device on the hypervisor. It is never changed but by the guest, nor deleted.",
			func(v *Volume) *string { return &v.Path }, text(filePath)),
		opt("pool", "Storage pool of the hypervisor that the volume is made in. Absent: the driver's.",
			func(v *Volume) *string { return &v.Pool }, text(poolName)),
		opt("serial", "Serial number that the guest sees.",
			func(v *Volume) *string { return &v.Serial }, text(diskSerial)),
		opt("wwn", "World Wide Name, with bus scsi or ide.",
			func(v *Volume) *string { return &v.WWN }, text(wwn)),
	).saying(schema{"anyOf": []schema{
		{"required": []string{"capacity"}}, {"required": []string{"path"}},
		{"properties": schema{"device": schema{"const": "cdrom"}}, "required": []string{"device"}},
	}})
}
