package daemon

import (
	"cmp"
	"slices"

	"tenks/config"
	"tenks/raftfsm/state"
)

// flavors returns the flavors of a cluster file with the sizes that they have, by name.
func flavors(c config.Cluster) []state.Flavor {
	var out []state.Flavor
	for _, f := range c.Flavors {
		t := c.NodeTypes[f.NodeType]
		out = append(out, state.Flavor{Name: f.Title(), ResourceClass: f.ResourceClass, NodeType: f.NodeType,
			MemoryMB: int(t.MemoryMB), VCPUs: t.VCPUs, DiskGB: rootGB(f, t), EphemeralGB: f.EphemeralGB, SwapMB: f.SwapMB, //nolint:gosec // bounded by the file's rules
			RequiredTraits: slices.Concat(f.RequiredTraits), ForbiddenTraits: slices.Concat(f.ForbiddenTraits), CustomSpecs: some(f.CustomSpecs)})
	}
	slices.SortFunc(out, func(a, b state.Flavor) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// rootGB is the size of a flavor's root disk in GiB: what the file says, or that of the first
// volume. It is rounded down, because Ironic makes a partition that large on the disk.
func rootGB(f config.Flavor, t config.NodeType) int {
	switch {
	case f.DiskGB != nil:
		return *f.DiskGB
	case len(t.Volumes) == 0:
		return 0
	}
	return max(1, int(t.Volumes[0].Capacity>>30)) //nolint:gosec // the largest volume has 2^28 GiB
}
