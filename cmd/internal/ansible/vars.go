package ansible

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaultsFile is what messages call the tool's own variables.
const defaultsFile = "the Ansible tool's default"

// toolDefaults are the variables of the tool's group_vars and host_vars that mean something
// here, as they are in its version 2.0.0 and after.
func toolDefaults() *value {
	const text = `
physnet_mappings: {}
bridge_type: openvswitch
bridge_prefix: brtenks
veth_prefix: p-
ipmi_address: 0.0.0.0
ipmi_port_range_start: 6230
ipmi_port_range_end: 6240
ipmi_username: username
ipmi_password: password
redfish_address: 0.0.0.0
redfish_username: username
redfish_password: password
libvirt_pool_name: tenks
libvirt_pool_path: /var/lib/libvirt/tenks_pool/
libvirt_pool_type: dir
libvirt_pool_mode: "755"
libvirt_require_vt: false
libvirt_custom_socket_path: ""
libvirt_vm_trust_guest_rx_filters: true
node_types: {}
specs: []
nova_flavors: []
deploy_kernel:
deploy_ramdisk:
default_ironic_driver: ipmi
default_boot_mode: uefi
wait_for_placement: true
`
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil { // a text of ours: cannot happen
		panic(err)
	}
	x := expander{file: defaultsFile}
	v := x.expand(doc.Content[0], "", 0)
	relocate(v, 0)
	return v
}

// layer is variables of one rank.
type layer struct {
	vars *value
	// ours says that these are the tool's own defaults, which beat what is below.
	defaults bool
}

// host is the variables of one host.
type host struct {
	im   *importer
	name string
	// layers are in the order that Ansible asks them in: the first that has a variable counts
	// (ansible-playbook's "variable precedence", without extra variables).
	layers []layer
}

func (im *importer) host(name string) *host {
	h := &host{im: im, name: name}
	add := func(all ...*value) {
		for _, v := range slices.Backward(all) {
			h.layers = append(h.layers, layer{vars: v})
		}
	}
	inv := im.inv
	add(inv.hostVars[play+name]...)
	if name == localhost {
		add(localhostDefaults(im.defaults))
		h.layers[len(h.layers)-1].defaults = true
	}
	add(inv.hostVars[name]...)
	add(inv.hosts[name])
	groups := inv.groupsOf(name)
	for _, g := range slices.Backward(groups) {
		add(inv.groupVars[play+g]...)
	}
	add(im.defaults)
	h.layers[len(h.layers)-1].defaults = true
	for _, g := range slices.Backward(groups) {
		add(inv.groupVars[g]...)
	}
	add(inv.groupVars[play+"all"]...)
	add(inv.groupVars["all"]...)
	for _, g := range slices.Backward(groups) {
		add(inv.groups[g].vars)
	}
	if g := inv.groups["all"]; g != nil {
		add(g.vars)
	}
	return h
}

// localhostDefaults are those of host_vars/localhost.
func localhostDefaults(all *value) *value {
	out := &value{kind: mapping}
	for _, v := range all.items {
		if clusterKeys[v.name] {
			out.items = append(out.items, v)
		}
	}
	return out
}

// clusterKeys are variables of localhost: what is declared once for all hosts.
var clusterKeys = map[string]bool{
	"node_types": true, "specs": true, "nova_flavors": true, "deploy_kernel": true, "deploy_ramdisk": true,
	"default_ironic_driver": true, "default_boot_mode": true, "wait_for_placement": true, "bmc_emulators": true,
}

// lookup implements scope.
func (h *host) lookup(name string) *value {
	if v := h.im.override.get(name); v != nil {
		return v
	}
	if name == "inventory_hostname" {
		return textValue(h.name)
	}
	for _, l := range h.layers {
		if v := l.vars.get(name); v != nil {
			return v
		}
	}
	return nil
}

// get returns a variable with its expressions replaced; nil: there is none, or it is null.
func (h *host) get(name string) *value {
	v := h.lookup(name)
	h.warnBeaten(name, v)
	out, err := render(v, h)
	if err != nil {
		h.im.add(fault, v, name, "%s", err)
		return nil
	}
	if out == nil || out.kind == null {
		return nil
	}
	return out
}

// warnBeaten says that Ansible did not take the variable that a person might think it took.
func (h *host) warnBeaten(name string, v *value) {
	if v == nil {
		return
	}
	if v == h.im.override.get(name) {
		for _, l := range h.layers {
			if o := l.vars.get(name); name == "physnet_mappings" && o != nil && !l.defaults && !o.equal(v) {
				h.im.add(Warning, v, name, "beats that of host %s (%s:%d), as it did in Ansible, where variables of the command line beat host_vars: take it out of this file for the host to have its own",
					h.name, o.file, o.line)
				return
			}
		}
		return
	}
	below := false
	for _, l := range h.layers {
		o := l.vars.get(name)
		switch {
		case o == nil:
		case o == v:
			if below = l.defaults; !below {
				return
			}
		case below && !l.defaults && !o.equal(v):
			h.im.add(Warning, o, name, "Ansible did not take it: the tool's own group_vars and host_vars (%s) beat an inventory's group_vars. What was in force is imported: edit the result if this is what you want",
				v.brief())
			return
		}
	}
}

// brief is a value in a message.
func (v *value) brief() string {
	switch {
	case v.kind == scalar:
		return v.name + ": " + v.text
	case v.kind == mapping && len(v.items) == 0:
		return v.name + ": {}"
	case v.kind == list && len(v.items) == 0:
		return v.name + ": []"
	}
	return v.name + ": " + v.describe()
}

// isSet reports whether a variable comes from a file, and not from the tool's defaults.
func (h *host) isSet(name string) bool {
	v := h.lookup(name)
	return v != nil && v.file != defaultsFile && v.kind != null
}

// text returns a variable that is a text; empty: there is none.
func (h *host) text(name string) string {
	v := h.get(name)
	if v == nil {
		return ""
	}
	if v.kind != scalar {
		h.im.add(fault, v, name, "want a text, found %s", v.describe())
		return ""
	}
	return strings.TrimSpace(v.text)
}

// flag returns a variable that is true or false.
func (h *host) flag(name string) bool {
	v := h.get(name)
	return v != nil && h.im.flag(v, name)
}

func (im *importer) flag(v *value, key string) bool {
	if v.kind == scalar {
		switch strings.ToLower(v.text) {
		case "true", "yes", "on", "1", "y", "t":
			return true
		case "false", "no", "off", "0", "n", "f", "":
			return false
		}
	}
	im.add(fault, v, key, "want true or false, found %s", v.describe())
	return false
}

// whole reads a whole number; ok is false after a fault.
func (im *importer) whole(v *value, key string) (n uint64, ok bool) {
	if v.kind == scalar {
		if n, err := strconv.ParseUint(strings.ReplaceAll(v.text, "_", ""), 10, 63); err == nil {
			return n, true
		}
	}
	im.add(fault, v, key, "want a whole number, found %s", v.describe())
	return 0, false
}
