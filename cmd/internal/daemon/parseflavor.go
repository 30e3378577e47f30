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
// volume that is a disk. It is rounded down, because Ironic makes a partition that large on the
// disk; Placement does not look at it.
func rootGB(f config.Flavor, t config.NodeType) int {
	if f.DiskGB != nil {
		return *f.DiskGB
	}
	i := slices.IndexFunc(t.Volumes, func(v config.Volume) bool { return !v.CDROM() })
	if i < 0 {
		return 0
	}
	return max(1, int(t.Volumes[i].Capacity>>30)) //nolint:gosec // the largest volume has 2^28 GiB
}
