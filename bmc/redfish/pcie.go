package redfish

import "slices"

// virtioVendor is who the PCI IDs of virtio devices belong to.
const virtioVendor = "Red Hat, Inc."

// pcieTable has a device for each interface and each disk of the node. Only what is the
// same with every driver is told: the addresses are the guest's to see.
func pcieTable() []Resource {
	one := systemsPath + "/{system}/PCIeDevices/{device}"
	rows := []Resource{
		{Path: one, Type: "#PCIeDevice.v1_13_0.PCIeDevice",
			Get: func(r *Request) (Object, error) {
				d := deviceOf(r.Var("device"))
				return Object{{"Id", r.Var("device")}, {"Name", "PCIe Device " + r.Var("device")}, {"DeviceType", "SingleFunction"}, {"Manufacturer", virtioVendor}, {"Model", d.model},
					{"Status", healthy()}, {"Links", Object{{"Chassis", links(r.chassisPath())}, {"Chassis@odata.count", 1}}}}, nil
			}},
		{Path: one + "/PCIeFunctions", Type: "#PCIeFunctionCollection.PCIeFunctionCollection", Link: "PCIeFunctions", Name: "PCIe Functions",
			Members: func(*Request) ([]string, error) { return []string{"0"}, nil }},
		{Path: one + "/PCIeFunctions/0", Type: "#PCIeFunction.v1_5_0.PCIeFunction", Get: getPCIeFunction},
	}
	for i := range rows {
		rows[i].Present = func(r *Request) bool { return slices.Contains(pcieDevices(r), r.Var("device")) }
	}
	return rows
}

// pcieDevices are the IDs of the devices.
func pcieDevices(r *Request) []string {
	hardware := r.Chassis().Hardware()
	return slices.Concat(counted("NIC", len(hardware.NICs)), counted(diskName, len(hardware.Disks)))
}

// pcieLinks refer to the devices.
func pcieLinks(r *Request) []Object {
	var paths []string
	for _, id := range pcieDevices(r) {
		paths = append(paths, r.systemPath()+"/PCIeDevices/"+id)
	}
	return links(paths...)
}

// pcieDevice is a kind of device, with its IDs of virtio 1.2 §4.1.
type pcieDevice struct{ model, class, classCode, device string }

func deviceOf(id string) pcieDevice {
	if id[:min(3, len(id))] == "NIC" {
		return pcieDevice{"Virtio network device", "NetworkController", "0x020000", "0x1041"}
	}
	return pcieDevice{"Virtio block device", "MassStorageController", "0x010000", "0x1042"}
}

func getPCIeFunction(r *Request) (Object, error) {
	d := deviceOf(r.Var("device"))
	related := Object{{"PCIeDevice", link(r.systemPath() + "/PCIeDevices/" + r.Var("device"))}}
	if d.class == "NetworkController" {
		related = append(related, Object{{"EthernetInterfaces", links(r.systemPath() + "/EthernetInterfaces/" + r.Var("device"))}, {"EthernetInterfaces@odata.count", 1}}...)
	} else {
		related = append(related, Object{{"Drives", links(r.storagePath() + "/Drives/" + r.Var("device"))}, {"Drives@odata.count", 1}}...)
	}
	return Object{{"Id", "0"}, {"Name", "PCIe Function 0"}, {"FunctionId", 0}, {"FunctionType", "Physical"}, {"DeviceClass", d.class}, {"ClassCode", d.classCode},
		{"VendorId", "0x1AF4"}, {"DeviceId", d.device}, {"SubsystemVendorId", "0x1AF4"}, {"SubsystemId", "0x1100"}, {"RevisionId", "0x01"}, {"Status", healthy()}, {"Links", related}}, nil
}
