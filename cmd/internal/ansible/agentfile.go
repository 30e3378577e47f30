package ansible

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tenks/config"
)

// agent makes the agent.yml of a hypervisor.
func (im *importer) agent(name string) []byte {
	h := im.host(name)
	o := newObject()
	if name != localhost {
		o.set("name", textNode(name))
	}
	im.physnets(h, o)
	im.bridgeType(h, o)
	im.drivers(h, o)
	im.bmc(h, o)
	for _, key := range []string{"bridge_prefix", "veth_prefix"} {
		if v := h.get(key); v != nil && h.isSet(key) && v.text != im.defaults.get(key).text {
			im.add(NotCarried, v, key, "links that Tenks makes are named brtenks… and p-…; adopted ports keep their names, bridges of another prefix cannot be adopted")
		}
	}
	head := "# agent.yml of " + oneLine(name) + ", to be put into /etc/tenks or given to tenks init and join.\n"
	if o.empty() {
		return []byte(head)
	}
	return append([]byte(head), marshal(o.n)...)
}

func (im *importer) physnets(h *host, o object) {
	all := newObject()
	for _, v := range im.mappingOf(h, "physnet_mappings").items {
		p := newObject()
		p.set("device", textNode(im.text(v, "physnet_mappings."+v.name)))
		all.set(v.name, flow(p))
	}
	if all.empty() {
		return
	}
	o.set("physnets", all.n)
}

// takes reports whether agent.yml takes keys.
func (im *importer) takes(o object) bool {
	if im.opt.everything {
		return true
	}
	_, err := config.LoadAgent("probe", marshal(o.n))
	return err == nil
}

func (im *importer) bridgeType(h *host, o object) {
	v := h.get("bridge_type")
	text := im.text(v, "bridge_type")
	typ, ok := map[string]string{"linuxbridge": "linux", "openvswitch": "openvswitch"}[text]
	if !ok {
		im.add(fault, v, "bridge_type", "want openvswitch or linuxbridge, found %.64q", text)
		return
	}
	probe := newObject()
	probe.set("bridge_type", textNode(typ))
	if !im.takes(probe) {
		im.add(NotCarried, v, "bridge_type", "this version of Tenks makes Linux bridges only")
		return
	}
	o.set("bridge_type", textNode(typ))
}

func (im *importer) drivers(h *host, o object) {
	l := newObject()
	uri := h.text("libvirt_local_uri")
	if socket := h.text("libvirt_custom_socket_path"); uri == "" && socket != "" {
		uri = "qemu+unix:///system?socket=" + strings.TrimRight(socket, "/") + "/libvirt-sock"
	}
	if uri != "" {
		l.set("uri", textNode(uri))
	}
	switch engine := h.text("libvirt_vm_engine"); {
	case engine == "kvm" || engine == "qemu":
		l.set("domain_type", textNode(engine))
	case engine != "":
		im.add(fault, h.get("libvirt_vm_engine"), "libvirt_vm_engine", "want kvm or qemu, found %.64q", engine)
	case h.flag("libvirt_require_vt"):
		l.set("domain_type", textNode("kvm"))
	}
	if p := strings.TrimRight(h.text("libvirt_pool_path"), "/"); p != "" {
		l.set("pool_path", textNode(p))
	}
	im.poolKey(h, l, "libvirt_pool_type", "pool_type", "dir")
	im.poolKey(h, l, "libvirt_pool_mode", "pool_mode", "")
	d := newObject()
	d.set("libvirt", l.n)
	o.set("drivers", d.n)
}

// poolKey writes a key that this version's driver may or may not have.
func (im *importer) poolKey(h *host, l object, from, to, usual string) {
	v := h.get(from)
	if v == nil || !h.isSet(from) || v.text == usual {
		return
	}
	probe, d, top := newObject(), newObject(), newObject()
	probe.set(to, textNode(im.text(v, from)))
	d.set("libvirt", probe.n)
	top.set("drivers", d.n)
	if !im.takes(top) {
		im.add(NotCarried, v, from, "%q cannot be had: see drivers in docs/agent-file.md", v.text)
		return
	}
	l.set(to, textNode(v.text))
}

// bmc says where BMCs listen.
func (im *importer) bmc(h *host, o object) {
	b := newObject()
	address := ""
	var anywhere []string
	for _, key := range []string{"ipmi_address", "redfish_address"} {
		v := h.get(key)
		text := strings.Trim(im.text(v, key), "[]")
		if text == "" {
			continue
		}
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			im.add(NotCarried, v, key, "%.64q is no IP address: say one in agent.yml (bmc.address)", text)
		case a.IsUnspecified():
			anywhere = append(anywhere, key)
		case address == "":
			address = text
			b.set("address", textNode(text))
		case address != text:
			im.add(NotCarried, v, key, "IPMI and Redfish of a host are at one address: %s", address)
		}
	}
	for _, key := range anywhere {
		where := "the address that the agent advertises, unless agent.yml has bmc.address"
		if address != "" {
			where = address + " (bmc.address in agent.yml)"
		}
		im.add(Differs, nil, key, "the Ansible tool gave Ironic the address %s, which is none: BMCs are at %s", im.text(h.get(key), key), where)
	}
	first, ok1 := im.port(h, "ipmi_port_range_start")
	last, ok2 := im.port(h, "ipmi_port_range_end")
	if ok1 && ok2 {
		b.set("ipmi_ports", textNode(fmt.Sprintf("%d-%d", first, last)))
		im.add(Differs, nil, "ipmi_port_range_end", "%d-%d are %d ports: both ends count, where the Ansible tool placed that many nodes and then refused one", first, last, int(last)-int(first)+1)
	}
	o.set("bmc", b.n)
}

func (im *importer) port(h *host, key string) (uint64, bool) {
	v := h.get(key)
	if v == nil {
		return 0, false
	}
	n, ok := im.whole(v, key)
	if ok && (n < 1 || n > 65535) {
		im.add(fault, v, key, "want a port of 1 to 65535, found %s", strconv.FormatUint(n, 10))
		return 0, false
	}
	return n, ok
}

// setBMC writes the account of BMCs, whose password goes into a file.
func (im *importer) setBMC(h *host, types *value, out object) {
	protocols := map[string]bool{}
	for _, t := range types.items {
		protocols[im.driver(h, t)] = true
	}
	from := "ipmi"
	if protocols["redfish"] && !protocols["ipmi"] {
		from = "redfish"
	}
	user, password := h.text(from+"_username"), h.text(from+"_password")
	if protocols["redfish"] && protocols["ipmi"] && (h.text("redfish_username") != user || h.text("redfish_password") != password) {
		im.add(Warning, h.lookup("redfish_username"), "redfish_username, redfish_password", "one account is for both protocols here: that of IPMI is taken (the Ansible tool never asked for Redfish's)")
	}
	if len(types.items) == 0 || password == "" {
		return
	}
	if !h.isSet(from + "_password") {
		im.add(Warning, nil, from+"_password", "the Ansible tool's default, which everybody knows: without bmc in the cluster file each node gets a password of its own")
	}
	b := newObject()
	b.set("username", textNode(user))
	b.set("password_file", textNode(im.opt.PasswordFile))
	out.set("bmc", b.n)
	im.password = password
	if strings.ContainsAny(password, "\n\r") {
		im.add(fault, h.get(from+"_password"), from+"_password", "a password is one line")
	}
}

// namedNodes writes the nodes of a state file that a spec has.
func (im *importer) namedNodes(nodes []stateNode) *yaml.Node {
	all := listNode()
	for _, n := range nodes {
		o := newObject()
		o.set("name", textNode(n.name))
		if n.uuid != "" {
			o.set("uuid", textNode(n.uuid))
		}
		if where := im.peer(n.host); where != "" {
			o.set("hypervisor", textNode(where))
		}
		if n.port > 0 {
			o.set("bmc_port", numberNode(n.port))
		}
		all.Content = append(all.Content, flow(o))
	}
	return all
}

// peer is what the mesh calls a host of the inventory.
func (im *importer) peer(host string) string {
	if host == localhost {
		return im.opt.Localhost
	}
	return host
}
