package redfish

import (
	"strconv"

	"tenks/raftfsm/state"
)

const processorModel = "Virtual CPU"

// processorArch says what libvirt's architectures are in Redfish's words.
var processorArch = map[string]struct{ arch, instructions string }{
	"x86_64": {"x86", "x86-64"}, "i686": {"x86", "x86"}, "aarch64": {"ARM", "ARM-A64"}, "armv7l": {"ARM", "ARM-A32"},
	"ppc64le": {"Power", "PowerISA"}, "ppc64": {"Power", "PowerISA"}, "riscv64": {"OEM", "OEM"}, "s390x": {"OEM", "OEM"},
}

// counted are the IDs of n things.
func counted(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i+1)
	}
	return out
}

// nth is the index of a member with an ID made by counted, or -1.
func nth(prefix, id string, n int) int {
	for i, want := range counted(prefix, n) {
		if id == want {
			return i
		}
	}
	return -1
}

// processorTable has one processor with all cores of the node.
func processorTable() []Resource {
	return []Resource{
		{Path: systemsPath + "/{system}/Processors", Type: "#ProcessorCollection.ProcessorCollection", Link: "Processors", Name: "Processors",
			Members: func(*Request) ([]string, error) { return counted("CPU", 1), nil }},
		{Path: systemsPath + "/{system}/Processors/{processor}", Type: "#Processor.v1_18_0.Processor", Get: getProcessor,
			Present: func(r *Request) bool { return nth("CPU", r.Var("processor"), 1) >= 0 }},
	}
}

func getProcessor(r *Request) (Object, error) {
	hardware := r.Chassis().Hardware()
	arch, instructions := any(Omit), any(Omit)
	if known, found := processorArch[hardware.Arch]; found {
		arch, instructions = known.arch, known.instructions
	}
	return Object{{"Id", "CPU1"}, {"Name", "Processor 1"}, {"Socket", "CPU 1"}, {"ProcessorType", "CPU"}, {"ProcessorArchitecture", arch},
		{"InstructionSet", instructions}, {"Manufacturer", manufacturer}, {"Model", processorModel},
		{"TotalCores", hardware.VCPUs}, {"TotalThreads", hardware.VCPUs}, {"Status", healthy()}}, nil
}

// memoryTable has one module with all memory of the node.
func memoryTable() []Resource {
	return []Resource{
		{Path: systemsPath + "/{system}/Memory", Type: "#MemoryCollection.MemoryCollection", Link: "Memory", Name: "Memory",
			Members: func(*Request) ([]string, error) { return counted("DIMM", 1), nil }},
		{Path: systemsPath + "/{system}/Memory/{memory}", Type: "#Memory.v1_19_0.Memory",
			Present: func(r *Request) bool { return nth("DIMM", r.Var("memory"), 1) >= 0 },
			Get: func(r *Request) (Object, error) {
				return Object{{"Id", "DIMM1"}, {"Name", "Memory 1"}, {"MemoryType", "DRAM"}, {"CapacityMiB", r.Chassis().Hardware().MemoryMB},
					{"Manufacturer", manufacturer}, {"DeviceLocator", "DIMM 1"}, {"Status", healthy()}}, nil
			}},
	}
}

// networkTable has the interfaces of the node.
func networkTable() []Resource {
	index := func(r *Request) int { return nth("NIC", r.Var("interface"), len(r.Chassis().Hardware().NICs)) }
	return []Resource{
		{Path: systemsPath + "/{system}/EthernetInterfaces", Type: "#EthernetInterfaceCollection.EthernetInterfaceCollection", Link: "EthernetInterfaces",
			Name:    "Ethernet Interfaces",
			Members: func(r *Request) ([]string, error) { return counted("NIC", len(r.Chassis().Hardware().NICs)), nil }},
		{Path: systemsPath + "/{system}/EthernetInterfaces/{interface}", Type: "#EthernetInterface.v1_12_1.EthernetInterface",
			Present: func(r *Request) bool { return index(r) >= 0 },
			Get: func(r *Request) (Object, error) {
				nic := r.Chassis().Hardware().NICs[index(r)]
				up := "LinkDown"
				if r.Chassis().Status().Power == state.PowerOn {
					up = "LinkUp"
				}
				id := r.Var("interface")
				return Object{{"Id", id}, {"Name", "Ethernet Interface " + id}, {"Description", optional(nic.Physnet)}, {"MACAddress", nic.MAC},
					{"PermanentMACAddress", nic.MAC}, {"InterfaceEnabled", true}, {"LinkStatus", up}, {"SpeedMbps", 10000}, {"FullDuplex", true},
					{"Status", healthy()}, {"Links", Object{{"Ports", links(r.chassisPath() + "/NetworkAdapters/" + id + "/Ports/1")}, {"Ports@odata.count", 1}}}}, nil
			}},
	}
}

// simpleStorageTable has the disks of the node in one controller.
func simpleStorageTable() []Resource {
	return []Resource{
		{Path: systemsPath + "/{system}/SimpleStorage", Type: "#SimpleStorageCollection.SimpleStorageCollection", Link: "SimpleStorage", Name: "Simple Storage",
			Members: func(*Request) ([]string, error) { return counted("", 1), nil }},
		{Path: systemsPath + "/{system}/SimpleStorage/{storage}", Type: "#SimpleStorage.v1_3_2.SimpleStorage",
			Present: func(r *Request) bool { return nth("", r.Var("storage"), 1) >= 0 },
			Get: func(r *Request) (Object, error) {
				devices := []Object{}
				for i, disk := range r.Chassis().Hardware().Disks {
					devices = append(devices, Object{{"Name", "Disk " + strconv.Itoa(i+1)}, {"Manufacturer", manufacturer}, {"Model", "Virtual Disk"},
						{"CapacityBytes", disk.CapacityBytes}, {"Status", healthy()}})
				}
				return Object{{"Id", "1"}, {"Name", "Simple Storage Controller"}, {"Devices", devices}, {"Status", healthy()},
					{"Links", Object{{"Chassis", link(r.chassisPath())}}}}, nil
			}},
	}
}
