package redfish

import (
	"strings"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// speedGbps is what every interface of a node claims to have.
const speedGbps = 10

// adapterTable has each interface of the node as an adapter with one port and one function.
func adapterTable() []Resource {
	base := chassisPath + "/{system}/NetworkAdapters"
	one := base + "/{adapter}"
	rows := []Resource{
		{Path: base, Type: "#NetworkAdapterCollection.NetworkAdapterCollection", Link: "NetworkAdapters", Name: "Network Adapters", Members: nics},
		{Path: one, Type: "#NetworkAdapter.v1_9_0.NetworkAdapter", Get: getAdapter},
		{Path: one + "/Ports", Type: "#PortCollection.PortCollection", Link: "Ports", Name: "Ports",
			Members: func(*Request) ([]string, error) { return []string{"1"}, nil }},
		{Path: one + "/Ports/1", Type: "#Port.v1_10_0.Port", Get: getPort},
		{Path: one + "/NetworkDeviceFunctions", Type: "#NetworkDeviceFunctionCollection.NetworkDeviceFunctionCollection", Link: "NetworkDeviceFunctions",
			Name: "Network Device Functions", Members: func(*Request) ([]string, error) { return []string{"1"}, nil }},
		{Path: one + "/NetworkDeviceFunctions/1", Type: "#NetworkDeviceFunction.v1_9_0.NetworkDeviceFunction", Get: getDeviceFunction},
		{Path: systemsPath + "/{system}/NetworkInterfaces", Type: "#NetworkInterfaceCollection.NetworkInterfaceCollection", Link: "NetworkInterfaces",
			Name: "Network Interfaces", Members: nics},
		{Path: systemsPath + "/{system}/NetworkInterfaces/{adapter}", Type: "#NetworkInterface.v1_2_2.NetworkInterface", Get: getNetworkInterface},
	}
	for i := range rows {
		if strings.Contains(rows[i].Path, "{adapter}") {
			rows[i].Present = func(r *Request) bool { _, found := r.nic(); return found }
		}
	}
	return rows
}

func nics(r *Request) ([]string, error) {
	return counted("NIC", len(r.Chassis().Hardware().NICs)), nil
}

// nic is the interface of {adapter}.
func (r *Request) nic() (bmc.NIC, bool) {
	list := r.Chassis().Hardware().NICs
	if i := nth("NIC", r.Var("adapter"), len(list)); i >= 0 {
		return list[i], true
	}
	return bmc.NIC{}, false
}

func (r *Request) adapterPath() string {
	return r.chassisPath() + "/NetworkAdapters/" + r.Var("adapter")
}

func getAdapter(r *Request) (Object, error) {
	id, path := r.Var("adapter"), r.adapterPath()
	controller := Object{{"FirmwarePackageVersion", r.firmware(componentNIC)},
		{"ControllerCapabilities", Object{{"NetworkPortCount", 1}, {"NetworkDeviceFunctionCount", 1}}},
		{"Links", Object{{"PCIeDevices", links(r.systemPath() + "/PCIeDevices/" + id)}, {"PCIeDevices@odata.count", 1},
			{"Ports", links(path + "/Ports/1")}, {"Ports@odata.count", 1},
			{"NetworkDeviceFunctions", links(path + "/NetworkDeviceFunctions/1")}, {"NetworkDeviceFunctions@odata.count", 1}}}}
	return Object{{"Id", id}, {"Name", "Network Adapter " + id}, {"Manufacturer", virtioVendor}, {"Model", "Virtio network device"},
		{"Status", healthy()}, {"Controllers", []Object{controller}}}, nil
}

func getPort(r *Request) (Object, error) {
	nic, found := r.nic()
	if !found {
		return nil, notFound(r.Path)
	}
	link, speed := "LinkDown", any(nil)
	if r.Chassis().Status().Power == state.PowerOn {
		link, speed = "LinkUp", speedGbps
	}
	return Object{{"Id", "1"}, {"Name", "Port 1"}, {"Description", optional(nic.Physnet)}, {"PortId", "1"}, {"PortProtocol", "Ethernet"}, {"LinkNetworkTechnology", "Ethernet"},
		{"LinkStatus", link}, {"CurrentSpeedGbps", speed}, {"MaxSpeedGbps", speedGbps}, {"Ethernet", append(Object{{"AssociatedMACAddresses", []string{nic.MAC}}}, lldp(r.System, nic)...)}, {"Status", healthy()}}, nil
}

// lldp is what the two ends of a link say of themselves (IEEE 802.1AB), where the other end
// is known: Ironic's inspection makes a port's local_link_connection of it. Nobody sends
// frames: the agent knows both ends. PortId is the name's bytes in hexadecimal, as the
// schema wants it. Adapters hear it in standby too, so power is no matter.
func lldp(sys System, nic bmc.NIC) Object {
	if nic.Switch.MAC == "" || nic.Switch.Port == "" {
		return nil
	}
	return Object{
		{"LLDPTransmit", Object{{"ChassisId", nic.MAC}, {"ChassisIdSubtype", "MacAddr"}, {"PortId", strings.ToUpper(nic.MAC)}, {"PortIdSubtype", "MacAddr"},
			{"SystemName", optional(sys.Name)}, {"SystemDescription", model}, {"SystemCapabilities", []string{"Station"}}}},
		{"LLDPReceive", Object{{"ChassisId", nic.Switch.MAC}, {"ChassisIdSubtype", "MacAddr"}, {"PortId", colons([]byte(nic.Switch.Port))}, {"PortIdSubtype", "IfName"},
			{"SystemName", optional(nic.Switch.Name)}, {"SystemDescription", strings.TrimSpace("Port " + nic.Switch.Port + " " + nic.Physnet)}, {"SystemCapabilities", []string{"Bridge"}}}},
	}
}

func getDeviceFunction(r *Request) (Object, error) {
	nic, found := r.nic()
	if !found {
		return nil, notFound(r.Path)
	}
	id := r.Var("adapter")
	return Object{{"Id", "1"}, {"Name", "Network Device Function 1"}, {"NetDevFuncType", "Ethernet"}, {"NetDevFuncCapabilities", []string{"Ethernet"}},
		{"DeviceEnabled", true}, {"Ethernet", Object{{"MACAddress", nic.MAC}, {"PermanentMACAddress", nic.MAC}}},
		{"AssignablePhysicalNetworkPorts", links(r.adapterPath() + "/Ports/1")}, {"AssignablePhysicalNetworkPorts@odata.count", 1}, {"Status", healthy()},
		{"Links", Object{{"PCIeFunction", link(r.systemPath() + "/PCIeDevices/" + id + "/PCIeFunctions/0")},
			{"EthernetInterfaces", links(r.systemPath() + "/EthernetInterfaces/" + id)}, {"EthernetInterfaces@odata.count", 1}}}}, nil
}

func getNetworkInterface(r *Request) (Object, error) {
	id, path := r.Var("adapter"), r.adapterPath()
	return Object{{"Id", id}, {"Name", "Network Interface " + id}, {"Status", healthy()}, {"Ports", link(path + "/Ports")},
		{"NetworkDeviceFunctions", link(path + "/NetworkDeviceFunctions")}, {"Links", Object{{"NetworkAdapter", link(path)}}}}, nil
}
