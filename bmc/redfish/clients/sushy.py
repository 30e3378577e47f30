# Makes every call of sushy that Ironic's redfish hardware type makes, for the system that
# the argument (JSON) describes, and prints a line of JSON for each.
import json
import os
import sys
import time
import traceback

import sushy
from sushy import auth, exceptions
from sushy.resources.manager import virtual_media

t = json.loads(sys.argv[1])
SYSTEM, GIB = t["system"], 1 << 30
AUTHS = {"basic": auth.BasicAuth, "session": auth.SessionAuth, "auto": auth.SessionOrBasicAuth}
if not os.path.isdir(os.path.join(os.path.dirname(sushy.__file__), "standard_registries")):
    # Debian 12's package comes without them; those of the service are read all the same.
    sushy.Sushy._get_standard_message_registry_collection = lambda self: []


def call(name, when=True):
    """Makes a call at once, and says how it ended."""
    def run(function):
        if not when:
            return
        began, error = time.time(), ""
        try:
            function()
        except Exception as e:
            line = traceback.extract_tb(e.__traceback__)[-1]
            for frame in traceback.extract_tb(e.__traceback__):
                if frame.filename == "<stdin>":
                    line = frame
            error = "%s: %s (line %d)" % (type(e).__name__, e, line.lineno)
        print(json.dumps({"call": name, "error": error, "took": time.time() - began}), flush=True)
    return run


def connect(kind, password=None, **more):
    return sushy.Sushy(t["url"], verify=False, auth=AUTHS[kind](username=t["User"], password=password or t["Password"]), **more)


def node():
    """The system as it is now; Ironic too gets it anew for each step."""
    return s.get_system(SYSTEM)


def same(got, want):
    assert got == want, "got %r, want %r" % (got, want)


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError("no %s" % kind.__name__)


def until(what, ok):
    deadline = time.time() + 30
    while not ok():
        assert time.time() < deadline, "not after 30 s: " + what
        time.sleep(0.05)


def power(want):
    until("power %s" % want, lambda: node().power_state == want)


def reset(how, want=sushy.PowerState.ON):
    """Asks again while another change is under way, as a person or Ironic's next try does."""
    def taken():
        try:
            node().reset_system(how)
        except exceptions.ServerSideError as e:
            same(e.status_code, 503)
            return False
        return True
    until("%s to be taken" % how, taken)
    power(want)


def boot(target, enabled):
    b = node().boot
    same((b.target, b.enabled), (target, enabled))


def device_of(resource, kind=sushy.VIRTUAL_MEDIA_CD):
    """The drive of a kind, as _has_vmedia_device finds it."""
    return next(m for m in resource.get_members() if kind in m.media_types)


def system_media():
    n = node()
    if hasattr(n, "virtual_media"):
        return n.virtual_media
    path = n.json["VirtualMedia"]["@odata.id"]
    return virtual_media.VirtualMediaCollection(s._conn, path, redfish_version=s.redfish_version)


# utils.py
@call("Sushy(auth=BasicAuth)")
def _():
    same(connect("basic").get_system(SYSTEM).path, SYSTEM)


@call("Sushy(auth=SessionAuth)")
def _():
    c = connect("session")
    assert c._auth.get_session_key()
    same(c.get_system(SYSTEM).path, SYSTEM)


@call("Sushy(auth=SessionOrBasicAuth)")
def _():
    c = connect("auto")
    assert c._auth.get_session_key()
    same(c.get_system(SYSTEM).path, SYSTEM)


@call("Sushy(root_prefix)")
def _():
    same(connect("basic", root_prefix="/redfish/v1/").get_system(SYSTEM).path, SYSTEM)


@call("AccessError on a wrong password")
def _():
    raises(exceptions.AccessError, connect, "session", password="wrong")
    raises(exceptions.AccessError, lambda: connect("basic", password="wrong").get_system(SYSTEM))


@call("session that ended: logs in again")
def _():
    c = connect("session")
    first = c._auth.get_session_key()
    connect("basic")._conn.delete(c._auth.get_session_resource_id())
    same(c.get_system(SYSTEM).path, SYSTEM)
    assert c._auth.get_session_key() != first


@call("auth.close")
def _():
    c = connect("session")
    path = c._auth.get_session_resource_id()
    c._auth.close()
    raises(exceptions.ResourceNotFoundError, connect("basic")._conn.get, path)


s = connect(t["Auth"])


@call("get_system(path)")
def _():
    same(s.get_system(SYSTEM).identity, SYSTEM.rsplit("/", 1)[1])


@call("get_system()")
def _():
    same(s.get_system().path, SYSTEM)


@call("ResourceNotFoundError of get_system")
def _():
    raises(exceptions.ResourceNotFoundError, s.get_system, SYSTEM[:-4] + "0000")


@call("get_system_collection.members_identities")
def _():
    same(tuple(s.get_system_collection().members_identities), (SYSTEM,))


@call("get_manager(path)")
def _():
    same(s.get_manager(node().managers[0].path).identity, node().managers[0].identity)


@call("get_chassis(path)")
def _():
    same(s.get_chassis(node().chassis[0].path).identity, node().chassis[0].identity)


@call("get_update_service")
def _():
    assert s.get_update_service().service_enabled


@call("get_event_service")
def _():
    assert s.get_event_service().service_enabled


@call("ResourceNotFoundError of get_task_monitor")
def _():
    raises(exceptions.ResourceNotFoundError, s.get_task_monitor, "/redfish/v1/TaskService/TaskMonitors/none")


# inspect.py
@call("memory_summary.size_gib")
def _():
    same(node().memory_summary.size_gib, int(t["MemoryGiB"]))


@call("processors.summary")
def _():
    count, arch = node().processors.summary
    same((count, arch), (t["CPUs"], sushy.PROCESSOR_ARCH_x86))


@call("processor model, max_speed_mhz, instruction_set")
def _():
    p = node().processors.get_members()[0]
    assert p.model and p.max_speed_mhz is None or p.max_speed_mhz > 0, p.max_speed_mhz
    same(p.instruction_set, sushy.InstructionSet.X86_64)


@call("ethernet_interfaces.summary")
def _():
    macs = node().ethernet_interfaces.summary
    same(sorted(m.lower() for m in macs), sorted(t["MACs"]))
    same(set(macs.values()), {sushy.STATE_ENABLED})


@call("simple_storage.disks_sizes_bytes")
def _():
    same(node().simple_storage.disks_sizes_bytes, sorted(t["Disks"]))


@call("storage.volumes_sizes_bytes")
def _():
    same(node().storage.volumes_sizes_bytes, sorted(t["Disks"]))


@call("storage.drives_sizes_bytes")
def _():
    same(node().storage.drives_sizes_bytes, sorted(t["Disks"]))


@call("drive name, capacity_bytes")
def _():
    for storages, of in ((node().storage, "drives"), (node().simple_storage, "devices")):
        drives = [d for one in storages.get_members() for d in getattr(one, of)]
        same(sorted(d.capacity_bytes for d in drives), sorted(t["Disks"]))
        assert all(d.name for d in drives)


@call("system name, serial_number, manufacturer")
def _():
    n = node()
    assert n.name and n.serial_number and n.manufacturer


@call("pcie_devices, pcie_functions")
def _():
    devices = node().json["PCIeDevices"]
    assert devices
    for d in devices:
        device = s._conn.get(d["@odata.id"]).json()
        functions = s._conn.get(device["PCIeFunctions"]["@odata.id"]).json()["Members"]
        function = s._conn.get(functions[0]["@odata.id"]).json()
        for key in ("VendorId", "DeviceId", "ClassCode", "RevisionId", "DeviceClass"):
            assert function[key], key


# management.py, before the node is on
@call("boot target, enabled, mode")
def _():
    b = node().boot
    same((b.get("enabled"), b.get("mode")), (sushy.BOOT_SOURCE_ENABLED_DISABLED, sushy.BOOT_SOURCE_MODE_UEFI))
    assert b.get("target") in sushy.BootSource


@call("boot.allowed_values")
def _():
    for want in ("Pxe", "Hdd", "Cd", "BiosSetup", "UefiHttp"):
        assert want in node().boot.allowed_values, node().boot.allowed_values


@call("set_system_boot_options(PXE, ONCE)")
def _():
    node().set_system_boot_options(sushy.BOOT_SOURCE_TARGET_PXE, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
    boot(sushy.BOOT_SOURCE_TARGET_PXE, sushy.BOOT_SOURCE_ENABLED_ONCE)


@call("set_system_boot_options(HDD, CONTINUOUS)")
def _():
    node().set_system_boot_options(sushy.BOOT_SOURCE_TARGET_HDD, enabled=sushy.BOOT_SOURCE_ENABLED_CONTINUOUS)
    boot(sushy.BOOT_SOURCE_TARGET_HDD, sushy.BOOT_SOURCE_ENABLED_CONTINUOUS)


@call("set_system_boot_options(CD, None)")
def _():
    node().set_system_boot_options(sushy.BOOT_SOURCE_TARGET_CD, enabled=None)
    boot(sushy.BOOT_SOURCE_TARGET_CD, sushy.BOOT_SOURCE_ENABLED_CONTINUOUS)


@call("set_system_boot_options(BIOS_SETUP, ONCE)")
def _():
    node().set_system_boot_options(sushy.BOOT_SOURCE_TARGET_BIOS_SETUP, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
    boot(sushy.BOOT_SOURCE_TARGET_BIOS_SETUP, sushy.BOOT_SOURCE_ENABLED_ONCE)


@call("set_system_boot_options(UEFI_HTTP, http_boot_uri)")
def _():
    # As newer releases of sushy send it.
    s._conn.patch(SYSTEM, data={"Boot": {"BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideEnabled": "Once", "HttpBootUri": t["Image"]}},
                  etag=node()._get_etag())
    b = node().json["Boot"]
    same((b["BootSourceOverrideTarget"], b["HttpBootUri"]), ("UefiHttp", t["Image"]))


@call("set_system_boot_options(mode=UEFI)")
def _():
    node().set_system_boot_options(mode=sushy.BOOT_SOURCE_MODE_UEFI)
    same(node().boot.mode, sushy.BOOT_SOURCE_MODE_UEFI)


@call("refresh(force=True)")
def _():
    n = node()
    node().set_system_boot_options(sushy.BOOT_SOURCE_TARGET_PXE, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
    n.refresh(force=True)
    same(n.boot.target, sushy.BOOT_SOURCE_TARGET_PXE)


# power.py
@call("power_state")
def _():
    same(node().power_state, sushy.SYSTEM_POWER_STATE_OFF)


@call("reset_system(ON)")
def _():
    reset(sushy.RESET_ON)
    until("the override to be used", lambda: node().boot.enabled == sushy.BOOT_SOURCE_ENABLED_DISABLED)


@call("reset_system(NMI)")
def _():
    reset(sushy.RESET_NMI)


@call("reset_system(FORCE_RESTART)")
def _():
    reset(sushy.RESET_FORCE_RESTART)


@call("reset_system(GRACEFUL_SHUTDOWN)")
def _():
    reset(sushy.RESET_GRACEFUL_SHUTDOWN, node().power_state if t["Guest"] else sushy.SYSTEM_POWER_STATE_OFF)
    if not t["Guest"]:
        reset(sushy.RESET_ON)


@call("reset_system(GRACEFUL_RESTART)")
def _():
    reset(sushy.RESET_GRACEFUL_RESTART)


# management.py, while the node is on
@call("thermal.fans")
def _():
    fans = [f for c in node().chassis for f in c.thermal.fans]
    assert fans and all(f.identity and f.reading is not None and f.status.health for f in fans)


@call("thermal.temperatures")
def _():
    readings = [r for c in node().chassis for r in c.thermal.temperatures]
    assert readings and all(r.identity and r.reading_celsius > 0 and r.physical_context for r in readings)


@call("power.power_supplies")
def _():
    supplies = [p for c in node().chassis for p in c.power.power_supplies]
    assert supplies and all(p.identity and p.power_capacity_watts > 0 and p.status.health for p in supplies)
    assert node().chassis[0].power.identity


@call("simple_storage.devices")
def _():
    for one in node().simple_storage.get_members():
        assert one.identity
        for d in one.devices:
            same((bool(d.name), d.status.state, d.status.health), (True, sushy.STATE_ENABLED, sushy.HEALTH_OK))


@call("system.set_indicator_led")
def _():
    for led in (sushy.INDICATOR_LED_LIT, sushy.INDICATOR_LED_OFF):
        node().set_indicator_led(led)
        same(node().indicator_led, led)
    assert node().uuid


@call("chassis.set_indicator_led")
def _():
    for led in (sushy.INDICATOR_LED_LIT, sushy.INDICATOR_LED_OFF):
        node().chassis[0].set_indicator_led(led)
        same(node().chassis[0].indicator_led, led)
    assert node().chassis[0].uuid


@call("drive.set_indicator_led")
def _():
    for led in (sushy.INDICATOR_LED_LIT, sushy.INDICATOR_LED_OFF):
        node().storage.get_members()[0].drives[0].set_indicator_led(led)
        same(node().storage.get_members()[0].drives[0].indicator_led, led)


@call("manager datetime, datetime_local_offset")
def _():
    m = node().managers[0].json
    assert m["DateTime"] and m["DateTimeLocalOffset"], m


@call("manager.set_datetime")
def _():
    # As newer releases of sushy send it.
    s._conn.patch(node().managers[0].path, data={"DateTime": "2031-02-03T04:05:06+00:00", "DateTimeLocalOffset": "+00:00"})
    m = node().managers[0].json
    assert m["DateTime"].startswith("2031-02-03T04:05:"), m["DateTime"]
    same(m["DateTimeLocalOffset"], "+00:00")


# boot.py
@call("manager manager_type, firmware_version")
def _():
    m = node().managers[0]
    same(m.manager_type, sushy.MANAGER_TYPE_BMC)
    assert m.firmware_version


def media(collection):
    device_of(collection()).eject_media()
    assert not device_of(collection()).inserted
    device_of(collection()).insert_media(t["Image"], inserted=True, write_protected=True)
    d = device_of(collection())
    same((d.inserted, d.image, bool(d.name)), (True, t["Image"], True))
    device_of(collection()).eject_media()
    assert not device_of(collection()).inserted


@call("manager virtual_media")
def _():
    media(lambda: node().managers[0].virtual_media)


@call("system virtual_media")
def _():
    media(system_media)


@call("insert_media")
def _():
    device_of(system_media()).insert_media(t["Image"], inserted=True, write_protected=True)
    same(device_of(system_media()).image, t["Image"])
    node().set_system_boot_options(sushy.BOOT_SOURCE_TARGET_CD, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
    reset(sushy.RESET_FORCE_RESTART)
    same(device_of(system_media()).inserted, True)


@call("eject_media")
def _():
    device_of(system_media()).eject_media()
    d = device_of(system_media())
    same((bool(d.inserted), d.image or None), (False, None))


@call("insert_media(USBSTICK)")
def _():
    def stick():
        return device_of(system_media(), sushy.VIRTUAL_MEDIA_USBSTICK)

    stick().insert_media(t["Image"], inserted=True, write_protected=True)
    same((stick().inserted, stick().image), (True, t["Image"]))
    assert not device_of(system_media()).inserted
    stick().eject_media()
    assert not stick().inserted


@call("insert_media(username, password)")
def _():
    device_of(system_media()).insert_media(t["Image"], inserted=True, write_protected=True, username="u", password="p")
    same(device_of(system_media()).image, t["Image"])
    device_of(system_media()).eject_media()


@call("BadRequestError of insert_media")
def _():
    raises(exceptions.BadRequestError, device_of(system_media()).insert_media, "file:///etc/passwd", inserted=True, write_protected=True)


# bios.py
@call("bios.attributes")
def _():
    same(node().bios.attributes["BootTimeout"], 0)


@call("bios.get_attribute_registry")
def _():
    registry = node().bios.get_attribute_registry()
    same({a.name for a in registry.registry_entries.attributes}, set(node().bios.attributes))
    for a in registry.registry_entries.attributes:
        # What cache_bios_settings keeps of each.
        assert a.attribute_type and a.read_only in (True, False), a.name
        for name in ("allowable_values", "lower_bound", "max_length", "min_length", "unique", "reset_required", "upper_bound"):
            getattr(a, name)


@call("bios.supported_apply_times")
def _():
    assert sushy.APPLY_TIME_ON_RESET in node().bios.supported_apply_times


@call("bios.set_attributes(ON_RESET)")
def _():
    node().bios.set_attributes({"BootTimeout": 9, "NumLock": False}, apply_time=sushy.APPLY_TIME_ON_RESET)
    same(node().bios.pending_attributes["BootTimeout"], 9)
    reset(sushy.RESET_FORCE_RESTART)
    until("the attributes", lambda: (node().bios.attributes["BootTimeout"], node().bios.attributes["NumLock"]) == (9, False))


@call("BadRequestError of bios.set_attributes")
def _():
    for wrong in ({"Nonsense": 1}, {"BootTimeout": 301}, {"NumLock": "yes"}):
        raises(exceptions.BadRequestError, node().bios.set_attributes, wrong, apply_time=sushy.APPLY_TIME_ON_RESET)


@call("bios.reset_bios")
def _():
    node().bios.reset_bios()
    reset(sushy.RESET_FORCE_RESTART)
    until("the defaults", lambda: node().bios.attributes["BootTimeout"] == 0)


@call("secure_boot.enabled")
def _():
    assert node().secure_boot.enabled in (True, False)


@call("secure_boot.set_enabled", t["SecureBoot"])
def _():
    node().secure_boot.set_enabled(True)
    reset(sushy.RESET_FORCE_RESTART)
    same(node().secure_boot.enabled, True)


@call("secure_boot.reset_keys(DELETE_ALL)", t["SecureBoot"])
def _():
    node().secure_boot.reset_keys(sushy.SECURE_BOOT_RESET_KEYS_DELETE_ALL)
    reset(sushy.RESET_FORCE_RESTART)
    same(node().secure_boot.enabled, False)


@call("secure_boot.reset_keys(DEFAULT)", t["SecureBoot"])
def _():
    node().secure_boot.reset_keys(sushy.SECURE_BOOT_RESET_KEYS_TO_DEFAULT)
    reset(sushy.RESET_FORCE_RESTART)
    node().secure_boot.set_enabled(True)
    node().secure_boot.set_enabled(False)
    same(node().secure_boot.enabled, False)


# raid.py
def storage():
    return node().storage.get_members()[0]


@call("storage_controllers, raid_types")
def _():
    c = storage().storage_controllers[0]
    assert storage().identity and c.member_id is not None
    assert sushy.RAIDType.RAID0 in c.raid_types, c.raid_types


@call("drive media_type, protocol, status")
def _():
    for d in storage().drives:
        assert d.identity and d.name and d.capacity_bytes > 0 and d._path
        # What get_physical_disks and its filters look at.
        assert d.protocol in (sushy.PROTOCOL_TYPE_SAS, sushy.PROTOCOL_TYPE_SATA), d.protocol
        assert d.media_type in ("HDD", "SSD"), d.media_type
        assert d.manufacturer and d.model and d.serial_number
        same((d.status.state, d.status.health), (sushy.STATE_ENABLED, sushy.HEALTH_OK))
        assert isinstance(d.volumes, list)


@call("volumes.operation_apply_time_support")
def _():
    support = storage().volumes.operation_apply_time_support.mapped_supported_values
    assert sushy.APPLY_TIME_ON_RESET in support, support
    # A controller that makes volumes real changes them while the machine is off.
    runs = t["Guest"] and node().power_state == sushy.PowerState.ON
    same(sushy.APPLY_TIME_IMMEDIATE in support, not runs)


@call("volume raid_type, name, capacity_bytes")
def _():
    for v in storage().volumes.get_members():
        assert v.raid_type and v.name and v.capacity_bytes > 0 and v.identity


if t["Guest"]:
    reset(sushy.RESET_FORCE_OFF, sushy.PowerState.OFF)


@call("volume.delete(IMMEDIATE)")
def _():
    for v in storage().volumes.get_members():
        same(v.delete(apply_time=sushy.APPLY_TIME_IMMEDIATE), None)
    same(len(storage().volumes.get_members()), 0)


def payload():
    drives = storage().drives
    kind = "RAID1" if len(drives) > 1 else "RAID0"
    return {"Encrypted": False, "Name": "root", "RAIDType": kind, "CapacityBytes": GIB // 2,
            "Links": {"Drives": [{"@odata.id": d._path} for d in drives[:2]]}}


@call("volumes.create(IMMEDIATE)")
def _():
    v = storage().volumes.create(payload(), apply_time=sushy.APPLY_TIME_IMMEDIATE)
    same((v.raid_type.value, v.capacity_bytes), (payload()["RAIDType"], GIB // 2))
    same(v.delete(apply_time=sushy.APPLY_TIME_IMMEDIATE), None)


def at_reset(monitor, count):
    """What waits for a start: Ironic polls the monitor by its URI."""
    uri = monitor.task_monitor_uri
    assert s.get_task_monitor(uri).is_processing
    reset(sushy.RESET_ON if node().power_state == sushy.PowerState.OFF else sushy.RESET_FORCE_RESTART)
    until("the task", lambda: not s.get_task_monitor(uri).is_processing)
    task = s.get_task_monitor(uri).get_task()
    same((task.task_state, task.task_status), (sushy.TASK_STATE_COMPLETED, sushy.HEALTH_OK))
    same(len(storage().volumes.get_members()), count)


@call("volumes.create(ON_RESET)")
def _():
    at_reset(storage().volumes.create(payload(), apply_time=sushy.APPLY_TIME_ON_RESET), 1)


@call("volume.delete(ON_RESET)")
def _():
    at_reset(storage().volumes.get_members()[0].delete(apply_time=sushy.APPLY_TIME_ON_RESET), 0)


# firmware.py, and management.py's update_firmware
@call("bios_version")
def _():
    assert node().bios_version


@call("network adapter controllers")
def _():
    adapters = node().chassis[0].network_adapters.get_members()
    same(len(adapters), len(t["MACs"]))
    for a in adapters:
        assert a.identity
        for c in s._conn.get(a.path).json()["Controllers"]:
            assert c["FirmwarePackageVersion"]


def update(version, **more):
    monitor = s.get_update_service().simple_update(t["Firmware"] + "/bios-%s.bin" % version, **more)
    until("the update", lambda: not s.get_task_monitor(monitor.task_monitor_uri).is_processing)
    reset(sushy.RESET_FORCE_RESTART)
    until("the version", lambda: node().bios_version == version)
    return monitor


@call("simple_update(url)")
def _():
    update("2.1")


@call("simple_update(url, targets)")
def _():
    update("2.2", targets=["/redfish/v1/UpdateService/FirmwareInventory/" + node().identity + "-BIOS"])


@call("get_task_monitor, is_processing, get_task")
def _():
    task = s.get_task_monitor(update("2.3").task_monitor_uri).get_task()
    same((task.task_state, task.task_status), (sushy.TASK_STATE_COMPLETED, sushy.HEALTH_OK))


@call("task.parse_messages")
def _():
    task = s.get_task_monitor(update("2.4").task_monitor_uri).get_task()
    assert task.messages
    task.parse_messages()
    assert all(m.message for m in task.messages), [m.message_id for m in task.messages]


# vendor.py
@call("get_event_types_for_subscription")
def _():
    types = s.get_event_service().get_event_types_for_subscription()
    assert "Alert" in [getattr(one, "value", one) for one in types], types


kept = {}


@call("subscriptions.create")
def _():
    want = {"Destination": t["Sink"], "Protocol": "Redfish", "Context": "c", "EventTypes": ["Alert"]}
    sub = s.get_event_service().subscriptions.create(dict(want, HttpHeaders=[{"X-Secret": "x"}]))
    same({k: v for k, v in sub.json.items() if k in want}, want)
    kept["id"] = sub.json["Id"]


@call("subscriptions.json")
def _():
    collection = s.get_event_service().subscriptions
    same([m["@odata.id"] for m in collection.json["Members"]], [collection.path + "/" + kept["id"]])


@call("subscriptions.get_member.json")
def _():
    collection = s.get_event_service().subscriptions
    got = collection.get_member(collection.path + "/" + kept["id"]).json
    same((got["Id"], got["Context"], got["EventTypes"]), (kept["id"], "c", ["Alert"]))


@call("subscription.delete")
def _():
    collection = s.get_event_service().subscriptions
    path = collection.path + "/" + kept["id"]
    collection.get_member(path).delete()
    raises(exceptions.ResourceNotFoundError, collection.get_member, path)
    same(s.get_event_service().subscriptions.json["Members"], [])


@call("reset_system(FORCE_OFF)")
def _():
    reset(sushy.RESET_FORCE_OFF, sushy.SYSTEM_POWER_STATE_OFF)


s._auth.close()
