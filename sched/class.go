package sched

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"tenks/raftfsm/state"
)

// class is nodes that are alike in all that filters and scores look at: a hypervisor
// that one of them is refused refuses the others, too, and the next one's best
// hypervisor is found where the last one's was.
type class struct {
	demand
	physnets []string
	paths    []string
	labels   []label
	pool     state.AddressPool
	// stretches are what each host has of the pool.
	stretches map[*host]*stretch
	counts    *spread
	// left is how many of its nodes have no answer yet.
	left int
	// queues are nil until the first node of a class that is large enough.
	queues []*queue
	// reason is why a node was refused after so many placements.
	reason string
	after  int
}

// demand is what makes nodes alike. Two equal ones are one class.
type demand struct {
	cluster, spec string
	byZone        bool
	driver        string
	arch          string
	// shared is the protocol of nodes that need no port of their own; empty: they need one.
	shared string
	// What is negative in a declaration needs nothing.
	vcpus, memoryMB, diskBytes uint64
	// allPhysnets, allLabels and allPaths are the class's lists as one text each, quoted so that
	// no two lists have the same.
	allPhysnets, allLabels, allPaths string
	// address is the one that the node's BMC has already, and allPool the pool that it is to
	// get one of.
	address, allPool string
	// pinned is the ID of the only host that it may be on; empty: any.
	pinned string
	// pinnedName is what that host is called, and found says that the node was found there.
	pinnedName string
	found      bool
}

// pooled nodes' BMCs have an address of their own.
func (d demand) pooled() bool { return d.address != "" || d.allPool != "" }

// label is one that a hypervisor must have.
type label struct{ key, value string }

// classes sorts nodes into their classes.
type classes struct {
	all    map[demand]*class
	counts map[specKey]*spread
	// name is what a hypervisor is called, also one that there is no longer.
	name func(id string) string
}

func (cs *classes) of(n *state.Node) *class {
	labels, paths := required(n), pathsOf(n)
	d := demand{cluster: n.Cluster, spec: n.Spec, byZone: n.Constraints.Spread == "zone", driver: n.Machine.Driver, arch: n.Machine.Arch(),
		vcpus: uint64(max(n.Machine.VCPUs, 0)), memoryMB: n.Machine.MemoryMB, diskBytes: n.Machine.DiskBytes(),
		allPhysnets: fmt.Sprintf("%q", n.Machine.Physnets), allLabels: fmt.Sprintf("%q", labels), allPaths: fmt.Sprintf("%q", paths)}
	if !n.Machine.Own() {
		d.shared = n.Machine.IronicDriver
	}
	pool := poolOf(n)
	d.address, d.allPool, d.pinned = n.BMCAddress, pool.String(), n.Pinned()
	if d.pinned != "" && cs.name != nil {
		d.pinnedName, d.found = cs.name(d.pinned), n.Origin.Adopted()
	}
	c, ok := cs.all[d]
	if !ok {
		c = &class{demand: d, pool: pool, stretches: map[*host]*stretch{}, physnets: n.Machine.Physnets, labels: labels, paths: paths, counts: cs.spread(n)}
		cs.all[d] = c
	}
	return c
}

// poolOf is what a node's BMC is to get an address of: nothing where it has one, or where
// it has got a port.
func poolOf(n *state.Node) state.AddressPool {
	if n.BMCAddress != "" || n.Placement != nil {
		return nil
	}
	return n.BMCPool
}

// pathsOf are the files and devices of its hypervisor that are a node's disks.
func pathsOf(n *state.Node) []string {
	var out []string
	for _, v := range n.Machine.Volumes {
		if v.Path != "" {
			out = append(out, v.Path)
		}
	}
	return out
}

// required returns the labels that a node asks for, by key.
func required(n *state.Node) []label {
	if len(n.Constraints.Require) == 0 {
		return nil
	}
	var out []label
	for _, key := range slices.Sorted(maps.Keys(n.Constraints.Require)) {
		out = append(out, label{key, n.Constraints.Require[key]})
	}
	return out
}

// spread returns the counts of a node's spec.
func (cs *classes) spread(n *state.Node) *spread {
	key := specKey{n.Cluster, n.Spec}
	s, ok := cs.counts[key]
	if !ok {
		s = &spread{zones: map[string]int{}, hosts: map[string]int{}}
		cs.counts[key] = s
	}
	return s
}

// compare is negative when a is the better host for a node of the class: fewer nodes
// of its spec in the zone (if spread over zones), then what rank says.
func (c *class) compare(a, b *host) int {
	zones := 0
	if c.byZone {
		zones = cmp.Compare(c.counts.zones[a.Zone], c.counts.zones[b.Zone])
	}
	if zones != 0 {
		return zones
	}
	return c.rank(a).compare(c.rank(b))
}

// rank is how good a host is within its zone: fewer nodes of the spec, then more
// free memory for its size, then the lower ID. Placements only ever make it worse.
type rank struct {
	nodes int
	free  float64
	id    string
}

func (c *class) rank(h *host) rank { return rank{c.counts.hosts[h.ID], h.freeShare(), h.ID} }

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.nodes, o.nodes), cmp.Compare(o.free, r.free), cmp.Compare(r.id, o.id))
}
