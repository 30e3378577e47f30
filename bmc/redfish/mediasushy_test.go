package redfish

import (
	"testing"

	"tenks/bmc"
	"tenks/bmc/bmctest"
)

// sushyHead opens the service and the system.
const sushyHead = `
import sys, time
import sushy
from sushy import auth
url, system = sys.argv[1:]
s = sushy.Sushy(url, verify=False, auth=auth.SessionAuth(username="admin", password="correct horse"))
node = s.get_system(system)

def with_registries(resource):
    # Some packages of sushy come without the standard registries that it loads first.
    from sushy.resources.registry import message_registry_file as m
    files = m.MessageRegistryFileCollection(s._conn, "/redfish/v1/Registries", redfish_version=s.redfish_version).get_members()
    resource._registries = {f.registry: f.get_message_registry("en", None) or f.get_attribute_registry("en", None) for f in files}
    return resource

def status_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except sushy.exceptions.HTTPError as e:
        return e.status_code
    return 200
`

// sushyParts do what Ironic's interfaces do with parts of a system.
var sushyParts = []struct{ name, script string }{
	{"network adapters", `
adapters = node.chassis[0].network_adapters.get_members()
assert [a.identity for a in adapters] == ["NIC1", "NIC2"], adapters
functions = adapters[1].network_device_functions.get_members()
assert functions[0].ethernet.mac_address == "52:54:00:00:00:02", functions[0].ethernet
ports = s._conn.get(adapters[1].path).json()["Ports"]["@odata.id"]
assert s._conn.get(ports).json()["Members@odata.count"] == 1
devices = s._conn.get(system).json()["PCIeDevices"]
assert len(devices) == 4, devices
function = s._conn.get(devices[0]["@odata.id"] + "/PCIeFunctions/0").json()
assert function["DeviceClass"] == "NetworkController" and function["VendorId"] == "0x1AF4", function
`},
	{"firmware", `
update = s.get_update_service()
def version(component):
    inventory = s.get_update_service().firmware_inventory.get_members()
    member = next(m for m in inventory if m.identity == node.identity + "-" + component)
    assert member.updateable and member.status.health == sushy.Health.OK
    return member.version
assert version("BIOS") == node.bios_version == "1.2.3", version("BIOS")
target = "/redfish/v1/UpdateService/FirmwareInventory/" + node.identity
monitor = update.simple_update("http://192.0.2.9/fw/bios-2.19.1.bin", targets=[target + "-BIOS"])
monitor.wait(20)
task = monitor.get_task()
assert task.task_state == sushy.TaskState.COMPLETED and task.task_status == sushy.Health.OK, task.task_state
assert version("BIOS") == "1.2.3"
node.reset_system(sushy.ResetType.FORCE_RESTART)
assert version("BIOS") == "2.19.1"
node.refresh()
assert node.bios_version == "2.19.1"
monitor = update.simple_update("https://192.0.2.9/fw/bmc_7.0.exe", targets=[node.managers[0].path])
monitor.wait(20)
assert version("BMC") == "7.0", version("BMC")
assert s.get_manager(node.managers[0].path).firmware_version == "7.0"
assert update.software_inventory.get_members()[0].version
assert status_of(update.simple_update, "file:///x", targets=[system]) == 400
# An account of several systems has to say which one: as Ironic does, by target, or as it stages images.
assert status_of(update.simple_update, "http://192.0.2.9/x") == 400
monitor = update.simple_update("http://192.0.2.9/firmware/" + node.uuid + "/bmc_7.1.exe")
monitor.wait(20)
assert version("BMC") == "7.1", version("BMC")
update.simple_update("http://192.0.2.9/bmc_7.2.exe", targets=[system]).wait(20)
assert version("BMC") == "7.2", version("BMC")
`},
	{"RAID", `
def volumes_of(storage):
    return s.get_system(system).storage.get_members()[0].volumes
storage = node.storage.get_members()[0]
controller = storage.storage_controllers[0]
assert controller.member_id == "0" and sushy.RAIDType.RAID1 in controller.raid_types, controller.raid_types
assert storage.controllers.get_members()[0].raid_types == controller.raid_types
assert [d.identity for d in storage.drives] == ["Disk1", "Disk2"] and storage.drives_sizes_bytes == [1 << 30, 1 << 30]
drive = storage.drives[0]
assert drive.media_type == "SSD" and drive.protocol == sushy.Protocol.SAS and drive.status.health == sushy.Health.OK
drive.set_indicator_led(sushy.IndicatorLED.LIT)
drive.refresh()
assert drive.indicator_led == sushy.IndicatorLED.LIT
assert drive.volumes[0].capacity_bytes == 1 << 30
support = storage.volumes.operation_apply_time_support
assert sushy.ApplyTime.IMMEDIATE in support.mapped_supported_values, support
for volume in storage.volumes.get_members():
    assert volume.raid_type and volume.name
    assert volume.delete(apply_time=sushy.ApplyTime.IMMEDIATE) is None
assert len(volumes_of(storage).get_members()) == 0
payload = {"RAIDType": "RAID1", "CapacityBytes": 1 << 29, "Links": {"Drives": [{"@odata.id": d.path} for d in storage.drives]}}
volume = volumes_of(storage).create(payload, apply_time=sushy.ApplyTime.IMMEDIATE)
assert volume.raid_type == sushy.RAIDType.RAID1 and volume.capacity_bytes == 1 << 29, volume
assert volume.initialize(apply_time=sushy.ApplyTime.IMMEDIATE) is None
monitor = volume.delete(apply_time=sushy.ApplyTime.ON_RESET)
assert monitor.is_processing
assert len(volumes_of(storage).get_members()) == 1
node.reset_system(sushy.ResetType.FORCE_RESTART)
monitor.wait(20)
task = monitor.get_task()
assert task.task_state == sushy.TaskState.COMPLETED and task.task_status == sushy.Health.OK, task.task_state
assert len(volumes_of(storage).get_members()) == 0
`},
	{"Secure Boot", `
sb = node.secure_boot
assert sb.enabled is False and sb.current_boot == sushy.SecureBootCurrentBoot.DISABLED and sb.mode == sushy.SecureBootMode.USER
sb.set_enabled(True)
node.reset_system(sushy.ResetType.FORCE_RESTART)
sb = s.get_system(system).secure_boot
assert sb.enabled is True and sb.current_boot == sushy.SecureBootCurrentBoot.ENABLED
sb.reset_keys(sushy.SecureBootResetKeysType.DELETE_ALL_KEYS)
node.reset_system(sushy.ResetType.FORCE_RESTART)
sb = s.get_system(system).secure_boot
assert sb.enabled is False and sb.mode == sushy.SecureBootMode.SETUP
assert status_of(sb.set_enabled, True) == 400
sb.reset_keys(sushy.SecureBootResetKeysType.RESET_ALL_KEYS_TO_DEFAULT)
sb.set_enabled(True)
assert {d.identity for d in sb.databases.get_members()} == {"PK", "KEK", "db", "dbx"}
`},
	{"virtual media", `
from sushy.resources.manager import virtual_media
here = virtual_media.VirtualMediaCollection(s._conn, system + "/VirtualMedia", redfish_version=s.redfish_version, registries=s.lazy_registries)
for devices in (here.get_members(), node.managers[0].virtual_media.get_members()):
    device = next(d for d in devices if sushy.VirtualMediaType.CD in d.media_types or sushy.VirtualMediaType.DVD in d.media_types)
    device.eject_media()
    device.refresh()
    assert not device.inserted, device.inserted
    device.insert_media("http://192.0.2.9/boot.iso", inserted=True, write_protected=True)
    device.refresh()
    assert device.inserted and device.image == "http://192.0.2.9/boot.iso" and device.image_name == "boot.iso", device.image
    assert device.connected_via == sushy.ConnectedVia.URI, device.connected_via
    node.set_system_boot_options(target=sushy.BootSource.CD, enabled=sushy.BootSourceOverrideEnabled.ONCE)
    node.reset_system(sushy.ResetType.FORCE_RESTART)
    node.refresh()
    assert node.boot.enabled == sushy.BootSourceOverrideEnabled.DISABLED, node.boot
    device.insert_media("https://192.0.2.9/other.iso", username="u", password="p", transfer_method=sushy.TransferMethod.UPLOAD)
    device.refresh()
    assert device.user_name == "u" and device.transfer_method == sushy.TransferMethod.UPLOAD
    device.set_verify_certificate(True)
    device.refresh()
    assert device.verify_certificate is True
    assert len(device.certificates.get_members()) == 0
    device.eject_media()
    device.refresh()
    assert not device.inserted and not device.image
assert status_of(device.insert_media, "file:///etc/passwd") == 400
`},
	{"BIOS", `
bios = node.bios
assert bios.attributes["BootMode"] == "Uefi", bios.attributes
assert bios.supported_apply_times == [sushy.ApplyTime.ON_RESET], bios.supported_apply_times
registry = with_registries(bios).get_attribute_registry()
known = {a.name: a for a in registry.registry_entries.attributes}
assert set(known) == set(bios.attributes), known
assert known["BootTimeout"].upper_bound == 59 and known["BootTimeout"].default_value == 0
assert known["SystemProfile"].allowable_values[0]["ValueName"] == "PerfPerWatt"
assert known["SystemModelName"].read_only and not known["NumLock"].read_only
bios.set_attributes({"SystemProfile": "Performance", "BootTimeout": 9, "NumLock": False}, apply_time=sushy.ApplyTime.ON_RESET)
bios.refresh()
assert bios.attributes["SystemProfile"] == "PerfPerWatt"
pending = bios.pending_attributes
assert pending["SystemProfile"] == "Performance" and pending["BootTimeout"] == 9 and pending["NumLock"] is False, pending
for wrong in ({"Nonsense": 1}, {"SystemProfile": "Loud"}, {"BootTimeout": 301}, {"BootMode": "Legacy"}, {"NumLock": "yes"}):
    assert status_of(bios.set_attributes, wrong) == 400, wrong
node.reset_system(sushy.ResetType.FORCE_RESTART)
bios = with_registries(s.get_system(system).bios)
assert bios.attributes["SystemProfile"] == "Performance" and bios.attributes["BootTimeout"] == 9, bios.attributes
from sushy.resources import settings
assert bios.update_status.status == settings.UPDATE_SUCCESS, bios.update_status
bios.reset_bios()
node.reset_system(sushy.ResetType.FORCE_RESTART)
bios = s.get_system(system).bios
assert bios.attributes["SystemProfile"] == "PerfPerWatt", bios.attributes
bios.change_password("new", "", "AdministratorPassword")
assert status_of(bios.change_password, "x", "wrong", "AdministratorPassword") == 400
bios.refresh()
assert bios.attributes["AdminPasswordState"] == "Set"
`},
}

func TestIntegrationSushyParts(t *testing.T) {
	python := sushyPython(t)
	for _, part := range sushyParts {
		t.Run(part.name, func(t *testing.T) {
			f := newFixture(t)
			c := bmctest.NewSecureChassis()
			hardware := c.Hardware()
			hardware.Disks = []bmc.Disk{{CapacityBytes: 1 << 30}, {CapacityBytes: 1 << 30}}
			c.SetHardware(hardware)
			f.replaceChassis(wrapped{c})
			runSushy(t, python, sushyHead+part.script+"print(\"done\")\n", f)
		})
	}
}
