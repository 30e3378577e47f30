package api

import (
	"encoding/json"
	"fmt"
	"strings"

	"tenks/raftfsm/state"
)

// Hardware is what a node's type says of the machine, by the keys of the cluster file.
type Hardware struct {
	Machine             string            `json:"machine,omitempty"`
	CPUMode             string            `json:"cpu_mode,omitempty"`
	CPUModel            string            `json:"cpu_model,omitempty"`
	CPUTopology         string            `json:"cpu_topology,omitempty"`
	ClockOffset         string            `json:"clock_offset,omitempty"`
	DiskBus             string            `json:"disk_bus,omitempty"`
	DiskCache           string            `json:"disk_cache,omitempty"`
	NICModel            string            `json:"nic_model,omitempty"`
	ConsoleLogEnabled   *bool             `json:"console_log_enabled,omitempty"`
	ConsoleLogAppend    *bool             `json:"console_log_append,omitempty"`
	ConsoleLogSize      uint64            `json:"console_log_size,omitempty"`
	ConsoleLogKeep      int               `json:"console_log_keep,omitempty"`
	EnableVNC           bool              `json:"enable_vnc,omitempty"`
	EnableSpice         bool              `json:"enable_spice,omitempty"`
	EnableGuestVirtio   bool              `json:"enable_guest_virtio,omitempty"`
	SMBIOS              map[string]string `json:"smbios,omitempty"`
	USBDevices          []string          `json:"usb_devices,omitempty"`
	TrustGuestRXFilters bool              `json:"trust_guest_rx_filters,omitempty"`
	CDROMs              []string          `json:"cdroms,omitempty"`
	VolNamePrefix       string            `json:"vol_name_prefix,omitempty"`
	XMLOverlay          string            `json:"xml_overlay,omitempty"`
}

// Volume is a disk.
type Volume struct {
	// CapacityBytes is 0 where it is not known.
	CapacityBytes uint64 `json:"capacity_bytes"`
	Image         string `json:"image,omitempty"`
	Copy          bool   `json:"copy,omitempty"`
	Checksum      string `json:"checksum,omitempty"`
	Format        string `json:"format,omitempty"`
	Path          string `json:"path,omitempty"`
	Pool          string `json:"pool,omitempty"`
	Bus           string `json:"bus,omitempty"`
	Cache         string `json:"cache,omitempty"`
	Discard       string `json:"discard,omitempty"`
	Serial        string `json:"serial,omitempty"`
	WWN           string `json:"wwn,omitempty"`
}

func volumesView(all []state.Volume) []Volume {
	out := []Volume{}
	for _, v := range all {
		out = append(out, Volume{CapacityBytes: v.CapacityBytes, Image: v.Image, Copy: v.Copy, Checksum: v.Checksum, Format: v.Format, Path: v.Path, Pool: v.Pool,
			Bus: v.Bus, Cache: v.Cache, Discard: v.Discard, Serial: v.Serial, WWN: v.WWN})
	}
	return out
}

func hardwareView(h state.Hardware) *Hardware {
	h.Arch = "" // it is in Node
	if h.IsZero() {
		return nil
	}
	no := false
	out := &Hardware{Machine: h.MachineType, CPUMode: h.CPUMode, CPUModel: h.CPUModel, ClockOffset: h.ClockOffset, DiskBus: h.DiskBus,
		DiskCache: h.DiskCache, NICModel: h.NICModel, ConsoleLogSize: h.ConsoleLogBytes, ConsoleLogKeep: h.ConsoleLogKeep, EnableVNC: h.VNC,
		EnableSpice: h.Spice, EnableGuestVirtio: h.GuestAgent, TrustGuestRXFilters: h.TrustGuestRXFilters, VolNamePrefix: h.VolumePrefix, XMLOverlay: h.XMLOverlay}
	if t := h.Topology; t != (state.Topology{}) {
		out.CPUTopology = fmt.Sprintf("%d×%d×%d", t.Sockets, t.Cores, t.Threads)
	}
	if h.NoConsoleLog {
		out.ConsoleLogEnabled = &no
	}
	if h.NewConsoleLog {
		out.ConsoleLogAppend = &no
	}
	for key, value := range map[string]string{"manufacturer": h.SMBIOS.Manufacturer, "product": h.SMBIOS.Product, "version": h.SMBIOS.Version,
		"serial": h.SMBIOS.Serial, "sku": h.SMBIOS.SKU, "family": h.SMBIOS.Family, "asset": h.SMBIOS.Asset} {
		if value != "" {
			if out.SMBIOS == nil {
				out.SMBIOS = map[string]string{}
			}
			out.SMBIOS[key] = value
		}
	}
	for _, u := range h.USBDevices {
		out.USBDevices = append(out.USBDevices, u.Vendor+":"+u.Product)
	}
	for _, c := range h.CDROMs {
		out.CDROMs = append(out.CDROMs, c.Image)
	}
	return out
}

// String is the hardware in a line, by the keys of the cluster file.
func (h *Hardware) String() string {
	if h == nil {
		return ""
	}
	b, err := json.Marshal(h)
	if err != nil { // only words and numbers: cannot happen
		return ""
	}
	return strings.Trim(string(b), "{}")
}
