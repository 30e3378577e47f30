package ansible

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tenks/config"
)

var (
	typePath   = []string{"node_types", "*"}
	volumePath = []string{"node_types", "*", "volumes", "[]"}
)

// classic are names that the ipmi hardware type had once.
var classic = []string{"agent_ipmitool", "agent_ipmitool_socat", "pxe_ipmitool", "pxe_ipmitool_socat"}

// types writes the node types. One whose specs want different firmware becomes two.
func (im *importer) types(h *host, types *value, specs []*spec, out object) {
	all := newObject()
	for _, t := range types.items {
		if t.kind != mapping {
			im.add(fault, t, "node_types."+t.name, "want a mapping, found %s", t.describe())
			continue
		}
		modes := bootModes(specs, t.name)
		if len(modes) == 0 {
			modes = []string{h.text("default_boot_mode")}
		}
		for i, mode := range modes {
			name := t.name
			if i > 0 {
				name = freeName(types, t.name+"-"+mode)
				im.add(Differs, t, "node_types."+t.name, "its specs want boot_mode %s and %s, which is said of a type here: those with %s have type %s", modes[0], mode, mode, name)
				for _, s := range specs {
					if s.typ == t.name && s.bootMode == mode {
						s.variant = name
					}
				}
			}
			all.set(name, im.nodeType(h, t, mode).n)
		}
	}
	if !all.empty() {
		out.set("node_types", all.n)
	}
}

func bootModes(specs []*spec, typ string) []string {
	var out []string
	for _, s := range specs {
		if s.typ == typ && !slices.Contains(out, s.bootMode) {
			out = append(out, s.bootMode)
		}
	}
	return out
}

func freeName(types *value, name string) string {
	for types.get(name) != nil {
		name += "-2"
	}
	return name
}

// nodeType writes one type: what the tool knows, then what it passed through to the role
// that defined domains.
func (im *importer) nodeType(h *host, t *value, mode string) object {
	o, at := newObject(), "node_types."+t.name
	for _, key := range []string{"memory_mb", "vcpus"} {
		v := t.get(key)
		if v == nil {
			im.add(fault, t, at, "needs a %s", key)
			continue
		}
		if n, ok := im.whole(v, at+"."+key); ok {
			o.set(key, numberNode(n))
		}
	}
	volumes := listNode()
	for _, v := range im.listOf(t.get("volumes"), at+".volumes") {
		volumes.Content = append(volumes.Content, im.volume(h, v, at+".volumes").n)
	}
	if len(volumes.Content) > 0 {
		o.set("volumes", volumes)
	}
	if nets := im.texts(t.get("physical_networks"), at+".physical_networks"); len(nets) > 0 {
		o.set("physical_networks", textsNode(nets))
	}
	o.set("ironic_driver", textNode(im.driver(h, t)))
	o.set("boot_mode", textNode(mode))
	im.global(h, t, o)
	for _, v := range t.items {
		im.typeKey(o, v, at)
	}
	return o
}

// driver is the hardware type of a node type.
func (im *importer) driver(h *host, t *value) string {
	v := t.get("ironic_driver")
	if v == nil || v.kind == null {
		v = h.get("default_ironic_driver")
	}
	name := im.text(v, "ironic_driver")
	switch emulator := im.text(h.get("bmc_emulators").get(name), "bmc_emulators"); {
	case name == "ipmi" || name == "redfish":
		return name
	case slices.Contains(classic, name) || emulator == "virtualbmc":
		im.add(Differs, v, "ironic_driver", "%s is called ipmi, as in Ironic", name)
		return "ipmi"
	case emulator == "sushy-tools":
		im.add(Differs, v, "ironic_driver", "%s becomes redfish", name)
		return "redfish"
	}
	im.add(fault, v, "ironic_driver", "%q is no hardware type that a BMC is known for: want ipmi or redfish", name)
	return "ipmi"
}

// global writes what the tool's roles take from variables for all domains.
func (im *importer) global(h *host, t *value, o object) {
	if h.isSet("libvirt_vm_arch") {
		im.put(o, typePath, "architecture", textNode(h.text("libvirt_vm_arch")), h.get("libvirt_vm_arch"))
	}
	if v := h.get("libvirt_cpu_mode_default"); v != nil && t.get("cpu_mode") == nil {
		im.put(o, typePath, "cpu_mode", textNode(h.text("libvirt_cpu_mode_default")), v)
	}
	const filters = "libvirt_vm_trust_guest_rx_filters"
	switch v := h.get(filters); {
	case h.isSet(filters):
		if on := h.flag(filters); on || im.hasKey("node_types", "*", "trust_guest_rx_filters") {
			im.put(o, typePath, "trust_guest_rx_filters", flagNode(on), v)
		}
	default:
		im.add(Differs, nil, filters, "the Ansible tool's default is true, with which libvirt 9 and later start no guest on a veth; here it is false")
	}
}

// typeKey writes a key that the tool passed through.
func (im *importer) typeKey(o object, v *value, at string) {
	path := at + "." + v.name
	if v.kind == null {
		return
	}
	switch v.name {
	case "memory_mb", "vcpus", "volumes", "physical_networks", "ironic_driver":
	case "machine", "cpu_mode", "clock_offset":
		im.put(o, typePath, v.name, textNode(im.text(v, path)), v)
	case "console_log_enabled", "console_log_append", "enable_vnc", "enable_spice", "enable_guest_virtio":
		if on := im.flag(v, path); on || im.hasKey("node_types", "*", v.name) {
			im.put(o, typePath, v.name, flagNode(on), v)
		}
	case "usb_devices":
		im.put(o, typePath, v.name, same(v), v)
	case "console_log_path":
		im.add(NotCarried, v, path, "console logs are in the agent's data directory")
	case "xml_file":
		im.add(NotCarried, v, path, "a template of one's own for domains: say what is different in xml_overlay")
	case "interfaces", "start", "autostart", "boot_firmware", "uuid", "name":
		im.add(NotCarried, v, path, "the Ansible tool overwrote it, too")
	default:
		im.odd(v, at)
	}
}

// volume writes one volume.
func (im *importer) volume(h *host, v *value, at string) object {
	o := newObject()
	cdrom := im.text(v.get("device"), at+".device") == "cdrom"
	switch c := v.get("capacity"); {
	case cdrom: // it is as large as its image
	case c != nil:
		o.set("capacity", im.capacity(c, at))
	case v.get("dev") == nil:
		im.add(fault, v, at, "needs a capacity")
	}
	if format := h.text("libvirt_volume_default_format"); format != "" && v.get("format") == nil && !cdrom {
		im.put(o, volumePath, "format", textNode(format), h.get("libvirt_volume_default_format"))
	}
	for _, k := range v.items {
		switch {
		case !cdrom:
			im.volumeKey(o, k, at)
		case k.name == "image":
			im.put(o, volumePath, "image", textNode(im.text(k, at+".image")), k)
		case k.name == "capacity" || k.name == "format":
			im.add(NotCarried, k, at+"."+k.name, "a CD-ROM is as its image is")
		default:
			im.volumeKey(o, k, at)
		}
	}
	return o
}

// volumeKey writes a key of a volume, most of which the tool passed through.
func (im *importer) volumeKey(o object, v *value, at string) {
	path := at + "." + v.name
	switch v.name {
	case "capacity":
	case "image":
		o.set("image", textNode(im.text(v, path)))
		im.put(o, volumePath, "copy", flagNode(true), v)
	case "backing_image":
		if im.hasKey(append(slices.Clone(volumePath), "backing_image")...) {
			o.set("backing_image", textNode(im.text(v, path)))
		} else {
			o.set("image", textNode(im.text(v, path)))
		}
	case "checksum", "format", "device":
		im.put(o, volumePath, v.name, textNode(im.text(v, path)), v)
	case "discard":
		im.put(o, volumePath, v.name, same(v), v)
	case "dev":
		im.put(o, volumePath, "path", textNode(im.text(v, path)), v)
	case "type":
		if t := im.text(v, path); t == "network" {
			im.odd2(v, path, "volumes on the network (rbd) cannot be had: declare a local one")
		}
	case "target", "name", "pool":
		im.add(NotCarried, v, path, "the place in the list says it")
	case "file_path":
		im.add(NotCarried, v, path, "volumes are in the agent's pool (pool_path in agent.yml)")
	case "auth", "source":
		im.add(NotCarried, v, path, "is for volumes on the network")
	default:
		im.odd(v, at)
	}
}

// odd2 refuses what cannot be had, or lists it.
func (im *importer) odd2(v *value, key, text string) {
	if im.opt.IgnoreUnknown {
		im.add(NotCarried, v, key, "%s", text)
		return
	}
	im.add(fault, v, key, "%s; --ignore-unknown lists it instead", text)
}

// capacity writes a size. The tool's grammar and ours are one: GB is 10^9 bytes, G and GiB
// are 2^30, nothing is bytes.
func (im *importer) capacity(v *value, at string) *yaml.Node {
	text := strings.TrimSpace(im.text(v, at+".capacity"))
	if _, err := config.ParseSize(text); err != nil {
		im.add(fault, v, at+".capacity", "%s", err)
	}
	if v.tag == "!!int" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: text}
	}
	return textNode(text)
}

// takesNames reports whether the cluster file takes the name of a Glance image.
func (im *importer) takesNames(image string) bool {
	if im.opt.Cloud == "" || im.opt.everything {
		return im.opt.Cloud != ""
	}
	o, cloud := newObject(), newObject()
	cloud.set("cloud", textNode(im.opt.Cloud))
	o.set("cluster", textNode("probe"))
	o.set("ironic", cloud.n)
	o.set("deploy_kernel", textNode(image))
	o.set("deploy_ramdisk", textNode(image))
	_, err := config.LoadCluster("probe", marshal(o.n))
	return err == nil
}
