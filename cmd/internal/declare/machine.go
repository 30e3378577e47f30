package declare

import (
	"cmp"
	"fmt"

	"tenks/raftfsm/state"
)

// said is a row for a word of state.Hardware; usual is what an empty one means.
func said(name, usual string, of func(h state.Hardware) string) field {
	word := func(n *state.Node) string { return cmp.Or(of(n.Machine.Hardware), usual) }
	return field{name: name, when: AtPowerOn, of: func(n *state.Node) any { return word(n) }, text: word}
}

// byDriver is what an empty word means that is up to the driver.
const byDriver = "default"

// on is a row for what state.Hardware has or has not.
func on(name string, of func(h state.Hardware) bool) field {
	return field{name: name, when: AtPowerOn, of: func(n *state.Node) any { return of(n.Machine.Hardware) }}
}

// machineRows are what can differ of state.Hardware.
var machineRows = []field{
	said("architecture", state.ArchX86, func(h state.Hardware) string { return h.Arch }),
	said("machine", byDriver, func(h state.Hardware) string { return h.MachineType }),
	said("cpu_mode", byDriver, func(h state.Hardware) string { return h.CPUMode }),
	said("cpu_model", byDriver, func(h state.Hardware) string { return h.CPUModel }),
	said("cpu_topology", byDriver, func(h state.Hardware) string {
		if h.Topology == (state.Topology{}) {
			return ""
		}
		return fmt.Sprintf("%d×%d×%d", h.Topology.Sockets, h.Topology.Cores, h.Topology.Threads)
	}),
	said("clock_offset", "utc", func(h state.Hardware) string { return h.ClockOffset }),
	said("disk_bus", "virtio", func(h state.Hardware) string { return h.DiskBus }),
	said("disk_cache", byDriver, func(h state.Hardware) string { return h.DiskCache }),
	said("nic_model", "virtio", func(h state.Hardware) string { return h.NICModel }),
	on("console_log_enabled", func(h state.Hardware) bool { return !h.NoConsoleLog }),
	on("console_log_append", func(h state.Hardware) bool { return !h.NewConsoleLog }),
	{name: "console_log_size", when: Now, of: func(n *state.Node) any { return n.Machine.Hardware.ConsoleLogBytes },
		text: func(n *state.Node) string { return number(n.Machine.Hardware.ConsoleLogBytes, " bytes") }},
	{name: "console_log_keep", when: Now, of: func(n *state.Node) any { return n.Machine.Hardware.ConsoleLogKeep },
		text: func(n *state.Node) string { return number(n.Machine.Hardware.ConsoleLogKeep, "") }},
	on("enable_vnc", func(h state.Hardware) bool { return h.VNC }),
	on("enable_spice", func(h state.Hardware) bool { return h.Spice }),
	on("enable_guest_virtio", func(h state.Hardware) bool { return h.GuestAgent }),
	{name: "smbios", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.Hardware.SMBIOS }},
	{name: "usb_devices", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.Hardware.USBDevices }},
	on("trust_guest_rx_filters", func(h state.Hardware) bool { return h.TrustGuestRXFilters }),
	{name: "CD-ROMs", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.Hardware.CDROMs }},
	{name: "xml_overlay", when: AtPowerOn, of: func(n *state.Node) any { return n.Machine.Hardware.XMLOverlay },
		text: func(*state.Node) string { return "" }},
	{name: "vol_name_prefix", when: AtPlacement, of: func(n *state.Node) any { return n.Machine.Hardware.VolumePrefix },
		text:   func(n *state.Node) string { return cmp.Or(n.Machine.Hardware.VolumePrefix, "vol") },
		remark: "volumes that there are keep their names"},
}

// number is a number with its unit; 0 is up to the driver.
func number[T int | uint64](n T, unit string) string {
	if n == 0 {
		return byDriver
	}
	return fmt.Sprint(n, unit)
}

// volume says what a disk is.
func volume(v state.Volume) string {
	text := fmt.Sprintf("%.4g GiB", float64(v.CapacityBytes)/(1<<30))
	switch {
	case v.Path != "":
		text += " at " + v.Path
	case v.Copy:
		text += " copied from " + v.Image
	case v.Image != "":
		text += " of " + v.Image
	}
	for _, word := range [][2]string{{"", v.Checksum}, {"", v.Format}, {"in pool ", v.Pool}, {"on ", v.Bus}, {"cache ", v.Cache},
		{"discard ", v.Discard}, {"serial ", v.Serial}, {"WWN ", v.WWN}} {
		if word[1] != "" {
			text += " " + word[0] + word[1]
		}
	}
	return text
}
