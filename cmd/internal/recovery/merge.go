package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// merged is a state that was put together from parts, and what could not be.
type merged struct {
	dump state.Dump
	// index is the highest log index that anything knows of.
	index uint64
	// generation is the highest one.
	generation uint64
	// notes are decisions that a person should see.
	notes []string
	// missing are the names of nodes of which only their place is known, by that place.
	missing map[string][]string
	// without are the names of peers whose part was not given.
	without []string
	// remade are clusters of which only the nodes are known.
	remade []string
}

// mergeParts lays the parts of peers over an older state, which may be empty. It is
// deterministic, whatever the order of the parts.
func mergeParts(base state.Dump, parts []raftfsm.Part) (merged, error) {
	m := merged{dump: base, index: base.Index, missing: map[string][]string{}}
	if base.Mesh != nil {
		m.generation = base.Mesh.Generation
	}
	for _, p := range parts {
		if p.Mesh == nil {
			return m, errors.New("a part names no mesh")
		}
		if m.dump.Mesh == nil {
			m.dump.Mesh = p.Mesh
		}
		if m.dump.Mesh.ID != p.Mesh.ID {
			return m, fmt.Errorf("parts are of two meshes: %s and %s", m.dump.Mesh.ID, p.Mesh.ID)
		}
		m.index, m.generation = max(m.index, p.Index), max(m.generation, p.Mesh.Generation)
		if p.Level != nil && (m.dump.Level == nil || p.Level.Number > m.dump.Level.Number) {
			m.dump.Level = p.Level // it never goes back: what follows has fields of it
		}
	}
	if m.dump.Mesh == nil {
		return m, errors.New("there is no part of the state")
	}
	peers, hypervisors := [][]*state.Peer{base.Peers}, [][]*state.Hypervisor{base.Hypervisors}
	for _, p := range parts {
		peers, hypervisors = append(peers, p.Peers), append(hypervisors, p.Hypervisors)
	}
	m.dump.Peers = newestRows(peers, func(p *state.Peer) (string, uint64) { return p.ID, p.ModifyIndex })
	m.dump.Hypervisors = newestRows(hypervisors, func(h *state.Hypervisor) (string, uint64) { return h.ID, h.ModifyIndex })
	for _, p := range m.dump.Peers {
		if !p.Removed && !slices.ContainsFunc(parts, func(q raftfsm.Part) bool { return ownerOf(q) == p.ID }) {
			m.without = append(m.without, p.Name)
		}
	}
	m.mergeNodes(base, parts)
	m.remakeClusters()
	return m, nil
}

// newestRows returns the newest row of each key, sorted.
func newestRows[T any](lists [][]*T, of func(*T) (key string, modified uint64)) []*T {
	newest := map[string]*T{}
	for _, row := range slices.Concat(lists...) {
		key, modified := of(row)
		if old, ok := newest[key]; ok {
			if _, before := of(old); before >= modified {
				continue
			}
		}
		newest[key] = row
	}
	var out []*T
	for _, key := range sortedKeys(newest) {
		out = append(out, newest[key])
	}
	return out
}

// claims is what is known of one node.
type claims struct {
	// placed has the newest placement; whole is the newest row with all of the node.
	placed, whole *state.Node
	// hosts are those that say it is theirs, with the epoch.
	hosts map[string]uint64
}

func (c *claims) add(n *state.Node, host string) {
	if n.Placement != nil && (c.placed == nil || n.Placement.Epoch > c.placed.Placement.Epoch) {
		c.placed = n
	}
	if n.Machine.Driver != "" && (c.whole == nil || n.ModifyIndex > c.whole.ModifyIndex) {
		c.whole = n
	}
	if host != "" && n.Placement != nil && n.Placement.Hypervisor == host {
		c.hosts[host] = n.Placement.Epoch
	}
}

func (m *merged) mergeNodes(base state.Dump, parts []raftfsm.Part) {
	all := map[string]*claims{}
	of := func(uuid string) *claims {
		if all[uuid] == nil {
			all[uuid] = &claims{hosts: map[string]uint64{}}
		}
		return all[uuid]
	}
	// given says how new the part of a host is.
	given := map[string]uint64{}
	for _, p := range parts {
		host := ownerOf(p)
		if host != "" {
			given[host] = max(given[host], p.Index)
		}
		for _, n := range p.Nodes {
			of(n.UUID).add(n, host)
		}
	}
	for _, n := range base.Nodes {
		// A part that is newer than the base, and does not know a node, says that it went.
		if n.Placement != nil && all[n.UUID] == nil && given[n.Placement.Hypervisor] > base.Index {
			m.notes = append(m.notes, fmt.Sprintf("node %s is gone since: its host no longer has it", n.Name))
			continue
		}
		of(n.UUID).add(n, "")
	}
	m.dump.Nodes = nil
	for _, uuid := range sortedKeys(all) {
		if n := m.decide(all[uuid]); n != nil {
			m.dump.Nodes = append(m.dump.Nodes, n)
		}
	}
	slices.SortFunc(m.dump.Nodes, func(a, b *state.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(m.notes)
}

// decide makes one node of what is known of it; nil: not enough is.
func (m *merged) decide(c *claims) *state.Node {
	if c.whole == nil {
		host := c.placed.Placement.Hypervisor
		m.missing[m.host(host)] = append(m.missing[m.host(host)], c.placed.Name)
		return nil
	}
	n := *c.whole
	if c.placed != nil && (n.Placement == nil || n.Placement.Epoch < c.placed.Placement.Epoch) {
		n.LastPlacement = n.Placement
		n.Placement, n.Past, n.Host = c.placed.Placement, c.placed.Past, state.HostStatus{}
	}
	if n.Placement == nil {
		return &n
	}
	for _, host := range sortedKeys(c.hosts) {
		if host == n.Placement.Hypervisor {
			continue
		}
		m.notes = append(m.notes, fmt.Sprintf("node %s is claimed by %s (epoch %d) and %s (epoch %d): it is the latter's, which is newer", n.Name,
			m.host(host), c.hosts[host], m.host(n.Placement.Hypervisor), n.Placement.Epoch))
		// It must know that the node is no longer its own.
		if i, there := slices.BinarySearch(n.Past, host); !there {
			n.Past = slices.Insert(slices.Clone(n.Past), i, host)
		}
	}
	return &n
}

func (m *merged) host(id string) string {
	for _, p := range m.dump.Peers {
		if p.ID == id {
			return p.Name
		}
	}
	return id
}

// ownerOf is the hypervisor that a part is of; empty: of a peer that is none.
func ownerOf(p raftfsm.Part) string {
	if len(p.Hypervisors) == 1 {
		return p.Hypervisors[0].ID
	}
	return ""
}

// remakeClusters declares clusters for nodes whose own is not known, as far as nodes
// say it.
func (m *merged) remakeClusters() {
	known := map[string]bool{}
	for _, c := range m.dump.Clusters {
		known[c.Name] = true
	}
	made := map[string]*state.Cluster{}
	for _, n := range m.dump.Nodes {
		if known[n.Cluster] {
			continue
		}
		c := made[n.Cluster]
		if c == nil {
			c = &state.Cluster{Name: n.Cluster, Types: map[string]state.Machine{}, CreateIndex: n.CreateIndex,
				DeployKernel: n.DeployKernel, DeployRamdisk: n.DeployRamdisk, Removing: true}
			made[n.Cluster] = c
		}
		c.ModifyIndex = max(c.ModifyIndex, n.ModifyIndex)
		c.Removing = c.Removing && n.Removing
		c.Types[n.Type] = n.Machine
		i := slices.IndexFunc(c.Specs, func(s state.Spec) bool { return s.Key == n.Spec })
		if i < 0 {
			i = len(c.Specs)
			c.Specs = append(c.Specs, state.Spec{Key: n.Spec, Type: n.Type, Prefix: prefixOf(n.Spec), Enrol: n.Enrol,
				Constraints: n.Constraints, OnHostLoss: n.OnHostLoss})
		}
		if !n.Removing {
			c.Specs[i].Count++
		}
	}
	m.dump.Clusters = slices.Clone(m.dump.Clusters)
	for _, name := range sortedKeys(made) {
		m.remade = append(m.remade, name)
		m.dump.Clusters = append(m.dump.Clusters, made[name])
	}
}

// prefixOf takes the prefix out of the key of a spec: type, prefix and ordinal.
func prefixOf(key string) string {
	if f := strings.Split(key, "/"); len(f) == 3 {
		return f[1]
	}
	return ""
}

// partSummary describes a part in words.
func partSummary(p raftfsm.Part) string {
	host, placed := "a peer that is no hypervisor", 0
	if len(p.Hypervisors) == 1 {
		host = p.Hypervisors[0].Name
		for _, n := range p.Nodes {
			if n.Placement != nil && n.Placement.Hypervisor == p.Hypervisors[0].ID {
				placed++
			}
		}
	}
	generation := uint64(0)
	if p.Mesh != nil {
		generation = p.Mesh.Generation
	}
	return fmt.Sprintf("of %s at generation %d, log index %d: %d nodes, %d peers", host, generation, p.Index, placed, len(p.Peers))
}
