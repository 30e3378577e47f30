package api

import (
	"maps"
	"slices"

	"tenks/raftfsm/state"
)

// addFlavors says which flavors a cluster has in Nova, and is to have.
func addFlavors(v *Cluster, c *state.Cluster) {
	v.WaitForPlacement = c.WaitForPlacement
	settled, why := c.FlavorsSettled()
	v.FlavorsPending, v.FlavorsReason = !settled, why
	all := map[string]Flavor{}
	for _, f := range c.Flavors {
		all[f.Name] = Flavor{Name: f.Name}
	}
	for _, f := range c.FlavorStatus.Flavors {
		all[f.Name] = Flavor{Name: f.Name, ID: f.ID, Reason: f.Error}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v.Flavors = append(v.Flavors, all[name])
	}
}
