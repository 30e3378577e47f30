package redfish

import (
	"strings"
	"testing"

	"tenks/bmc"
)

func TestAdaptersAndDevices(t *testing.T) {
	f := newFixture(t)
	chassis := chassisPath + "/" + first
	run(t, f, []exchange{
		{name: "adapters", method: get, path: chassis + "/NetworkAdapters", status: 200, has: map[string]any{"Members@odata.count": 2.0}},
		{name: "an adapter", method: get, path: chassis + "/NetworkAdapters/NIC2", status: 200, has: map[string]any{"Controllers/0/FirmwarePackageVersion": "1.2.3",
			"Controllers/0/Links/PCIeDevices/0/@odata.id": sys1 + "/PCIeDevices/NIC2", "Ports/@odata.id": chassis + "/NetworkAdapters/NIC2/Ports"}},
		{name: "no adapter", method: get, path: chassis + "/NetworkAdapters/NIC3", status: 404},
		{name: "no adapter's ports", method: get, path: chassis + "/NetworkAdapters/NIC3/Ports", status: 404},
		{name: "a port of what is off", method: get, path: chassis + "/NetworkAdapters/NIC1/Ports/1", status: 200, has: map[string]any{"LinkStatus": "LinkDown", "CurrentSpeedGbps": nil,
			"Ethernet/AssociatedMACAddresses/0": "52:54:00:00:00:01", "Description": "physnet1"}},
		{name: "a function", method: get, path: chassis + "/NetworkAdapters/NIC2/NetworkDeviceFunctions/1", status: 200, has: map[string]any{"Ethernet/PermanentMACAddress": "52:54:00:00:00:02",
			"Links/EthernetInterfaces/0/@odata.id": sys1 + "/EthernetInterfaces/NIC2"}},
		{name: "an interface", method: get, path: sys1 + "/NetworkInterfaces/NIC1", status: 200, has: map[string]any{"Links/NetworkAdapter/@odata.id": chassis + "/NetworkAdapters/NIC1"}},
		{name: "the system's devices", method: get, path: sys1, status: 200, has: map[string]any{"PCIeDevices@odata.count": 3.0, "PCIeDevices/2/@odata.id": sys1 + "/PCIeDevices/Disk1"}},
		{name: "a disk's", method: get, path: sys1 + "/PCIeDevices/Disk1/PCIeFunctions/0", status: 200, has: map[string]any{"DeviceClass": "MassStorageController", "DeviceId": "0x1042",
			"Links/Drives/0/@odata.id": storage + "/Drives/Disk1"}},
		{name: "no device", method: get, path: sys1 + "/PCIeDevices/Disk2", status: 404},
		{name: "on", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, status: 204},
		{name: "a port of what is on", method: get, path: chassis + "/NetworkAdapters/NIC1/Ports/1", status: 200, has: map[string]any{"LinkStatus": "LinkUp", "CurrentSpeedGbps": 10.0}},
	})
}

func TestLLDP(t *testing.T) {
	f := newFixture(t)
	hardware := f.chassis[first].Hardware()
	hardware.NICs[0].Switch = bmc.SwitchPort{Name: "tkbr0", MAC: "02:00:00:00:00:01", Port: "tkp1"}
	f.chassis[first].SetHardware(hardware)
	port := chassisPath + "/" + first + "/NetworkAdapters/NIC1/Ports/1"
	run(t, f, []exchange{
		{name: "both ends", method: get, path: port, status: 200, has: map[string]any{
			"Ethernet/LLDPReceive/ChassisId": "02:00:00:00:00:01", "Ethernet/LLDPReceive/ChassisIdSubtype": "MacAddr", "Ethernet/LLDPReceive/PortId": "74:6B:70:31", "Ethernet/LLDPReceive/SystemDescription": "Port tkp1 physnet1",
			"Ethernet/LLDPReceive/PortIdSubtype": "IfName", "Ethernet/LLDPReceive/SystemName": "tkbr0", "Ethernet/LLDPReceive/SystemCapabilities/0": "Bridge",
			"Ethernet/LLDPTransmit/PortId": "52:54:00:00:00:01", "Ethernet/LLDPTransmit/SystemName": "node0"}},
		{name: "from the interface", method: get, path: sys1 + "/EthernetInterfaces/NIC1", status: 200, has: map[string]any{"Links/Ports/0/@odata.id": port}},
		{name: "not known", method: get, path: strings.Replace(port, "NIC1", "NIC2", 1), status: 200, has: map[string]any{"Ethernet/LLDPReceive": nil, "Ethernet/LLDPTransmit": nil}},
	})
}
