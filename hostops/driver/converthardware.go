package driver

import (
	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

func volumeToPB(v state.Volume) *pb.Volume {
	return &pb.Volume{CapacityBytes: v.CapacityBytes, Image: v.Image, Copy: v.Copy, Checksum: v.Checksum, Format: v.Format,
		Path: v.Path, Pool: v.Pool, Bus: v.Bus, Cache: v.Cache, Discard: v.Discard, Serial: v.Serial, Wwn: v.WWN, Made: v.Made}
}

func volumeFromPB(v *pb.Volume) state.Volume {
	return state.Volume{CapacityBytes: v.GetCapacityBytes(), Image: v.GetImage(), Copy: v.GetCopy(), Checksum: v.GetChecksum(), Format: v.GetFormat(),
		Path: v.GetPath(), Pool: v.GetPool(), Bus: v.GetBus(), Cache: v.GetCache(), Discard: v.GetDiscard(), Serial: v.GetSerial(), WWN: v.GetWwn(), Made: v.GetMade()}
}

func hardwareToPB(h state.Hardware) *pb.Hardware {
	if h.IsZero() {
		return nil
	}
	out := &pb.Hardware{Arch: h.Arch, MachineType: h.MachineType, CpuMode: h.CPUMode, CpuModel: h.CPUModel,
		Sockets: int64(h.Topology.Sockets), Cores: int64(h.Topology.Cores), Threads: int64(h.Topology.Threads),
		ClockOffset: h.ClockOffset, DiskBus: h.DiskBus, DiskCache: h.DiskCache, NicModel: h.NICModel,
		NoConsoleLog: h.NoConsoleLog, NewConsoleLog: h.NewConsoleLog, ConsoleLogBytes: h.ConsoleLogBytes, ConsoleLogKeep: int64(h.ConsoleLogKeep),
		Vnc: h.VNC, Spice: h.Spice, GuestAgent: h.GuestAgent, TrustGuestRxFilters: h.TrustGuestRXFilters, XmlOverlay: h.XMLOverlay, VolumePrefix: h.VolumePrefix}
	if b := h.SMBIOS; b != (state.SMBIOS{}) {
		out.Smbios = &pb.SMBIOS{Manufacturer: b.Manufacturer, Product: b.Product, Version: b.Version, Serial: b.Serial, Sku: b.SKU, Family: b.Family, Asset: b.Asset}
	}
	for _, u := range h.USBDevices {
		out.UsbDevices = append(out.UsbDevices, &pb.USBDevice{Vendor: u.Vendor, Product: u.Product})
	}
	for _, c := range h.CDROMs {
		out.Cdroms = append(out.Cdroms, &pb.CDROM{Image: c.Image, Checksum: c.Checksum, Bus: c.Bus})
	}
	return out
}

func hardwareFromPB(h *pb.Hardware) state.Hardware {
	b := h.GetSmbios()
	out := state.Hardware{Arch: h.GetArch(), MachineType: h.GetMachineType(), CPUMode: h.GetCpuMode(), CPUModel: h.GetCpuModel(),
		Topology:    state.Topology{Sockets: int(h.GetSockets()), Cores: int(h.GetCores()), Threads: int(h.GetThreads())},
		ClockOffset: h.GetClockOffset(), DiskBus: h.GetDiskBus(), DiskCache: h.GetDiskCache(), NICModel: h.GetNicModel(),
		NoConsoleLog: h.GetNoConsoleLog(), NewConsoleLog: h.GetNewConsoleLog(), ConsoleLogBytes: h.GetConsoleLogBytes(), ConsoleLogKeep: int(h.GetConsoleLogKeep()),
		VNC: h.GetVnc(), Spice: h.GetSpice(), GuestAgent: h.GetGuestAgent(), TrustGuestRXFilters: h.GetTrustGuestRxFilters(), XMLOverlay: h.GetXmlOverlay(), VolumePrefix: h.GetVolumePrefix(),
		SMBIOS: state.SMBIOS{Manufacturer: b.GetManufacturer(), Product: b.GetProduct(), Version: b.GetVersion(), Serial: b.GetSerial(),
			SKU: b.GetSku(), Family: b.GetFamily(), Asset: b.GetAsset()}}
	for _, u := range h.GetUsbDevices() {
		out.USBDevices = append(out.USBDevices, state.USBDevice{Vendor: u.GetVendor(), Product: u.GetProduct()})
	}
	for _, c := range h.GetCdroms() {
		out.CDROMs = append(out.CDROMs, state.CDROM{Image: c.GetImage(), Checksum: c.GetChecksum(), Bus: c.GetBus()})
	}
	return out
}
