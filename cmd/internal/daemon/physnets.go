package daemon

import (
	"cmp"
	"context"
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
func (a *agent) physnetLinks(ctx context.Context) (links []state.PhysnetLink, overlays state.Endpoint) {
	physnets := a.opt.Config.Physnets
	var mtus map[string]int
	var err error
	if a.host != nil { // nil: its drivers and links are not open yet
		mtus, err = a.host.PhysnetMTUs(ctx)
	}
	if err != nil {
		a.log.WarnContext(ctx, "the MTUs of this host's physnets are not known", "err", err)
	}
	for _, name := range slices.Sorted(maps.Keys(physnets)) {
		l := state.PhysnetLink{Physnet: name, VNI: physnets[name].VXLAN, MTU: mtus[name]}
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
