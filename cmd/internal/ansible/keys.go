package ansible

import "strings"

// ansibleOnly are variables without a counterpart, and why.
var ansibleOnly = map[string]string{
	"virtualenv_path":                       "Ansible's own: there is no virtualenv here",
	"python_upper_constraints_url":          "Ansible's own: no Python package is installed",
	"system_requirements":                   "tenks host setup installs what a host lacks",
	"state_file_path":                       "there is no state file: the mesh keeps its state. Each override file that had one of its own is a cluster of its own here",
	"sushy_emulator_conf_path":              "there is no sushy-emulator here",
	"log_directory":                         "logs are in the agent's data directory (data_dir in agent.yml)",
	"libvirt_pool_name":                     "the pool is named by Tenks",
	"libvirt_pool_capacity":                 "a pool is as large as what it is on",
	"libvirt_pool_owner":                    "the pool belongs to root",
	"libvirt_pool_group":                    "the pool belongs to root",
	"libvirt_custom_pid_path":               "libvirtd is not started by Tenks: its socket is enough (uri in agent.yml)",
	"libvirt_vm_emulator":                   "libvirt finds QEMU by itself",
	"libvirt_vm_default_console_log_dir":    "console logs are in the agent's data directory",
	"libvirt_vm_log_owner":                  "console logs belong to libvirt's user",
	"libvirt_vm_libvirt_uri":                "the URI is the agent's (uri in agent.yml)",
	"libvirt_host_install_daemon":           "Tenks installs nothing by itself; tenks host setup does, where you call it",
	"libvirt_host_configure_apparmor":       "Tenks leaves AppArmor as it is",
	"vbmcd_args":                            "there is no vbmcd here",
	"vbmcd_packages":                        "there is no vbmcd here",
	"vbmcd_virtualenv_path":                 "there is no vbmcd here",
	"bmc_emulators":                         "BMCs are Tenks' own; the hardware type of a node type says which protocol they speak",
	"veth_bridge_peer_suffix":               "links that Tenks makes have names of its own; adopted ones keep theirs",
	"veth_bridge_source_suffix":             "links that Tenks makes have names of its own; adopted ones keep theirs",
	"veth_node_peer_suffix":                 "links that Tenks makes have names of its own; adopted ones keep theirs",
	"veth_node_source_suffix":               "links that Tenks makes have names of its own; adopted ones keep theirs",
	"wait_for_resources_retry_limit":        "tenks apply --wait=DURATION says how long to wait",
	"wait_for_resources_delay":              "tenks apply --wait=DURATION says how long to wait",
	"ironic_virtualenv_path":                "Ansible's own: there is no virtualenv here",
	"flavors_virtualenv_path":               "Ansible's own: there is no virtualenv here",
	"libvirt_vm_default_uuid_deterministic": "UUIDs are random and kept",
	"libvirt_vm_uri":                        "the URI is the agent's (uri in agent.yml)",
	"tenks_ip_path":                         "no program is run to make links",
	"ironic_python_upper_constraints_url":   "Ansible's own: no Python package is installed",
	"flavors_python_upper_constraints_url":  "Ansible's own: no Python package is installed",
	"ironic_nodes":                          roles,
	"ironic_hypervisor":                     roles,
	"ironic_deploy_kernel":                  roles,
	"ironic_deploy_ramdisk":                 roles,
	"ironic_interfaces":                     roles,
	"flavors":                               roles,
	"flavors_state":                         roles,
	"libvirt_vms":                           domains,
	"libvirt_vm_sudo":                       domains,
	"libvirt_vm_script_env":                 domains,
	"libvirt_vm_virsh_default_env":          domains,
	"libvirt_vm_image_cache_path":           domains,
	"libvirt_volume_default_type":           domains,
	"libvirt_volume_default_device":         domains,
	"libvirt_volume_default_images_path":    domains,
}

const (
	roles   = "an argument of the tool's own roles, which its playbooks set from the other variables"
	domains = "of the role that made domains, which is not used here: what a node type says counts"
)

// ansiblePrefixes are those of variables of Ansible itself, and of the roles that the tool
// uses, which mean nothing here.
var ansiblePrefixes = []struct{ prefix, why string }{
	{"ansible_", "Ansible's own"},
	{"libvirt_host_", "tenks host setup prepares hosts"},
	{"wait_for_resources_", "Tenks asks Placement itself"},
	{"vbmc_", "there is no vbmcd here"},
	{"vbmcd_", "there is no vbmcd here"},
	{"veth_pair_", roles},
	{"sushy_", "there is no sushy-emulator here"},
}

// known are variables that cluster and agent files have a counterpart of.
var known = []string{
	"node_types", "specs", "nova_flavors", "deploy_kernel", "deploy_ramdisk", "default_ironic_driver", "default_boot_mode",
	"wait_for_placement", "node_name_prefix", "vol_name_prefix", "cmd",
	"physnet_mappings", "bridge_type", "bridge_prefix", "veth_prefix", "ipmi_address", "ipmi_port_range_start", "ipmi_port_range_end",
	"ipmi_username", "ipmi_password", "redfish_address", "redfish_username", "redfish_password",
	"libvirt_pool_path", "libvirt_pool_type", "libvirt_pool_mode", "libvirt_require_vt", "libvirt_custom_socket_path", "libvirt_local_uri",
	"libvirt_vm_trust_guest_rx_filters", "libvirt_vm_engine", "libvirt_vm_arch", "libvirt_cpu_mode_default", "libvirt_volume_default_format",
}

// unused lists the variables that nothing was made of.
func (im *importer) unused() {
	if v := im.override.get("cmd"); v != nil {
		im.add(NotCarried, v, "cmd", "what is to be done is said by a command, tenks apply or tenks destroy. In this file it made teardown.yml deploy, because variables of the command line beat what a playbook sets")
	}
	files := []*value{im.override}
	for _, vars := range im.inv.groupVars {
		files = append(files, vars...)
	}
	for _, vars := range im.inv.hostVars {
		files = append(files, vars...)
	}
	for _, g := range im.inv.groups {
		files = append(files, g.vars)
	}
	for _, vars := range im.inv.hosts {
		files = append(files, vars)
	}
	carried := map[string]bool{}
	for _, name := range known {
		carried[name] = true
	}
	for _, f := range files {
		for _, v := range f.items {
			if !carried[v.name] {
				im.listed(v)
			}
		}
	}
}

func (im *importer) listed(v *value) {
	if why, ok := ansibleOnly[v.name]; ok {
		im.add(NotCarried, v, v.name, "%s", why)
		return
	}
	for _, p := range ansiblePrefixes {
		if strings.HasPrefix(v.name, p.prefix) {
			im.add(NotCarried, v, v.name, "%s", p.why)
			return
		}
	}
	if im.refersTo(v.name) {
		im.add(NotCarried, v, v.name, "its value is where the files refer to it")
		return
	}
	im.add(Unknown, v, v.name, "no variable of the Ansible tool: another role's, or a typing error")
}

// refersTo reports whether the override file has an expression with that name in it.
func (im *importer) refersTo(name string) bool { return mentions(im.override, name) }

func mentions(v *value, name string) bool {
	if v.kind == scalar {
		return isTemplate(v.text) && strings.Contains(v.text, name)
	}
	for _, item := range v.items {
		if mentions(item, name) {
			return true
		}
	}
	return false
}
