package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tenks/config"
	"tenks/hostops/libvirt/overlay"
	"tenks/raftfsm/state"
)

// machine turns a node type into what the state holds of it. What is as the driver does it
// anyway stays empty, so that saying it changes nothing.
func machine(t config.NodeType) state.Machine {
	m := state.Machine{Driver: t.Driver, MemoryMB: t.MemoryMB, VCPUs: t.VCPUs, Physnets: t.PhysicalNetworks, Trunks: t.Trunks,
		BootMode: state.BootMode(t.BootMode), IronicDriver: t.IronicDriver,
		SecureBoot: t.SecureBoot, TPM: t.TPM, Hardware: hardware(t.Hardware)}
	for _, v := range t.Volumes {
		if v.CDROM() {
			m.Hardware.CDROMs = append(m.Hardware.CDROMs, state.CDROM{Image: v.Image, Checksum: strings.ToLower(v.Checksum), Bus: v.Bus})
			continue
		}
		m.Volumes = append(m.Volumes, state.Volume{CapacityBytes: uint64(v.Capacity), Image: cmp.Or(v.Image, v.BackingImage), Copy: v.Copy,
			Checksum: strings.ToLower(v.Checksum), Format: v.Format, Path: v.Path, Pool: v.Pool, Bus: v.Bus, Cache: v.Cache,
			Discard: unless(v.Discard, "unmap"), Serial: v.Serial, WWN: strings.ToLower(v.WWN)})
	}
	return m
}

func hardware(h config.Hardware) state.Hardware {
	out := state.Hardware{Arch: unless(h.Architecture, state.ArchX86), MachineType: h.MachineType, CPUMode: h.CPUMode, CPUModel: h.CPUModel,
		Topology: state.Topology(h.CPUTopology), ClockOffset: unless(h.ClockOffset, "utc"),
		DiskBus: unless(h.DiskBus, "virtio"), DiskCache: h.DiskCache, NICModel: unless(h.NICModel, "virtio"),
		NoConsoleLog: !h.ConsoleLogEnabled, NewConsoleLog: !h.ConsoleLogAppend,
		ConsoleLogBytes: uint64(h.ConsoleLogSize), ConsoleLogKeep: h.ConsoleLogKeep,
		VNC: h.EnableVNC, Spice: h.EnableSpice, GuestAgent: h.EnableGuestVirtio, SMBIOS: state.SMBIOS(h.SMBIOS),
		TrustGuestRXFilters: h.TrustGuestRXFilters, XMLOverlay: strings.TrimSpace(h.XMLOverlay)}
	for _, u := range h.USBDevices {
		out.USBDevices = append(out.USBDevices, state.USBDevice{Vendor: usbNumber(u.Vendor), Product: usbNumber(u.Product)})
	}
	return out
}

func usbNumber(text string) string { return strings.TrimPrefix(strings.ToLower(text), "0x") }

// unless is a word, or nothing where it is the usual one.
func unless(word, usual string) string {
	if word == usual {
		return ""
	}
	return word
}

// checkOverlays refuses overlays that no node could have.
func checkOverlays(file string, c config.Cluster) error {
	for _, name := range slices.Sorted(maps.Keys(c.NodeTypes)) {
		text := c.NodeTypes[name].XMLOverlay
		if text == "" {
			continue
		}
		if err := overlay.Check(text); err != nil {
			return fmt.Errorf("%s: node_types.%s: %w", file, name, err)
		}
	}
	return nil
}
