package ansible

import (
	"bytes"
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
)

// localhost is where the tool's playbooks run, and the only host without an inventory.
const localhost = "localhost"

// group is a group of hosts.
type group struct {
	name     string
	vars     *value
	children []string
	hosts    []string
}

func (g *group) set(v *value) { g.vars.items = append(g.vars.items, v) }

// inventory is what an inventory's files say.
type inventory struct {
	groups map[string]*group
	// hosts are the variables written beside a host.
	hosts map[string]*value
	// groupVars and hostVars are files of variables, by group and host. Those in the
	// playbooks' folder are called "play/" and the name.
	groupVars, hostVars map[string][]*value
}

func newInventory() *inventory {
	return &inventory{groups: map[string]*group{}, hosts: map[string]*value{}, groupVars: map[string][]*value{}, hostVars: map[string][]*value{}}
}

func (inv *inventory) group(name string) *group {
	g, ok := inv.groups[name]
	if !ok {
		g = &group{name: name, vars: &value{kind: mapping}}
		inv.groups[name] = g
	}
	return g
}

func (inv *inventory) host(section, name string) {
	if g := inv.group(section); !slices.Contains(g.hosts, name) {
		g.hosts = append(g.hosts, name)
	}
	if inv.hosts[name] == nil {
		inv.hosts[name] = &value{kind: mapping}
	}
}

func (inv *inventory) setHost(name string, v *value) {
	inv.hosts[name].items = append(inv.hosts[name].items, v)
}

// play is the prefix of variables in the playbooks' own folder, which beat the inventory's.
const play = "play/"

// readInventory sorts the inventory's files and reads them. Without any there is localhost.
func (im *importer) readInventory(files []File) *inventory {
	inv := newInventory()
	// A folder that has "inventory" below it is the playbooks' own.
	playbooks := slices.ContainsFunc(files, func(f File) bool { return strings.HasPrefix(f.Name, "inventory/") })
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	for _, f := range files {
		rel, inside := strings.CutPrefix(f.Name, "inventory/")
		prefix := ""
		if playbooks && !inside {
			prefix = play
		}
		folder, rest, below := strings.Cut(rel, "/")
		switch {
		case ignored(rel):
		case below && (folder == "group_vars" || folder == "host_vars"):
			im.readVars(f, inv, folder == "group_vars", prefix+owner(rest))
		case prefix == play || below:
			// Playbooks, roles and whatever else is beside them.
		case bytes.HasPrefix(f.Data, []byte("#!")):
			im.add(fault, &value{file: f.Name, line: 1}, "", "is a program: import what ansible-inventory --list --yaml prints instead")
		case isYAML(f):
			if root := im.parse(f); root != nil {
				im.readGroups(root, inv, 0)
			}
		default:
			im.readINI(f, inv)
		}
	}
	if len(inv.hosts) == 0 {
		inv.host("libvirt", localhost)
	}
	return inv
}

// ignored are the files of a folder that Ansible does not read.
func ignored(name string) bool {
	switch path.Ext(name) {
	case ".orig", ".cfg", ".retry", ".bak", ".pyc", ".pyo", ".md", ".rst":
		return true
	}
	base := path.Base(name)
	return strings.HasSuffix(base, "~") || strings.HasPrefix(base, ".")
}

// owner is whose variables a file of group_vars or host_vars has.
func owner(rest string) string {
	name, _, below := strings.Cut(rest, "/")
	if below {
		return name
	}
	for _, ext := range []string{".yml", ".yaml", ".json"} {
		if s, ok := strings.CutSuffix(name, ext); ok {
			return s
		}
	}
	return name
}

func isYAML(f File) bool {
	switch path.Ext(f.Name) {
	case ".yml", ".yaml", ".json":
		return true
	case ".ini":
		return false
	}
	for line := range strings.Lines(string(f.Data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		return line == "---" || strings.HasSuffix(line, ":")
	}
	return false
}

func (im *importer) readVars(f File, inv *inventory, groups bool, name string) {
	root := im.parse(f)
	switch {
	case root == nil || root.kind == null:
		return
	case root.kind != mapping:
		im.add(fault, root, "", "want a mapping of variables, found %s", root.describe())
		return
	}
	if groups {
		inv.groupVars[name] = append(inv.groupVars[name], root)
		return
	}
	inv.hostVars[name] = append(inv.hostVars[name], root)
}

// readGroups reads groups of a YAML inventory: hosts, vars and children.
func (im *importer) readGroups(groups *value, inv *inventory, depth int) {
	if groups.kind == null || depth > maxDepth {
		return
	}
	if groups.kind != mapping {
		im.add(fault, groups, groups.name, "want groups of hosts, found %s", groups.describe())
		return
	}
	for _, g := range groups.items {
		into := inv.group(g.name)
		if g.kind != mapping && g.kind != null {
			im.add(fault, g, g.name, "want a group with hosts, vars and children, found %s", g.describe())
			continue
		}
		for _, part := range g.items {
			im.readGroup(part, into, inv, depth)
		}
	}
}

func (im *importer) readGroup(part *value, into *group, inv *inventory, depth int) {
	switch {
	case part.kind == null:
	case part.kind != mapping:
		im.add(fault, part, into.name+"."+part.name, "want a mapping, found %s", part.describe())
	case part.name == "vars":
		into.vars.items = append(into.vars.items, part.items...)
	case part.name == "children":
		for _, child := range part.items {
			into.children = append(into.children, child.name)
		}
		im.readGroups(part, inv, depth+1)
	case part.name == "hosts":
		for _, h := range part.items {
			im.readHost(h, into.name, inv)
		}
	default:
		im.add(Unknown, part, into.name+"."+part.name, "a group has hosts, vars and children")
	}
}

func (im *importer) readHost(h *value, section string, inv *inventory) {
	names, err := hostRange(h.name)
	if err != nil || len(inv.hosts)+len(names) > maxHosts {
		im.add(fault, h, "", "host %.64q: no range of at most %d hosts", h.name, maxHosts)
		return
	}
	for _, name := range names {
		inv.host(section, name)
		for _, v := range h.items {
			inv.setHost(name, v)
		}
	}
}

// members are the hosts of a group and of those below it.
func (inv *inventory) members(name string, seen map[string]bool) []string {
	g := inv.groups[name]
	if g == nil || seen[name] {
		return nil
	}
	seen[name] = true
	out := slices.Clone(g.hosts)
	for _, child := range g.children {
		out = append(out, inv.members(child, seen)...)
	}
	return out
}

// hosts are the hypervisors, sorted: the hosts of the groups libvirt and hypervisors, or
// all where there are no such groups.
func (im *importer) hosts() []string {
	all := append(im.inv.members("libvirt", map[string]bool{}), im.inv.members("hypervisors", map[string]bool{})...)
	if len(all) == 0 {
		all = slices.Collect(maps.Keys(im.inv.hosts))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// groupsOf are the groups that a host is in, those further from it first.
func (inv *inventory) groupsOf(host string) []string {
	depth, heights := map[string]int{}, map[string]int{}
	for name := range inv.groups {
		if name != "all" && slices.Contains(inv.members(name, map[string]bool{}), host) {
			depth[name] = inv.height(name, heights)
		}
	}
	out := slices.Collect(maps.Keys(depth))
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(depth[b], depth[a]), cmp.Compare(a, b)) })
	return out
}

// height is how many groups are below a group, one in the other; known has those that were
// counted, or are being counted.
func (inv *inventory) height(name string, known map[string]int) int {
	g := inv.groups[name]
	if g == nil {
		return 0
	}
	if most, ok := known[name]; ok {
		return most
	}
	known[name] = 0
	most := 0
	for _, child := range g.children {
		most = max(most, 1+inv.height(child, known))
	}
	known[name] = most
	return most
}
