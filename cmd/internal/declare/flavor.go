package declare

import (
	"fmt"
	"maps"
	"slices"

	"tenks/raftfsm/state"
)

// FlavorStep is what a plan does to a flavor of Nova.
type FlavorStep struct {
	Action Action
	Name   string
	// Reasons say what is different.
	Reasons []string
}

// flavorSteps says how the flavors of a cluster differ from those that were declared before,
// by name.
func flavorSteps(old, want *state.Cluster) []FlavorStep {
	before := map[string]state.Flavor{}
	if old != nil {
		for _, f := range old.Flavors {
			before[f.Name] = f
		}
	}
	var out []FlavorStep
	for _, f := range want.Flavors {
		was, ok := before[f.Name]
		delete(before, f.Name)
		if !ok {
			out = append(out, FlavorStep{Create, f.Name, []string{describeFlavor(f)}})
		} else if reasons := flavorDifferences(was, f); len(reasons) > 0 {
			out = append(out, FlavorStep{Change, f.Name, reasons})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		out = append(out, FlavorStep{Remove, name, []string{"it is no longer declared"}})
	}
	return out
}

// flavorDifferences says what of a flavor changes. Nova's cannot change their size.
func flavorDifferences(o, w state.Flavor) []string {
	var out []string
	add := func(differ bool, format string, args ...any) {
		if differ {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	const anew = " (made anew)"
	add(o.MemoryMB != w.MemoryMB, "memory %d MiB → %d MiB%s", o.MemoryMB, w.MemoryMB, anew)
	add(o.VCPUs != w.VCPUs, "vCPUs %d → %d%s", o.VCPUs, w.VCPUs, anew)
	add(o.DiskGB != w.DiskGB, "disk %d GiB → %d GiB%s", o.DiskGB, w.DiskGB, anew)
	add(o.EphemeralGB != w.EphemeralGB, "ephemeral %d GiB → %d GiB%s", o.EphemeralGB, w.EphemeralGB, anew)
	add(o.SwapMB != w.SwapMB, "swap %d MiB → %d MiB%s", o.SwapMB, w.SwapMB, anew)
	add(o.ResourceClass != w.ResourceClass, "resource class %s → %s", o.ResourceClass, w.ResourceClass)
	add(!slices.Equal(o.RequiredTraits, w.RequiredTraits), "required traits %v → %v", o.RequiredTraits, w.RequiredTraits)
	add(!slices.Equal(o.ForbiddenTraits, w.ForbiddenTraits), "forbidden traits %v → %v", o.ForbiddenTraits, w.ForbiddenTraits)
	add(!maps.Equal(o.CustomSpecs, w.CustomSpecs), "custom specs")
	return out
}

func describeFlavor(f state.Flavor) string {
	return fmt.Sprintf("%d MiB, %d vCPUs, %d GiB, resource class %s", f.MemoryMB, f.VCPUs, f.DiskGB, f.ResourceClass)
}

// keepsCloud refuses a declaration by which nobody knows any longer where the cluster's flavors
// are.
func keepsCloud(old, want *state.Cluster, forget bool) error {
	if old == nil || old.Ironic == nil || !old.FlavorStatus.Begun || forget || want.Ironic != nil && want.Ironic.Cloud == old.Ironic.Cloud {
		return nil
	}
	return fmt.Errorf("cluster %q has flavors in cloud %s: apply it without nova_flavors first, and change ironic.cloud once they are gone (tenks cluster show %s); --forget-ironic leaves them there",
		want.Name, old.Ironic.Cloud, want.Name)
}

// checkFlavors refuses a flavor that another cluster of the same cloud has: whose would it be?
func checkFlavors(snap *state.Snapshot, want *state.Cluster) error {
	if want.Ironic == nil {
		return nil
	}
	for _, c := range snap.Clusters() {
		if c.Name == want.Name || c.Ironic == nil || c.Ironic.Cloud != want.Ironic.Cloud {
			continue
		}
		for _, f := range want.Flavors {
			if slices.ContainsFunc(c.Flavors, func(o state.Flavor) bool { return o.Name == f.Name }) {
				return fmt.Errorf("flavor %q: cluster %q has one of that name in cloud %s: give it another name", f.Name, c.Name, c.Ironic.Cloud)
			}
		}
	}
	return nil
}
