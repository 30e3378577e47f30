package redfish

import (
	"testing"

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
assert known["BootTimeout"].upper_bound == 300 and known["BootTimeout"].default_value == 5
assert known["SystemProfile"].allowable_values[0]["ValueName"] == "PerfPerWatt"
assert known["BootMode"].read_only and not known["NumLock"].read_only
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
			f.replaceChassis(wrapped{bmctest.NewSecureChassis()})
			runSushy(t, python, sushyHead+part.script+"print(\"done\")\n", f)
		})
	}
}
