package sched

import (
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// lasting are the filters that say of a node's own host, too, whether it is one for the
// node. What the others look at was given to the node when it was placed.
var lasting = []string{"driver", "physnets", "labels"}

// Misfit is what a hypervisor lacks for a node: a filter's name and answer.
type Misfit struct{ Filter, Why string }

// Misfits says what a hypervisor lacks for a node, which may be there already: its driver,
// its physnets, its labels. Nothing: it could stay there, or come, as far as room allows.
func Misfits(h *state.Hypervisor, n *state.Node) []Misfit {
	host, c := &host{Hypervisor: h}, (&classes{all: map[demand]*class{}, counts: map[specKey]*spread{}}).of(n)
	var out []Misfit
	for _, name := range lasting {
		for _, f := range filters {
			if f.name != name {
				continue
			}
			if why := f.refuse(host, c); why != "" {
				out = append(out, Misfit{name, why})
			}
		}
	}
	return out
}

// misplaced says which nodes are to have a physical network or an architecture from now on
// that their hosts lack, by host and name. What a host lacked before is no reason: the nodes
// are there.
func misplaced(snap *state.Snapshot, now declared) []state.NodeRefusal {
	var out []state.NodeRefusal
	for _, h := range snap.Hypervisors() {
		for _, was := range snap.NodesOn(h.ID) {
			n := now.of(was)
			if n.Placement == nil || n.Machine.Driver != was.Machine.Driver { // made anew wherever it fits, or gone
				continue
			}
			if why := lacks(h, was.Machine, n.Machine); why != "" {
				out = append(out, state.NodeRefusal{UUID: n.UUID, Reason: fmt.Sprintf("node %s cannot be changed: %s: %s", n.Name, h.Name, why)})
			}
		}
	}
	return out
}

// lacks says what a hypervisor lacks for a machine that it did not need before.
func lacks(h *state.Hypervisor, was, is state.Machine) string {
	for _, p := range is.Physnets {
		if why := among(p, h.Physnets); why != "" && !slices.Contains(was.Physnets, p) {
			return "physnets: " + why
		}
	}
	if arch := is.Arch(); arch != was.Arch() {
		if why := byArch(&host{Hypervisor: h}, &class{demand: demand{arch: arch}}); why != "" {
			return "architecture: " + why
		}
	}
	return ""
}

// overgrown says which nodes grow to more than their hosts have, by host and name.
func overgrown(snap *state.Snapshot, now declared) []state.NodeRefusal {
	var out []state.NodeRefusal
	hosts, _ := candidates(snap, now)
	for _, h := range hosts {
		for _, was := range snap.NodesOn(h.ID) {
			n := now.of(was)
			if n.Placement == nil {
				continue
			}
			for _, r := range []struct {
				filter     string
				from, to   uint64
				used, most uint64
				unit       string
			}{
				{"vcpus", uint64(max(was.Machine.VCPUs, 0)), uint64(max(n.Machine.VCPUs, 0)), h.vcpus, scaled(uint64(max(h.Capacity.VCPUs, 0)), h.Overcommit.VCPUs), ""},
				{"memory", was.Machine.MemoryMB, n.Machine.MemoryMB, h.memoryMB, h.memoryLimit(), " MiB"},
				{"disk", was.Machine.DiskBytes() >> 30, n.Machine.DiskBytes() >> 30, h.diskBytes >> 30, scaled(h.Capacity.DiskGB, h.Overcommit.Disk), " GiB"},
			} {
				if r.to > r.from && r.used > r.most {
					out = append(out, state.NodeRefusal{UUID: n.UUID, Reason: fmt.Sprintf("node %s cannot grow: %s: %s: %d%s promised then, it has %d%s",
						n.Name, h.Name, r.filter, r.used, r.unit, r.most, r.unit)})
					break
				}
			}
		}
	}
	return out
}

// sharing says which nodes are declared from now on to have a disk that is another node's on
// their host, by host and name. Nodes that nobody changes are not looked at.
func sharing(snap *state.Snapshot, now declared) []state.NodeRefusal {
	var out []state.NodeRefusal
	for _, h := range snap.Hypervisors() {
		owner := map[string]string{}
		nodes := snap.NodesOn(h.ID)
		for _, was := range nodes {
			for _, path := range pathsOf(now.of(was)) {
				owner[path] += " " + was.Name
			}
		}
		for _, was := range nodes {
			n := now.of(was)
			for _, path := range pathsOf(n) {
				others := slices.DeleteFunc(strings.Fields(owner[path]), func(name string) bool { return name == was.Name })
				if len(others) == 0 || slices.Contains(pathsOf(was), path) {
					continue
				}
				out = append(out, state.NodeRefusal{UUID: n.UUID, Reason: fmt.Sprintf("node %s cannot have %s: on %s it is a disk of node %s", n.Name, path, h.Name, strings.Join(others, ", "))})
				break
			}
		}
	}
	return out
}
