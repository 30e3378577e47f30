package libvirt

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

const (
	// maxDisks is how many disks get a letter of their own.
	maxDisks   = 26
	cdromDev   = "sda"
	stickDev   = "sdb"
	formatRaw  = "raw"
	formatQcow = "qcow2"
)

// blueprint is all that a domain is made from.
type blueprint struct {
	Mesh string
	Spec driver.Spec
	// DomainType is kvm or qemu.
	DomainType string
	Volumes    []volume
	Firmware   firmware
	// NVRAM is the file of UEFI variables; empty for BIOS.
	NVRAM string
	// ConsoleLog is the file that the serial console is logged to.
	ConsoleLog string
	// ScreenAddress is where screens are shared; empty: 127.0.0.1.
	ScreenAddress string
	// CDROMs are the images in the drives of Spec.Machine.Hardware, as files of this host.
	CDROMs []string
}

// consoleLog returns where a node's serial console is logged.
func consoleLog(dir, node string) string { return filepath.Join(dir, node+".log") }

// build makes the domain anew. What the machine that it replaces got from libvirt
// (addresses, the version of the machine type) and from others (media) stays; old may
// be nil.
func (b blueprint) build(old *libvirtxml.Domain) (*libvirtxml.Domain, error) {
	d := b.chassis()
	b.addDisks(d)
	b.addNICs(d)
	b.tellMTUs(d)
	b.addConsole(d)
	b.equip(d)
	b.setUp(d)
	if old != nil {
		carry(d, old)
	}
	d, err := b.overlaid(d)
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", b.Spec.Name, err)
	}
	setOrder(d, orderOf(d, b.Spec.Boot, startingOf(b.Spec.Setup)))
	rest := ""
	if old != nil && old.Metadata != nil {
		rest = old.Metadata.XML
	}
	text, err := replaceMark(rest, mark{Mesh: b.Mesh, Epoch: b.Spec.Epoch, Digest: b.Spec.Digest(), Hardware: hardwareOf(d).fingerprint(),
		Overlay: overlayPrint(b.Spec.Machine.Hardware.XMLOverlay)})
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", b.Spec.Name, err)
	}
	d.Metadata = &libvirtxml.DomainMetadata{XML: text}
	return d, nil
}

// chassis is what is the same with any disks and NICs.
func (b blueprint) chassis() *libvirtxml.Domain {
	m := b.Spec.Machine
	d := &libvirtxml.Domain{
		Type: b.DomainType, Name: b.Spec.Name, UUID: b.Spec.UUID,
		Memory: &libvirtxml.DomainMemory{Value: uint(m.MemoryMB) * 1024, Unit: "KiB"},
		VCPU:   &libvirtxml.DomainVCPU{Placement: "static", Value: vcpus(b.Spec)},
		OS: &libvirtxml.DomainOS{
			Type: &libvirtxml.DomainOSType{Arch: m.Arch(), Machine: machineType(m), Type: "hvm"},
			// SeaBIOS has no serial console of its own.
			BIOS: &libvirtxml.DomainBIOS{UseSerial: "yes"},
		},
		Features:   &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		CPU:        &libvirtxml.DomainCPU{},
		Clock:      &libvirtxml.DomainClock{Offset: clockUTC},
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices: &libvirtxml.DomainDeviceList{
			MemBalloon: &libvirtxml.DomainMemBalloon{Model: "none"},
			RNGs: []libvirtxml.DomainRNG{{Model: "virtio",
				Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}}}},
		},
	}
	if m.BootMode == state.BootUEFI {
		d.OS.BIOS = nil
		d.OS.Loader = &libvirtxml.DomainLoader{Path: b.Firmware.Code, Readonly: "yes", Type: "pflash"}
		d.OS.NVRam = &libvirtxml.DomainNVRam{NVRam: b.NVRAM, Template: b.Firmware.Vars}
	}
	if b.Firmware.Secure { // only code in System Management Mode may write the variables
		d.OS.Loader.Secure = "yes"
		d.Features.SMM = &libvirtxml.DomainFeatureSMM{State: "on"}
	}
	if m.TPM != "" {
		d.Devices.TPMs = []libvirtxml.DomainTPM{{Model: "tpm-crb",
			Backend: &libvirtxml.DomainTPMBackend{Emulator: &libvirtxml.DomainTPMBackendEmulator{Version: m.TPM}}}}
	}
	return d
}

func (b blueprint) addDisks(d *libvirtxml.Domain) {
	var l letters
	for _, v := range b.Volumes {
		k := libvirtxml.DomainDisk{
			Device: "disk",
			Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: v.format(), Cache: v.Cache, Discard: cmp.Or(v.Discard, discardUnmap)},
			Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: v.Path}},
			Target: &libvirtxml.DomainDiskTarget{Dev: l.next(v.bus()), Bus: v.bus()},
			Serial: v.Serial, WWN: v.WWN,
		}
		if v.bus() == busNVMe {
			k.Serial = "" // it is the controller's
		}
		if v.Block {
			k.Source = &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: v.Path}}
		}
		d.Devices.Disks = append(d.Devices.Disks, k)
	}
	for i, c := range b.Spec.Machine.Hardware.CDROMs {
		bus := cmp.Or(c.Bus, drives(b.Spec.Machine))
		k := libvirtxml.DomainDisk{Device: "cdrom", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: formatRaw},
			Target: &libvirtxml.DomainDiskTarget{Dev: l.next(bus), Bus: bus}, ReadOnly: &libvirtxml.DomainDiskReadOnly{}}
		if i < len(b.CDROMs) {
			k.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: b.CDROMs[i]}}
		}
		d.Devices.Disks = append(d.Devices.Disks, k)
	}
	d.Devices.Disks = append(d.Devices.Disks, libvirtxml.DomainDisk{
		Device:   "cdrom",
		Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: formatRaw},
		Target:   &libvirtxml.DomainDiskTarget{Dev: cdromDev, Bus: drives(b.Spec.Machine)},
		ReadOnly: &libvirtxml.DomainDiskReadOnly{},
	})
}

func (b blueprint) addNICs(d *libvirtxml.Domain) {
	for _, p := range b.Spec.Ports {
		d.Devices.Interfaces = append(d.Devices.Interfaces, libvirtxml.DomainInterface{
			TrustGuestRXFilters: yesNo(b.Spec.Machine.Hardware.TrustGuestRXFilters),
			MAC:                 &libvirtxml.DomainInterfaceMAC{Address: p.MAC},
			Source:              &libvirtxml.DomainInterfaceSource{Direct: &libvirtxml.DomainInterfaceSourceDirect{Dev: p.Link, Mode: "passthrough"}},
			Model:               &libvirtxml.DomainInterfaceModel{Type: cmp.Or(b.Spec.Machine.Hardware.NICModel, nicVirtio)},
		})
	}
}

func (b blueprint) addConsole(d *libvirtxml.Domain) {
	port := uint(0)
	log := &libvirtxml.DomainChardevLog{File: b.ConsoleLog, Append: "on"}
	switch h := b.Spec.Machine.Hardware; {
	case h.NoConsoleLog:
		log = nil
	case h.NewConsoleLog:
		log.Append = "off"
	}
	pty := &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}}
	d.Devices.Serials = []libvirtxml.DomainSerial{{Source: pty, Log: log, Target: &libvirtxml.DomainSerialTarget{Type: "isa-serial", Port: &port}}}
	d.Devices.Consoles = []libvirtxml.DomainConsole{{Source: pty, Log: log, Target: &libvirtxml.DomainConsoleTarget{Type: "serial", Port: &port}}}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// carry copies from old what must not move under a guest's operating system.
func carry(d, old *libvirtxml.Domain) {
	old = carryMachine(d, old)
	if old.Devices == nil {
		return
	}
	d.Devices.Emulator = old.Devices.Emulator
	d.Devices.Controllers = carryControllers(d.Devices.Controllers, old.Devices.Controllers)
	if len(old.Devices.RNGs) == 1 {
		d.Devices.RNGs[0].Address = old.Devices.RNGs[0].Address
	}
	for i := range d.Devices.Disks {
		carryDisk(&d.Devices.Disks[i], old.Devices.Disks)
	}
	if k := stick(old); k != nil { // the BMC's business, as the medium in the drive
		d.Devices.Disks = append(d.Devices.Disks, *k)
	}
	for i := range d.Devices.Interfaces {
		n := &d.Devices.Interfaces[i]
		for _, o := range old.Devices.Interfaces {
			if o.MAC != nil && o.MAC.Address == n.MAC.Address {
				n.Address = o.Address
			}
		}
	}
}

// carryMachine takes over the version of the machine type. It returns what else of old counts.
func carryMachine(d, old *libvirtxml.Domain) *libvirtxml.Domain {
	if old.OS == nil || old.OS.Type == nil || old.OS.Type.Machine == "" || d.OS == nil || d.OS.Type == nil {
		return old
	}
	was, is := old.OS.Type, d.OS.Type
	if was.Arch != is.Arch || family(was.Machine) != family(is.Machine) {
		return onlyMedia(old) // another machine: nothing of the old one has a place in it
	}
	if is.Machine == family(is.Machine) {
		is.Machine = was.Machine
	}
	return old
}

// onlyMedia is a domain of which only what is in its drives counts.
func onlyMedia(old *libvirtxml.Domain) *libvirtxml.Domain {
	out := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{}}
	if old.Devices == nil {
		return out
	}
	for _, k := range old.Devices.Disks {
		if k.Device == "cdrom" || isStick(k) {
			k.Address, k.Boot = nil, nil
			out.Devices.Disks = append(out.Devices.Disks, k)
		}
	}
	return out
}

// carryControllers are those that there were, and those of want that there were not.
func carryControllers(want, old []libvirtxml.DomainController) []libvirtxml.DomainController {
	if len(old) == 0 {
		return want
	}
	out := carryNVMe(want, old)
	for _, w := range want {
		if !slices.ContainsFunc(old, func(o libvirtxml.DomainController) bool { return sameController(o, w) }) {
			out = append(out, w)
		}
	}
	return out
}

func carryDisk(k *libvirtxml.DomainDisk, old []libvirtxml.DomainDisk) {
	for _, o := range old {
		if k.Device == "cdrom" && k.Target.Dev == cdromDev && o.Device == "cdrom" && o.Target != nil && o.Target.Dev == cdromDev {
			k.Source, k.Driver = o.Source, o.Driver // the medium is the BMC's business, whatever the drive's bus
		}
		if o.Target == nil || *o.Target != *k.Target && o.Target.Dev+o.Target.Bus != k.Target.Dev+k.Target.Bus {
			continue
		}
		k.Address = o.Address
	}
}
