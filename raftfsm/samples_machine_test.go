package raftfsm

import (
	"slices"

	"tenks/raftfsm/state"
)

// machineV14 is a machine with every field set.
func machineV14(m state.Machine) state.Machine {
	m.Volumes = slices.Clone(m.Volumes)
	v := &m.Volumes[len(m.Volumes)-1]
	v.Copy, v.Checksum, v.Format, v.Path, v.Pool = true, "sha256:00", "raw", "/dev/sdb", "fast"
	v.Bus, v.Cache, v.Discard, v.Serial, v.WWN = "scsi", "none", "ignore", "s0", "5000c50015ea71aa"
	m.Hardware = state.Hardware{Arch: "aarch64", MachineType: "virt", CPUMode: "custom", CPUModel: "cortex-a57",
		Topology: state.Topology{Sockets: 1, Cores: 2, Threads: 1}, ClockOffset: "localtime", DiskBus: "scsi", DiskCache: "unsafe", NICModel: "e1000",
		NoConsoleLog: true, NewConsoleLog: true, ConsoleLogBytes: 1 << 20, ConsoleLogKeep: 2, VNC: true, Spice: true, GuestAgent: true,
		SMBIOS:     state.SMBIOS{Manufacturer: "m", Product: "p", Version: "v", Serial: "s", SKU: "k", Family: "f", Asset: "a"},
		USBDevices: []state.USBDevice{{Vendor: "0403", Product: "6001"}}, TrustGuestRXFilters: true,
		CDROMs: []state.CDROM{{Image: "/i.iso", Checksum: "md5:00", Bus: "scsi"}}, XMLOverlay: "<domain/>", VolumePrefix: "disk"}
	return m
}

// samplesV14 has what a node's type can say of the machine. It stays as it is, like samplesV1.
func samplesV14() map[string]state.Envelope {
	e := samplesV20()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	for _, m := range []*state.Machine{&apply.Create[0].Machine, &apply.Change[0].Machine} {
		*m = machineV14(*m)
	}
	apply.Cluster.Specs = slices.Clone(apply.Cluster.Specs)
	apply.Cluster.Specs[0].VolumePrefix = "disk"
	apply.Create[0].Host.Display = "vnc://127.0.0.1:5900"
	e.Command = apply
	hypervisor := samplesV13()["put-hypervisor"]
	put := hypervisor.Command.(state.PutHypervisor)
	put.Hypervisor.Archs = []string{"aarch64", "x86_64"}
	hypervisor.Command = put
	report := samplesV5()["report-host"]
	said := report.Command.(state.ReportHost)
	said.Nodes[0].Status.Display = "vnc://127.0.0.1:5900"
	report.Command = said
	return map[string]state.Envelope{"apply-cluster": e, "put-hypervisor": hypervisor, "report-host": report}
}

// dumpV14 is the state in the golden snapshot of version 14.
func dumpV14() state.Dump {
	d := dumpV20()
	for _, n := range d.Nodes {
		if len(n.Machine.Volumes) > 0 {
			n.Machine = machineV14(n.Machine)
		}
		n.Host.Display = "vnc://127.0.0.1:5900"
	}
	for _, h := range d.Hypervisors {
		h.Archs = []string{"aarch64", "x86_64"}
	}
	return d
}
