package daemon

import (
	"cmp"
	"maps"
	"slices"

	"tenks/config"
	"tenks/raftfsm/state"
)

// vxlan is where this host's overlays end.
func (a *agent) vxlan() state.Endpoint {
	c := a.opt.Config
	return state.Endpoint{Address: cmp.Or(c.VXLAN.Address, c.Advertise), Port: c.VXLAN.Port}
}

// physnetLinks says how this host has its physnets, and where its overlays end.
func (a *agent) physnetLinks() (links []state.PhysnetLink, overlays state.Endpoint) {
	physnets := a.opt.Config.Physnets
	for _, name := range slices.Sorted(maps.Keys(physnets)) {
		l := state.PhysnetLink{Physnet: name, VNI: physnets[name].VXLAN}
		if l.VNI != 0 {
			overlays = a.vxlan()
		}
		if l.VNI != 0 || l.MTU != 0 {
			links = append(links, l)
		}
	}
	return links, overlays
}

// userspace reports whether bridges that Tenks makes are switched in userspace.
func (a *agent) userspace() bool {
	c := a.opt.Config
	return c.BridgeType == config.BridgeOVS && c.OVS.Datapath == config.DatapathNetdev
}
