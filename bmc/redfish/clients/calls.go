package clients

import "slices"

// Call is a call of sushy that Ironic makes.
type Call struct {
	// Name is the call as sushy spells it.
	Name string
	// Where is the file of ironic/drivers/modules/redfish, and the function.
	Where string
	// NoGofish says why gofish has nothing like it; empty: it is made by gofish too.
	NoGofish string
	// NeedsSecureBoot says that firmware without Secure Boot refuses it.
	NeedsSecureBoot bool
}

// Gofish says that gofish makes a call.
func (c Call) Gofish() bool { return c.NoGofish == "" }

const (
	ownRetry  = "gofish does not log in again by itself"
	noDefault = "gofish names no default system"
	noParse   = "gofish leaves messages as they are"
)

// Calls are all calls that Ironic 21.4 (Debian 12) and later releases make, by file.
func Calls() []Call { return slices.Clone(calls) }

var calls = []Call{
	{Name: "Sushy(auth=BasicAuth)", Where: "utils SessionCache"},
	{Name: "Sushy(auth=SessionAuth)", Where: "utils SessionCache"},
	{Name: "Sushy(auth=SessionOrBasicAuth)", Where: "utils SessionCache", NoGofish: "gofish is told which"},
	{Name: "Sushy(root_prefix)", Where: "utils SessionCache", NoGofish: "gofish has one prefix"},
	{Name: "AccessError on a wrong password", Where: "utils SessionCache"},
	{Name: "session that ended: logs in again", Where: "utils SessionCache", NoGofish: ownRetry},
	{Name: "auth.close", Where: "utils SessionCache"},
	{Name: "get_system(path)", Where: "utils get_system"},
	{Name: "get_system()", Where: "utils get_system", NoGofish: noDefault},
	{Name: "ResourceNotFoundError of get_system", Where: "utils get_system"},
	{Name: "get_system_collection.members_identities", Where: "utils get_system_collection"},
	{Name: "get_manager(path)", Where: "utils get_manager"},
	{Name: "get_chassis(path)", Where: "utils get_chassis"},
	{Name: "get_update_service", Where: "utils get_update_service"},
	{Name: "get_event_service", Where: "utils get_event_service"},
	{Name: "ResourceNotFoundError of get_task_monitor", Where: "utils get_task_monitor"},

	{Name: "memory_summary.size_gib", Where: "inspect inspect_hardware"},
	{Name: "processors.summary", Where: "inspect _get_processor_info"},
	{Name: "processor model, max_speed_mhz, instruction_set", Where: "inspect _get_processor_info"},
	{Name: "ethernet_interfaces.summary", Where: "inspect; utils get_enabled_macs"},
	{Name: "simple_storage.disks_sizes_bytes", Where: "inspect _detect_local_gb"},
	{Name: "storage.volumes_sizes_bytes", Where: "inspect _detect_local_gb"},
	{Name: "storage.drives_sizes_bytes", Where: "inspect _detect_local_gb"},
	{Name: "drive name, capacity_bytes", Where: "inspect inspect_hardware"},
	{Name: "system name, serial_number, manufacturer", Where: "inspect; management detect_vendor"},
	{Name: "pcie_devices, pcie_functions", Where: "inspect _get_pcie_devices"},

	{Name: "boot target, enabled, mode", Where: "management get_boot_device"},
	{Name: "boot.allowed_values", Where: "boot RedfishHttpsBoot"},
	{Name: "set_system_boot_options(PXE, ONCE)", Where: "management set_boot_device"},
	{Name: "set_system_boot_options(HDD, CONTINUOUS)", Where: "management set_boot_device"},
	{Name: "set_system_boot_options(CD, None)", Where: "management set_boot_device"},
	{Name: "set_system_boot_options(BIOS_SETUP, ONCE)", Where: "management set_boot_device"},
	{Name: "set_system_boot_options(UEFI_HTTP, http_boot_uri)", Where: "management set_boot_device"},
	{Name: "set_system_boot_options(mode=UEFI)", Where: "management set_boot_mode"},
	{Name: "refresh(force=True)", Where: "management _wait_for_boot_mode"},
	{Name: "thermal.fans", Where: "management _get_sensors_fan"},
	{Name: "thermal.temperatures", Where: "management _get_sensors_temperatures"},
	{Name: "power.power_supplies", Where: "management _get_sensors_power"},
	{Name: "simple_storage.devices", Where: "management _get_sensors_drive"},
	{Name: "system.set_indicator_led", Where: "management set_indicator_state"},
	{Name: "chassis.set_indicator_led", Where: "management set_indicator_state"},
	{Name: "drive.set_indicator_led", Where: "management set_indicator_state"},
	{Name: "manager datetime, datetime_local_offset", Where: "management verify_bmc_clock"},
	{Name: "manager.set_datetime", Where: "management verify_bmc_clock"},

	{Name: "power_state", Where: "power get_power_state"},
	{Name: "reset_system(ON)", Where: "power set_power_state"},
	{Name: "reset_system(NMI)", Where: "management inject_nmi"},
	{Name: "reset_system(FORCE_RESTART)", Where: "power set_power_state"},
	{Name: "reset_system(GRACEFUL_RESTART)", Where: "power set_power_state"},
	{Name: "reset_system(GRACEFUL_SHUTDOWN)", Where: "power set_power_state"},
	{Name: "reset_system(FORCE_OFF)", Where: "power set_power_state"},

	{Name: "manager manager_type, firmware_version", Where: "boot _validate_vendor"},
	{Name: "manager virtual_media", Where: "boot _has_vmedia_device"},
	{Name: "system virtual_media", Where: "boot _has_vmedia_via_systems"},
	{Name: "insert_media", Where: "boot _insert_vmedia_in_resource"},
	{Name: "insert_media(username, password)", Where: "boot _insert_vmedia_in_resource"},
	{Name: "BadRequestError of insert_media", Where: "boot _insert_vmedia_in_resource"},
	{Name: "eject_media", Where: "boot _eject_vmedia_from_resource"},
	{Name: "insert_media(USBSTICK)", Where: "boot _insert_vmedia"},

	{Name: "bios.attributes", Where: "bios cache_bios_settings"},
	{Name: "bios.get_attribute_registry", Where: "bios cache_bios_settings"},
	{Name: "bios.supported_apply_times", Where: "bios apply_configuration"},
	{Name: "bios.set_attributes(ON_RESET)", Where: "bios apply_configuration"},
	{Name: "BadRequestError of bios.set_attributes", Where: "bios apply_configuration"},
	{Name: "bios.reset_bios", Where: "bios factory_reset"},
	{Name: "secure_boot.enabled", Where: "management get_secure_boot_state"},
	{Name: "secure_boot.set_enabled", Where: "management set_secure_boot_state", NeedsSecureBoot: true},
	{Name: "secure_boot.reset_keys(DELETE_ALL)", Where: "management clear_secure_boot_keys", NeedsSecureBoot: true},
	{Name: "secure_boot.reset_keys(DEFAULT)", Where: "management reset_secure_boot_keys", NeedsSecureBoot: true},

	{Name: "storage_controllers, raid_types", Where: "raid get_physical_disks"},
	{Name: "drive media_type, protocol, status", Where: "raid get_physical_disks"},
	{Name: "volumes.operation_apply_time_support", Where: "raid create_virtual_disk"},
	{Name: "volume raid_type, name, capacity_bytes", Where: "raid update_raid_config"},
	{Name: "volume.delete(IMMEDIATE)", Where: "raid delete_configuration"},
	{Name: "volumes.create(IMMEDIATE)", Where: "raid create_virtual_disk"},
	{Name: "volumes.create(ON_RESET)", Where: "raid create_virtual_disk"},
	{Name: "volume.delete(ON_RESET)", Where: "raid delete_configuration"},

	{Name: "bios_version", Where: "firmware cache_firmware_components"},
	{Name: "network adapter controllers", Where: "firmware retrieve_nic_components"},
	{Name: "simple_update(url)", Where: "firmware _execute_firmware_update"},
	{Name: "simple_update(url, targets)", Where: "firmware _execute_firmware_update"},
	{Name: "get_task_monitor, is_processing, get_task", Where: "firmware _check_node_…_update"},
	{Name: "task.parse_messages", Where: "firmware _check_node_…_update", NoGofish: noParse},

	{Name: "get_event_types_for_subscription", Where: "vendor create_subscription"},
	{Name: "subscriptions.create", Where: "vendor create_subscription"},
	{Name: "subscriptions.json", Where: "vendor get_all_subscriptions"},
	{Name: "subscriptions.get_member.json", Where: "vendor get_subscription"},
	{Name: "subscription.delete", Where: "vendor delete_subscription"},
}
