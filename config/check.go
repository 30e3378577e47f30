package config

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
)

// Rules between the keys of a cluster file. A value that was refused by itself is
// the zero value here, and not blamed a second time.

func (r *reader) checkCluster(c Cluster, root *node) {
	r.checkTypes(c, root)
	r.checkSpecs(c, root)
	r.checkEnrolments(c, root)
	r.checkDeploy(root)
	r.checkPDUs(c, root)
	r.checkNames(c, root)
	r.checkIPMI15(c.BMC, root)
	r.checkFlavors(c, root)
	if at, ok := root.get("ironic"); ok && at.kind == mapping {
		r.checkIronic(c.Ironic, at)
	}
}

func (r *reader) checkTypes(c Cluster, root *node) {
	types, _ := root.get("node_types")
	for _, name := range slices.Sorted(maps.Keys(c.NodeTypes)) {
		t := c.NodeTypes[name]
		if at := types.at(name); at.kind == mapping {
			r.checkHardware(t, at)
		}
		if !t.SecureBoot || t.BootMode != "bios" {
			continue
		}
		if at, ok := types.at(name).get("secure_boot"); ok {
			r.fault(at, "only goes with boot_mode: uefi")
		}
	}
}

func (r *reader) checkIPMI15(b BMC, root *node) {
	if b.IPMI15 && b.KeyFile != "" {
		r.fault(root.at("bmc").at("ipmi_1_5"), "does not go with key_file: logins of IPMI 1.5 have no second key")
	}
}

func (r *reader) checkSpecs(c Cluster, root *node) {
	total := 0
	types, given := root.get("node_types")
	typesKnown := !given || !types.bad || c.NodeTypes != nil
	for i, s := range c.Specs {
		at := root.at("specs", i)
		if _, ok := c.NodeTypes[s.Type]; !ok && s.Type != "" && typesKnown {
			r.fault(at.at("type"), "no node type is named %s", quote(s.Type))
		}
		r.checkPaths(c, s, at, types)
		if before := total; before <= maxNodes && before+s.Count > maxNodes {
			r.fault(at.at("count"), "more than %d nodes in all", maxNodes)
		}
		total += s.Count
	}
	for i, s := range c.Specs {
		at := root.at("specs", i)
		for j, o := range c.Specs[:i] {
			first := root.at("specs", j)
			if o.Count, o.Nodes = s.Count, s.Nodes; !at.bad && !first.bad && o.Type == s.Type && reflect.DeepEqual(o, s) {
				r.fault(at, "the same as specs[%d] in line %d: raise the count of one instead", j, first.line)
			}
		}
	}
}

// checkPaths wants nodes that have a file or device of their hypervisor as a disk to be on a
// hypervisor each: there, it is one node's.
func (r *reader) checkPaths(c Cluster, s Spec, at, types *node) {
	if s.Count < 2 || s.Placement.Spread == "hypervisor" {
		return
	}
	for i, v := range c.NodeTypes[s.Type].Volumes {
		if v.Path == "" || v.CDROM() {
			continue
		}
		path := types.at(s.Type, "volumes", i).at("path")
		r.fault(at.at("count"), "%s (line %d) would be a disk of %d nodes: want count: 1, or placement: {spread: hypervisor}, and a hypervisor for each", quote(v.Path), path.line, s.Count)
		return
	}
}

// checkNames wants no name and no UUID of a node twice.
func (r *reader) checkNames(c Cluster, root *node) {
	seen := map[string]*node{}
	for i, s := range c.Specs {
		for j, n := range s.Nodes {
			at := root.at("specs", i, "nodes", j)
			for _, key := range []struct{ key, value string }{{"name", n.Name}, {"uuid", n.UUID}} {
				first, twice := seen[key.value]
				switch {
				case key.value == "":
				case twice:
					r.fault(at.at(key.key), "%s is that of line %d already", quote(key.value), first.line)
				default:
					seen[key.value] = at.at(key.key)
				}
			}
		}
	}
}

// checkPDUs wants each PDU to have a client at least, no user twice, and nodes whose power
// is an outlet's to have one.
func (r *reader) checkPDUs(c Cluster, root *node) {
	pdus, given := root.get("pdus")
	known := !given || !pdus.bad || c.PDUs != nil
	users := map[string]*node{}
	if given && pdus.kind == mapping {
		for _, p := range pdus.items {
			r.checkPDU(p, users)
		}
	}
	for i, s := range c.Specs {
		at := root.at("specs", i)
		if _, ok := c.PDUs[s.PDU]; !ok && s.PDU != "" && known {
			r.fault(at.at("pdu"), "no PDU is named %s", quote(s.PDU))
		}
		if _, plugged := at.get("pdu"); !plugged && c.NodeTypes[s.Type].IronicDriver == "snmp" {
			r.fault(at.at("type"), "its ironic_driver is snmp: pdu is missing, which says what switches these nodes")
		}
	}
}

func (r *reader) checkPDU(p *node, users map[string]*node) {
	if p.kind != mapping {
		return
	}
	_, community := p.get("community_file")
	user, hasUser := p.get("user")
	password, hasPassword := p.get("password_file")
	switch {
	case hasUser && !hasPassword:
		r.fault(user, "needs password_file too")
	case hasPassword && !hasUser:
		r.fault(password, "needs user too")
	case !community && !hasUser:
		r.fault(p, "want community_file, or user and password_file")
	}
	if !hasUser || !user.isText() {
		return
	}
	if first, taken := users[user.text]; taken {
		r.fault(user, "%s is the user of %s already: who logs in says which PDU is meant", quote(user.text), first.up.path())
		return
	}
	users[user.text] = user
}

func (r *reader) checkDeploy(root *node) {
	kernel, hasKernel := root.get("deploy_kernel")
	ramdisk, hasRamdisk := root.get("deploy_ramdisk")
	switch {
	case hasKernel && !hasRamdisk:
		r.fault(kernel, "needs deploy_ramdisk too")
	case hasRamdisk && !hasKernel:
		r.fault(ramdisk, "needs deploy_kernel too")
	}
	if ironic, given := root.get("ironic"); given {
		if _, cloud := ironic.get("cloud"); cloud || ironic.bad {
			return
		}
	}
	for _, image := range []*node{kernel, ramdisk} {
		if image != nil && !image.bad && !deployURL.MatchString(image.text) {
			r.fault(image, "%s would be an image in Glance, and there is no ironic.cloud: want an http, https or file URL, or an absolute path", quote(image.text))
		}
	}
}

// deployRules is what checkDeploy says, as JSON Schema.
var deployRules = schema{
	"dependentRequired": map[string][]string{
		"deploy_kernel": {"deploy_ramdisk"}, "deploy_ramdisk": {"deploy_kernel"},
	},
	"anyOf": []schema{
		{"properties": schema{"deploy_kernel": schema{"pattern": deployURL.String()}, "deploy_ramdisk": schema{"pattern": deployURL.String()}}},
		{"properties": schema{"ironic": schema{"required": []string{"cloud"}}}, "required": []string{"ironic"}},
	},
}

// ironicRules is what checkIronic says, as JSON Schema.
var ironicRules = schema{
	"oneOf": []schema{
		{"required": []string{"cloud"}},
		{"required": []string{"endpoint"}},
	},
	"dependentRequired": map[string][]string{
		"auth": {"endpoint"}, "username": {"endpoint", "auth"}, "password_file": {"endpoint", "auth"},
	},
	"if":   schema{"properties": schema{"auth": schema{"const": "http_basic"}}, "required": []string{"auth"}},
	"then": schema{"required": []string{"username", "password_file"}},
	"else": schema{"properties": schema{"username": schema{"not": schema{}}, "password_file": schema{"not": schema{}}}},
}

// checkIronic also sets the default of Auth.
func (r *reader) checkIronic(i *Ironic, at *node) {
	_, cloud := at.get("cloud")
	_, endpoint := at.get("endpoint")
	if cloud == endpoint {
		r.fault(at, "want either cloud or endpoint")
		return
	}
	auth, given := at.get("auth")
	if endpoint && !given {
		i.Auth = "none"
	}
	if cloud && given {
		r.fault(auth, "only goes with endpoint: clouds.yaml says it for cloud")
	}
	if given && i.Auth == "" {
		return
	}
	basic := given && auth.text == "http_basic"
	for _, key := range []string{"username", "password_file"} {
		n, ok := at.get(key)
		switch {
		case ok && !basic:
			r.fault(n, "only goes with auth: http_basic")
		case !ok && basic && endpoint:
			r.fault(&node{up: at, name: key, line: auth.line}, "missing: auth is http_basic")
		}
	}
}

// endpointParses refuses what the pattern lets through, such as a port that is no
// number.
func endpointParses(s string) string {
	if u, err := url.Parse(s); err != nil || u.Hostname() == "" {
		return "want " + endpoint.want
	}
	return ""
}
