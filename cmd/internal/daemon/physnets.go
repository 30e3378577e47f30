package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"tenks/cmd/internal/api"
	"tenks/config"
	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// checkPhysnets are doctor's findings about physnets that hosts have differently, or without
// their devices, about addresses of this host that went with a device, and about bridges that
// others keep.
func (a *agent) checkPhysnets() []api.Check {
	var out []api.Check
	snap, _ := a.source.Snapshot()
	for _, d := range snap.PhysnetDisagreements() {
		c := api.Check{Name: "physnet " + d.Physnet, State: "warning", Detail: d.What,
			Fix: "give the devices one MTU, or mtu and vxlan one value in agent.yml of all these hosts: frames of one side do not all reach the other"}
		if d.Matters {
			c.State = "error"
		}
		out = append(out, c)
	}
	for _, e := range a.host.Exposed() {
		out = append(out, api.Check{Name: "physnet " + e.Physnet, State: "error",
			Detail: fmt.Sprintf("%s is a port of %s, and has %s: nobody reaches the host there", e.Device, e.Bridge, e.Addresses), Fix: e.Fix()})
	}
	for _, m := range a.host.Missing() {
		out = append(out, api.Check{Name: "physnet " + m.Physnet, State: "error", Detail: m.Problem + ": nodes here cannot use the physnet, and its MTU is not known",
			Fix: "make it, or have the host's network configuration make it; or change physnets in agent.yml"})
	}
	for _, s := range a.host.Shared() {
		out = append(out, api.Check{Name: "physnet " + s.Physnet, State: "warning", Detail: s.Problem, Fix: s.Fix()})
	}
	return out
}

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
		mtus = a.toldMTUs() // a look that failed is no reason to change the log
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

// toldMTUs are what the mesh was last told.
func (a *agent) toldMTUs() map[string]int {
	out := map[string]int{}
	snap, _ := a.source.Snapshot()
	if h, ok := snap.Hypervisor(a.mesh.ID()); ok {
		for _, l := range h.PhysnetLinks {
			out[l.Physnet] = l.MTU
		}
	}
	return out
}

// userspace reports whether bridges that Tenks makes are switched in userspace.
func (a *agent) userspace() bool {
	c := a.opt.Config
	return c.BridgeType == config.BridgeOVS && c.OVS.Datapath == config.DatapathNetdev
}

// openLinks opens the host's links and its Open vSwitch.
func (a *agent) openLinks(mesh string) (closeAll func(), err error) {
	a.links, err = link.Open(link.Config{Mesh: mesh, Userspace: a.userspace(), Log: a.log})
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	a.switches = ovs.Open(ovs.Config{Mesh: mesh, DB: a.opt.Config.OVS.DB, Log: a.log})
	return func() { _, _ = a.switches.Close(), a.links.Close() }, nil // only references
}
