package ansible

import (
	"regexp"
	"strings"
)

// stateFile is what the tool keeps of what it made.
type stateFile struct{ nodes []stateNode }

// stateNode is a node of a state file.
type stateNode struct {
	at         *value
	name, host string
	uuid       string
	port       uint64
	typ        string
	ironic     *value
	// memory and vcpus are what it was made with: the state has a copy of its type.
	memory, vcpus string
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// readState reads a state file: hosts, each with its nodes.
func (im *importer) readState(f File) *stateFile {
	s := &stateFile{}
	root := im.parse(f)
	switch {
	case root == nil || root.kind == null:
		return s
	case root.kind != mapping:
		im.add(fault, root, "", "want hosts with their nodes, found %s", root.describe())
		return s
	}
	for _, h := range root.items {
		for _, n := range im.listOf(h.get("nodes"), h.name+".nodes") {
			if one, ok := im.stateNode(h.name, n); ok {
				s.nodes = append(s.nodes, one)
			}
		}
	}
	return s
}

func (im *importer) stateNode(host string, v *value) (stateNode, bool) {
	at := host + ".nodes"
	n := stateNode{at: v, host: host, name: im.text(v.get("name"), at+".name"), typ: im.text(v.get("type"), at+".type"),
		uuid: strings.ToLower(im.text(v.get("uuid"), at+".uuid")), ironic: v.get("ironic_config"),
		memory: im.text(v.get("memory_mb"), at+".memory_mb"), vcpus: im.text(v.get("vcpus"), at+".vcpus")}
	if n.name == "" {
		im.add(fault, v, at, "needs a name")
		return n, false
	}
	if n.uuid != "" && !uuidText.MatchString(n.uuid) {
		im.add(fault, v.get("uuid"), at+".uuid", "want a UUID, found %.64q", n.uuid)
	}
	if p := v.get("ipmi_port"); p != nil && p.kind != null {
		n.port, _ = im.whole(p, at+".ipmi_port")
		if n.port > 65535 {
			im.add(fault, p, at+".ipmi_port", "want a port of at most 65535")
		}
	}
	if im.text(v.get("state"), at+".state") == "absent" {
		im.add(NotCarried, v, n.name, "is to be removed already (state: absent)")
		return n, false
	}
	return n, true
}

// assign gives the nodes of the state file to specs: a node is of the first spec with its type
// and ironic_config that is not full, as with the tool, which does not look at names; those
// with a spec's prefix come before others. What has no spec is listed.
func (im *importer) assign(specs []*spec) {
	if im.state == nil {
		return
	}
	known := map[string]bool{}
	for _, h := range im.hosts() {
		known[h] = true
	}
	named := make([]bool, len(im.state.nodes))
	for i, n := range im.state.nodes {
		if !known[n.host] {
			im.add(Warning, n.at, n.name, "host %s is not in the inventory (any longer)", n.host)
		}
		named[i] = assignNode(n, specs, func(s *spec) bool { return numbered(n.name, s.prefix) })
	}
	for i, n := range im.state.nodes {
		if !named[i] && !assignNode(n, specs, func(*spec) bool { return true }) {
			im.add(Warning, n.at, n.name, "the override file has no such node any longer (type %s, on host %s): it is not in the result; tenks adopt leaves it as it is", n.typ, n.host)
		}
	}
}

// numbered reports whether a name is a prefix and a number.
func numbered(name, prefix string) bool {
	number, ok := strings.CutPrefix(name, prefix)
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

func assignNode(n stateNode, specs []*spec, fits func(*spec) bool) bool {
	for _, s := range specs {
		if s.typ != n.typ || !s.ironic.equal(n.ironic) || uint64(len(s.nodes)) >= s.count || !fits(s) {
			continue
		}
		s.nodes = append(s.nodes, n)
		return true
	}
	return false
}
