package ansible

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// clusterName is what the cluster is called: as the override file, unless it was said.
func (im *importer) clusterName(file string) string {
	if im.opt.Cluster != "" {
		return im.opt.Cluster
	}
	base := path.Base(strings.ReplaceAll(file, "\\", "/"))
	for _, ext := range []string{".yml", ".yaml", ".json"} {
		base = strings.TrimSuffix(base, ext)
	}
	name := strings.Trim(notInNames.ReplaceAllString(base, "-"), "-._")
	if name = name[:min(len(name), 63)]; name == "" {
		return "imported"
	}
	return name
}

// spec is an item of specs.
type spec struct {
	at *value
	// typ is the node type that was asked for, and variant what it is called here.
	typ, variant       string
	count              uint64
	prefix, volPrefix  string
	bootMode           string
	ironic             *value
	nodes              []stateNode
	volPrefixWasStated bool
}

// cluster makes the cluster file.
func (im *importer) cluster(name string) object {
	h := im.host(localhost)
	out := newObject()
	out.set("cluster", textNode(name))
	types := im.mappingOf(h, "node_types")
	specs := im.specs(h, types)
	im.assign(specs)
	im.types(h, types, specs, out)
	im.setSpecs(specs, types, out)
	im.setIronic(h, specs, out)
	im.setBMC(h, types, out)
	im.setFlavors(h, specs, out)
	return out
}

// mappingOf returns a variable that is a mapping; an empty one where there is none.
func (im *importer) mappingOf(h *host, name string) *value {
	v := h.get(name)
	if v == nil {
		return &value{kind: mapping}
	}
	if v.kind != mapping {
		im.add(fault, v, name, "want a mapping, found %s", v.describe())
		return &value{kind: mapping}
	}
	return v
}

// listOf returns the items of a list that are mappings.
func (im *importer) listOf(v *value, name string) []*value {
	if v == nil || v.kind == null {
		return nil
	}
	if v.kind != list {
		im.add(fault, v, name, "want a list, found %s", v.describe())
		return nil
	}
	var out []*value
	for _, item := range v.items {
		if item.kind != mapping {
			im.add(fault, item, name, "want a mapping, found %s", item.describe())
			continue
		}
		out = append(out, item)
	}
	return out
}

// text reads a scalar.
func (im *importer) text(v *value, key string) string {
	if v == nil || v.kind == null {
		return ""
	}
	if v.kind != scalar {
		im.add(fault, v, key, "want a text, found %s", v.describe())
		return ""
	}
	return v.text
}

// texts reads a list of texts.
func (im *importer) texts(v *value, key string) []string {
	if v == nil || v.kind == null {
		return nil
	}
	if v.kind != list {
		im.add(fault, v, key, "want a list, found %s", v.describe())
		return nil
	}
	var out []string
	for _, item := range v.items {
		out = append(out, im.text(item, key))
	}
	return out
}

// odd says that a key below another one is not known.
func (im *importer) odd(v *value, within string) {
	k, hint := fault, "; --ignore-unknown lists it instead"
	if im.opt.IgnoreUnknown {
		k, hint = Unknown, ""
	}
	im.add(k, v, within+"."+v.name, "not a key that the Ansible tool or its roles know%s", hint)
}

func (im *importer) specs(h *host, types *value) []*spec {
	prefix, volPrefix := h.text("node_name_prefix"), h.text("vol_name_prefix")
	mode := h.text("default_boot_mode")
	var out []*spec
	for _, item := range im.listOf(h.get("specs"), "specs") {
		s := &spec{at: item, prefix: prefix, volPrefix: volPrefix, bootMode: mode, volPrefixWasStated: volPrefix != ""}
		for _, v := range item.items {
			im.specKey(s, v)
		}
		if s.prefix == "" {
			s.prefix = "tk"
		}
		if s.volPrefix == "" {
			s.volPrefix = "vol"
		}
		switch t := types.get(s.typ); {
		case item.get("type") == nil || item.get("count") == nil:
			im.add(fault, item, "specs", "needs a type and a count")
			continue
		case t == nil:
			im.add(fault, item.get("type"), "specs.type", "there is no node type %q", s.typ)
			continue
		}
		s.bootMode = im.bootMode(s)
		if i := slices.IndexFunc(out, s.like); i >= 0 {
			im.add(Differs, item, "specs", "is the same as that of line %d: their counts are added", out[i].at.line)
			out[i].count += s.count
			continue
		}
		out = append(out, s)
	}
	return out
}

func (im *importer) specKey(s *spec, v *value) {
	switch v.name {
	case "type":
		s.typ = im.text(v, "specs.type")
		s.variant = s.typ
	case "count":
		s.count, _ = im.whole(v, "specs.count")
	case "node_name_prefix":
		s.prefix = im.text(v, "specs.node_name_prefix")
	case "vol_name_prefix":
		s.volPrefix, s.volPrefixWasStated = im.text(v, "specs.vol_name_prefix"), true
	case "ironic_config":
		switch v.kind {
		case mapping:
			s.ironic = v
		case null:
		default:
			im.add(fault, v, "specs.ironic_config", "want a mapping, found %s", v.describe())
		}
	default:
		im.odd(v, "specs")
	}
}

// like reports whether two specs differ in nothing but their count.
func (s *spec) like(o *spec) bool {
	return s.typ == o.typ && s.prefix == o.prefix && s.volPrefix == o.volPrefix && s.bootMode == o.bootMode && s.ironic.equal(o.ironic)
}

var bootModeCapability = regexp.MustCompile(`(?:^|,)\s*boot_mode:([a-z]+)`)

// bootMode is that of a spec's nodes: its capabilities say it, or else the default.
func (im *importer) bootMode(s *spec) string {
	v := s.ironic.get("properties").get("capabilities")
	if v == nil || v.kind != scalar {
		return s.bootMode
	}
	if m := bootModeCapability.FindStringSubmatch(v.text); m != nil {
		return m[1]
	}
	return s.bootMode
}

// interfaces are the kinds of Ironic's interfaces that the tool can set.
var interfaces = []string{"bios", "boot", "console", "deploy", "inspect", "management", "network", "power", "raid", "storage", "vendor"}

var ironicPath = []string{"specs", "[]", "ironic_config"}

func (im *importer) setSpecs(specs []*spec, types *value, out object) {
	all := listNode()
	for _, s := range specs {
		o := newObject()
		o.set("type", textNode(s.variant))
		o.set("count", numberNode(s.count))
		o.set("node_name_prefix", textNode(s.prefix))
		if s.volPrefixWasStated {
			im.put(o, []string{"specs", "[]"}, "vol_name_prefix", textNode(s.volPrefix), s.at)
		}
		if dev := ownDisk(types.get(s.typ)); dev != nil && s.count > 1 {
			placement := newObject()
			placement.set("spread", textNode("hypervisor"))
			o.set("placement", flow(placement))
			im.add(Differs, dev, "specs", "%.64q is one node's disk: the %d nodes with it go to a hypervisor each (placement), where the Ansible tool gave it to all that it placed on one",
				dev.text, s.count)
		}
		if s.ironic != nil {
			o.set("ironic_config", im.ironicConfig(s.ironic).n)
		}
		if len(s.nodes) > 0 {
			im.put(o, []string{"specs", "[]"}, "nodes", im.namedNodes(s.nodes), s.nodes[0].at)
		}
		all.Content = append(all.Content, o.n)
	}
	if len(all.Content) > 0 {
		out.set("specs", all)
	}
}

// ownDisk is the first device of its hypervisor that nodes of a type have as a disk; nil: none.
func ownDisk(typ *value) *value {
	volumes := typ.get("volumes")
	if volumes == nil {
		return nil
	}
	for _, v := range volumes.items {
		device, dev := v.get("device"), v.get("dev")
		if dev != nil && dev.kind == scalar && (device == nil || device.text != "cdrom") {
			return dev
		}
	}
	return nil
}

func (im *importer) ironicConfig(c *value) object {
	o := newObject()
	if c.get("resource_class") == nil {
		im.add(fault, c, "specs.ironic_config", "needs a resource_class")
	}
	for _, v := range c.items {
		kind, isInterface := strings.CutSuffix(v.name, "_interface")
		switch {
		case v.kind == null:
		case v.name == "resource_class":
			o.set(v.name, textNode(im.text(v, "specs.ironic_config.resource_class")))
		case v.name == "traits":
			if traits := im.texts(v, "specs.ironic_config.traits"); len(traits) > 0 {
				o.set(v.name, textsNode(traits))
			}
		case v.name == "properties":
			im.properties(v, o)
		case v.name == "conductor_group", v.name == "shard":
			im.put(o, ironicPath, v.name, textNode(im.text(v, "specs.ironic_config."+v.name)), v)
		case isInterface && slices.Contains(interfaces, kind), v.name == "rescue_interface", v.name == "firmware_interface":
			o.set(v.name, textNode(im.text(v, "specs.ironic_config."+v.name)))
		default:
			im.odd(v, "specs.ironic_config")
		}
	}
	return o
}

func (im *importer) properties(v *value, o object) {
	if v.kind != mapping {
		im.add(fault, v, "specs.ironic_config.properties", "want a mapping, found %s", v.describe())
		return
	}
	p := newObject()
	for _, item := range v.items {
		if item.kind == mapping && item.name != "capabilities" { // such as root_device
			p.set(item.name, same(item))
			continue
		}
		p.set(item.name, textNode(im.text(item, "specs.ironic_config.properties."+item.name)))
	}
	if !p.empty() {
		o.set("properties", p.n)
	}
}

// setIronic says where nodes are enrolled, and with which deploy image.
func (im *importer) setIronic(h *host, specs []*spec, out object) {
	enrolled := slices.ContainsFunc(specs, func(s *spec) bool { return s.ironic != nil })
	o := newObject()
	switch {
	case im.opt.Cloud != "":
		o.set("cloud", textNode(im.opt.Cloud), "entry of clouds.yaml")
	case im.opt.Endpoint != "":
		o.set("endpoint", textNode(im.opt.Endpoint))
	case enrolled:
		im.add(Warning, im.override.get("specs"), "ironic_config", "no node is enrolled as long as the file does not say where: import with --cloud NAME (an entry of clouds.yaml) or --endpoint URL (Ironic without Keystone)")
	}
	if !o.empty() {
		out.set("ironic", o.n)
	}
	im.deployImages(h, out)
}

var imageURL = regexp.MustCompile(`^(https?|file)://`)

func (im *importer) deployImages(h *host, out object) {
	kernel, ramdisk := h.get("deploy_kernel"), h.get("deploy_ramdisk")
	if kernel == nil && ramdisk == nil {
		return
	}
	if kernel == nil || ramdisk == nil {
		one := kernel
		if one == nil {
			one = ramdisk
		}
		im.add(NotCarried, one, one.name, "a deploy kernel and a deploy ramdisk are given together or not at all")
		return
	}
	for _, v := range []*value{kernel, ramdisk} {
		text := im.text(v, v.name)
		if !imageURL.MatchString(text) && !strings.HasPrefix(text, "/") && !im.takesNames(text) {
			im.add(NotCarried, kernel, "deploy_kernel, deploy_ramdisk", "%q is the name of a Glance image, which needs --cloud: give it, or a URL or path that Ironic's conductors can read", text)
			return
		}
	}
	out.set("deploy_kernel", textNode(kernel.text))
	out.set("deploy_ramdisk", textNode(ramdisk.text))
}

// setFlavors carries Nova's flavors over.
func (im *importer) setFlavors(h *host, specs []*spec, out object) {
	v := h.get("nova_flavors")
	all := listNode()
	for _, f := range im.listOf(v, "nova_flavors") {
		if o, ok := im.flavor(f, specs); ok {
			all.Content = append(all.Content, o.n)
		}
	}
	switch {
	case len(all.Content) == 0:
	case im.opt.Cloud == "":
		im.add(NotCarried, v, "nova_flavors", "flavors are Nova's, which needs --cloud")
	default:
		im.put(out, nil, "nova_flavors", all, v)
	}
	if h.isSet("wait_for_placement") || len(all.Content) > 0 {
		w := h.get("wait_for_placement")
		if w != nil && im.hasKey("wait_for_placement") && im.opt.Cloud != "" {
			out.set("wait_for_placement", flagNode(im.flag(w, "wait_for_placement")))
		} else if h.isSet("wait_for_placement") && h.flag("wait_for_placement") {
			im.add(NotCarried, w, "wait_for_placement", "needs Placement, and so --cloud")
		}
	}
}

func (im *importer) flavor(f *value, specs []*spec) (object, bool) {
	o := newObject()
	for _, key := range []string{"resource_class", "node_type"} {
		if f.get(key) == nil {
			im.add(fault, f, "nova_flavors", "needs a %s", key)
			return o, false
		}
	}
	for _, v := range f.items {
		switch v.name {
		case "resource_class", "name":
			o.set(v.name, textNode(im.text(v, "nova_flavors."+v.name)))
		case "node_type":
			o.set(v.name, textNode(variantOf(specs, im.text(v, "nova_flavors.node_type"))))
		case "required_traits", "forbidden_traits":
			if traits := im.texts(v, "nova_flavors."+v.name); len(traits) > 0 {
				o.set(v.name, textsNode(traits))
			}
		case "custom_specs":
			if len(v.items) > 0 {
				o.set(v.name, textual(v))
			}
		default:
			im.odd(v, "nova_flavors")
		}
	}
	return o, true
}

// variantOf is what a node type is called here.
func variantOf(specs []*spec, typ string) string {
	for _, s := range specs {
		if s.typ == typ {
			return s.variant
		}
	}
	return typ
}

// textual writes a mapping of scalars as one of texts.
func textual(v *value) *yaml.Node {
	o := newObject()
	for _, item := range v.items {
		o.set(item.name, textNode(item.text))
	}
	return o.n
}
