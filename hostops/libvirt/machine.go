package libvirt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/hostops/libvirt/overlay"
	"tenks/raftfsm/state"
)

// What a machine is where nothing else is said.
const (
	busVirtio    = "virtio"
	busSCSI      = "scsi"
	busSATA      = "sata"
	busNVMe      = "nvme"
	cpuMaximum   = "maximum"
	cpuHost      = "host-passthrough"
	discardUnmap = "unmap"
	nicVirtio    = "virtio"
	clockUTC     = "utc"
)

// What SMBIOS says where the node's type leaves it out; the BMC says the same.
const (
	smbiosManufacturer = "Tenks"
	smbiosProduct      = "Virtual Machine"
	smbiosVersion      = "1.0"
)

// machineType is the machine type of a node that names none.
func machineType(m state.Machine) string {
	if m.Hardware.MachineType != "" {
		return m.Hardware.MachineType
	}
	if m.Arch() == state.ArchARM {
		return "virt"
	}
	return "q35"
}

// family is what versions of a machine type have in common: libvirt writes "pc-q35-7.2" for
// "q35".
func family(machine string) string {
	switch {
	case strings.HasPrefix(machine, "pc-q35"):
		return "q35"
	case strings.HasPrefix(machine, "pc-"):
		return "pc"
	case strings.HasPrefix(machine, "virt-"):
		return "virt"
	}
	return machine
}

// drives is the bus of the BMC's CD-ROM drive: ARM's firmware knows no SATA.
func drives(m state.Machine) string {
	if m.Arch() == state.ArchARM {
		return busSCSI
	}
	return busSATA
}

// cpuDefault is the CPU mode of nodes that name none.
func cpuDefault(domainType string) string {
	if domainType == domainKVM {
		return cpuHost
	}
	return cpuMaximum
}

// letters gives disks names, by bus: those of SCSI, SATA and USB follow the BMC's drives.
type letters struct{ vd, sd, hd, nvme int }

func (l *letters) next(bus string) string {
	letter := func(prefix string, n *int, from int) string {
		*n++
		return prefix + string(rune('a'+from+*n-1))
	}
	switch bus {
	case busVirtio:
		return letter("vd", &l.vd, 0)
	case "ide":
		return letter("hd", &l.hd, 0)
	case busNVMe: // a controller each, with one namespace
		l.nvme++
		return nvmeDev(l.nvme - 1)
	}
	return letter("sd", &l.sd, 2)
}

// diskDevs are the names of a node's disks in its domain.
func diskDevs(disks []volume) []string {
	var l letters
	var out []string
	for _, v := range disks {
		out = append(out, l.next(v.bus()))
	}
	return out
}

// equip makes the domain what the node's type says of the machine beyond its size.
func (b blueprint) equip(d *libvirtxml.Domain) {
	h := b.Spec.Machine.Hardware
	b.addCPU(d)
	if h.ClockOffset != "" {
		d.Clock.Offset = h.ClockOffset
	}
	if b.Spec.Machine.Arch() == state.ArchARM {
		b.becomeARM(d)
	}
	if slices.ContainsFunc(d.Devices.Disks, func(k libvirtxml.DomainDisk) bool { return k.Target.Bus == busSCSI }) {
		index := uint(0)
		d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{Type: "scsi", Index: &index, Model: "virtio-scsi"})
	}
	d.Devices.Controllers = append(d.Devices.Controllers, nvmeControllers(b.Volumes, b.Spec.UUID)...)
	b.addScreen(d)
	if h.GuestAgent {
		d.Devices.Channels = append(d.Devices.Channels, libvirtxml.DomainChannel{
			Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind"}},
			Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}}})
	}
	if s := h.SMBIOS; s != (state.SMBIOS{}) {
		d.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
		d.SysInfo = []libvirtxml.DomainSysInfo{{SMBIOS: sysinfo(s, b.Spec)}}
	}
	for _, u := range h.USBDevices {
		d.Devices.Hostdevs = append(d.Devices.Hostdevs, libvirtxml.DomainHostdev{Managed: "yes", SubsysUSB: &libvirtxml.DomainHostdevSubsysUSB{
			Source: &libvirtxml.DomainHostdevSubsysUSBSource{StartUpPolicy: "optional",
				Vendor: &libvirtxml.DomainHostDevProductVendorID{ID: "0x" + u.Vendor}, Product: &libvirtxml.DomainHostDevProductVendorID{ID: "0x" + u.Product}}}})
	}
}

func (b blueprint) addCPU(d *libvirtxml.Domain) {
	h := b.Spec.Machine.Hardware
	mode := h.CPUMode
	if mode == "" || b.DomainType != domainKVM && mode != "custom" {
		mode = cpuDefault(b.DomainType) // there is no host's CPU to pass through
	}
	d.CPU.Mode = mode
	if mode == "custom" {
		// Whether all of its features are there is QEMU's to say when it starts.
		d.CPU.Match, d.CPU.Check = "exact", "none"
		d.CPU.Model = &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: h.CPUModel}
	}
	if t := topologyOf(b.Spec); t != (state.Topology{}) {
		d.CPU.Topology = &libvirtxml.DomainCPUTopology{Sockets: t.Sockets, Cores: t.Cores, Threads: t.Threads}
	}
}

// topologyOf is that of the processors that there are: who turned hyper-threading off has half
// of them, a thread in a core.
func topologyOf(s driver.Spec) state.Topology {
	t := s.Machine.Hardware.Topology
	n := int(vcpus(s)) //nolint:gosec // it is small
	if t.Sockets*t.Cores*t.Threads == n {
		return t
	}
	if t.Sockets*t.Cores == n {
		t.Threads = 1
		return t
	}
	return state.Topology{}
}

// becomeARM takes away what only PCs have.
func (b blueprint) becomeARM(d *libvirtxml.Domain) {
	d.OS.BIOS = nil
	d.Features.APIC = nil
	d.Features.GIC = &libvirtxml.DomainFeatureGIC{Version: "3"}
	for i := range d.Devices.TPMs {
		d.Devices.TPMs[i].Model = "tpm-tis"
	}
	d.Devices.Serials[0].Target = &libvirtxml.DomainSerialTarget{Type: "system-serial", Port: d.Devices.Serials[0].Target.Port}
	d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{Type: "usb", Model: "qemu-xhci"})
}

// addScreen adds a screen and how it is shared.
func (b blueprint) addScreen(d *libvirtxml.Domain) {
	h := b.Spec.Machine.Hardware
	listen := cmp.Or(b.ScreenAddress, "127.0.0.1")
	if h.VNC {
		d.Devices.Graphics = append(d.Devices.Graphics, libvirtxml.DomainGraphic{VNC: &libvirtxml.DomainGraphicVNC{Port: -1, AutoPort: "yes",
			Listeners: []libvirtxml.DomainGraphicListener{{Address: &libvirtxml.DomainGraphicListenerAddress{Address: listen}}}}})
	}
	if h.Spice {
		d.Devices.Graphics = append(d.Devices.Graphics, libvirtxml.DomainGraphic{Spice: &libvirtxml.DomainGraphicSpice{AutoPort: "yes",
			Listeners: []libvirtxml.DomainGraphicListener{{Address: &libvirtxml.DomainGraphicListenerAddress{Address: listen}}}}})
	}
	if len(d.Devices.Graphics) == 0 {
		return
	}
	model := "vga"
	if b.Spec.Machine.Arch() == state.ArchARM {
		model = "virtio"
		d.Devices.Inputs = append(d.Devices.Inputs, libvirtxml.DomainInput{Type: "keyboard", Bus: "usb"}, libvirtxml.DomainInput{Type: "tablet", Bus: "usb"})
	}
	d.Devices.Videos = []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: model}}}
}

// sysinfo is what SMBIOS says (DSP0134 §7.2-7.4).
func sysinfo(s state.SMBIOS, n driver.Spec) *libvirtxml.DomainSysInfoSMBIOS {
	fill := strings.NewReplacer("{name}", n.Name, "{uuid}", n.UUID).Replace
	entries := func(pairs ...string) (out []libvirtxml.DomainSysInfoEntry) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				out = append(out, libvirtxml.DomainSysInfoEntry{Name: pairs[i], Value: fill(pairs[i+1])})
			}
		}
		return out
	}
	maker, serial := cmp.Or(s.Manufacturer, smbiosManufacturer), cmp.Or(s.Serial, "{uuid}")
	return &libvirtxml.DomainSysInfoSMBIOS{
		System: &libvirtxml.DomainSysInfoSystem{Entry: entries("manufacturer", maker, "product", cmp.Or(s.Product, smbiosProduct),
			"version", cmp.Or(s.Version, smbiosVersion), "serial", serial, "sku", s.SKU, "family", s.Family)},
		BaseBoard: []libvirtxml.DomainSysInfoBaseBoard{{Entry: entries("manufacturer", maker, "product", "Virtual Board", "serial", serial, "asset", s.Asset)}},
		Chassis:   &libvirtxml.DomainSysInfoChassis{Entry: entries("manufacturer", maker, "serial", serial, "asset", s.Asset)},
	}
}

// machineOf is what of equip a domain has, in words; nothing where it is as it is anyway.
func machineOf(d *libvirtxml.Domain) []string {
	var out []string
	say := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	if d.OS != nil && d.OS.Type != nil {
		t := d.OS.Type
		say(t.Arch != state.ArchX86 && t.Arch != "", "architecture %s", t.Arch)
		usual := "q35"
		if t.Arch == state.ArchARM {
			usual = "virt"
		}
		say(family(t.Machine) != usual && t.Machine != "", "machine %s", family(t.Machine))
		say(d.OS.SMBios != nil && d.OS.SMBios.Mode == "sysinfo", "SMBIOS %s", sysinfoText(d.SysInfo))
	}
	if c := d.CPU; c != nil {
		model := ""
		if c.Model != nil && c.Mode == "custom" {
			model = " " + c.Model.Value
		}
		say(c.Mode != cpuDefault(d.Type) && c.Mode != "", "CPU %s%s", c.Mode, model)
		if t := c.Topology; t != nil {
			say(true, "topology %d×%d×%d", t.Sockets, t.Cores, t.Threads)
		}
	}
	if d.Clock != nil {
		say(d.Clock.Offset != clockUTC && d.Clock.Offset != "", "clock %s", d.Clock.Offset)
	}
	return append(out, devicesOf(d.Devices)...)
}

// devicesOf is machineOf for devices.
func devicesOf(all *libvirtxml.DomainDeviceList) []string {
	var out []string
	for _, k := range all.Disks {
		if k.Device == "cdrom" && k.Target != nil && k.Target.Dev != cdromDev {
			out = append(out, fmt.Sprintf("CD-ROM %s %s %s", k.Target.Dev, k.Target.Bus, mediaIn(&k)))
		}
	}
	for _, n := range all.Interfaces {
		if n.Model != nil && n.Model.Type != nicVirtio {
			out = append(out, fmt.Sprintf("NIC %s model %s", macOf(n), n.Model.Type))
		}
		if n.TrustGuestRXFilters == "yes" {
			out = append(out, fmt.Sprintf("NIC %s trusts the guest's filters", macOf(n)))
		}
	}
	return append(out, optionsOf(all)...)
}

// optionsOf is devicesOf for what is there or is not.
func optionsOf(all *libvirtxml.DomainDeviceList) []string {
	var out []string
	for _, g := range all.Graphics {
		switch {
		case g.VNC != nil:
			out = append(out, "VNC")
		case g.Spice != nil:
			out = append(out, "SPICE")
		}
	}
	for _, c := range all.Channels {
		if c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == "org.qemu.guest_agent.0" {
			out = append(out, "guest agent")
		}
	}
	for _, h := range all.Hostdevs {
		if u := h.SubsysUSB; u != nil && u.Source != nil && u.Source.Vendor != nil && u.Source.Product != nil {
			out = append(out, "USB device "+strings.TrimPrefix(u.Source.Vendor.ID, "0x")+":"+strings.TrimPrefix(u.Source.Product.ID, "0x"))
		}
	}
	return append(out, loggingOf(all.Serials)...)
}

// loggingOf says how the console is logged, if not as it is anyway.
func loggingOf(all []libvirtxml.DomainSerial) []string {
	switch {
	case len(all) == 0:
	case all[0].Log == nil:
		return []string{"no console log"}
	case all[0].Log.Append == "off":
		return []string{"console log begun anew"}
	}
	return nil
}

func macOf(n libvirtxml.DomainInterface) string {
	if n.MAC == nil {
		return ""
	}
	return strings.ToLower(n.MAC.Address)
}

func sysinfoText(all []libvirtxml.DomainSysInfo) string {
	var out []string
	add := func(of string, entries []libvirtxml.DomainSysInfoEntry) {
		for _, e := range entries {
			out = append(out, of+e.Name+"="+e.Value)
		}
	}
	for _, s := range all {
		if s.SMBIOS == nil {
			continue
		}
		if s.SMBIOS.System != nil {
			add("", s.SMBIOS.System.Entry)
		}
		for _, b := range s.SMBIOS.BaseBoard {
			add("board ", b.Entry)
		}
		if s.SMBIOS.Chassis != nil {
			add("chassis ", s.SMBIOS.Chassis.Entry)
		}
	}
	return strings.Join(out, ", ")
}

// overlaid is a domain with the overlay of the node's type over it.
func (b blueprint) overlaid(d *libvirtxml.Domain) (*libvirtxml.Domain, error) {
	over := b.Spec.Machine.Hardware.XMLOverlay
	if over == "" {
		return d, nil
	}
	text, err := d.Marshal()
	if err != nil {
		return nil, err
	}
	merged, err := overlay.Merge(text, over)
	if err != nil {
		return nil, err
	}
	out := &libvirtxml.Domain{}
	if err := out.Unmarshal(merged); err != nil {
		return nil, fmt.Errorf("xml_overlay: %w", err)
	}
	again, err := out.Marshal()
	if err != nil {
		return nil, fmt.Errorf("xml_overlay: %w", err)
	}
	lost, err := overlay.Lost(again, over)
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("not known to this version of Tenks: %s", strings.Join(lost, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("xml_overlay: %w", err)
	}
	return out, nil
}

// displayOf is where a running guest's screen is shared, as a URL; empty: nowhere.
func displayOf(d *libvirtxml.Domain) string {
	at := func(scheme string, port int, listeners []libvirtxml.DomainGraphicListener) string {
		for _, l := range listeners {
			if l.Address != nil && l.Address.Address != "" && port > 0 {
				return scheme + "://" + net.JoinHostPort(l.Address.Address, strconv.Itoa(port))
			}
		}
		return ""
	}
	for _, g := range d.Devices.Graphics {
		switch {
		case g.VNC != nil:
			if url := at("vnc", g.VNC.Port, g.VNC.Listeners); url != "" {
				return url
			}
		case g.Spice != nil:
			if url := at("spice", g.Spice.Port, g.Spice.Listeners); url != "" {
				return url
			}
		}
	}
	return ""
}

// overlayPrint tells one overlay from another; empty: there is none.
func overlayPrint(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// pendingOverlay says that a running guest has another overlay than it gets.
func pendingOverlay(live, next mark) []string {
	if live.Overlay == next.Overlay {
		return nil
	}
	return []string{"xml_overlay is another"}
}

// overlaidPrint is the fingerprint of a domain with an overlay as libvirt wrote it, where it was made from
// the same; empty: what was decided counts.
func overlaidPrint(want, have mark) string {
	if want.Overlay == "" || want.Overlay != have.Overlay || want.Digest != have.Digest {
		return ""
	}
	return have.Hardware
}
