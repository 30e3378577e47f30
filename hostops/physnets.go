package hostops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tenks/hostops/driver"
	"tenks/hostops/link"
)

// bridge is that of a physnet which this host offers.
func (w want) bridge(physnet string) link.Bridge {
	as := w.physnets[physnet]
	b := link.Bridge{Physnet: physnet, Device: as.Device, VLAN: as.VLAN, MTU: as.MTU}
	if i, ok := w.bridges[physnet]; ok {
		b.Name = link.BridgeName(i)
	}
	if as.VNI == 0 {
		return b
	}
	b.Overlay = &link.Overlay{VNI: as.VNI, Local: w.vxlan.Address, Port: w.vxlan.Port}
	for _, t := range w.tunnels {
		if t.Physnet == physnet && t.VNI == as.VNI {
			b.Overlay.Remotes = append(b.Overlay.Remotes, link.Remote{Address: t.Address, Port: t.Port})
		}
	}
	return b
}

// disagrees says which host has an overlay by another VNI; empty: none that has ports on it.
func (w want) disagrees(physnet string) string {
	mine := w.physnets[physnet].VNI
	for _, t := range w.tunnels {
		if mine != 0 && t.Physnet == physnet && t.VNI != mine {
			return fmt.Sprintf("its VNI is %d here and %d on %s: give vxlan one value in agent.yml of both", mine, t.VNI, cmp.Or(t.Name, t.Hypervisor))
		}
	}
	return ""
}

// unmapped is the bridge of a physnet that this host no longer offers.
func unmapped(physnet string, have link.Have) link.Bridge {
	b := link.Bridge{Physnet: physnet}
	for _, name := range have.Ours() {
		l := have.Links[name]
		switch {
		case l.Mark.Physnet != physnet:
		case l.Mark.Role == link.RoleBridge:
			b.Name, b.MTU, b.Device = name, l.MTU, cmp.Or(b.Device, l.Mark.Device)
		case l.Mark.Role == link.RoleUplink && l.Master != "" && !have.Links[l.Master].Ours():
			b.Device, b.VLAN = l.Master, l.Mark.VLAN
		case l.Mark.Role == link.RoleVLAN:
			b.Device, b.VLAN = l.Parent, l.VLAN
		case l.Mark.Role == link.RoleVXLAN:
			b.Overlay = l.Overlay
		}
	}
	return b
}

// mtusIn returns the MTU of each physnet that this host offers, or has ports of, in bytes.
func (w want) mtusIn(have link.Have) map[string]int {
	out := map[string]int{}
	for physnet := range w.physnets {
		out[physnet] = link.MTU(w.bridge(physnet), have)
	}
	for _, name := range have.Ours() {
		l := have.Links[name]
		if _, offered := w.physnets[l.Mark.Physnet]; l.Mark.Role == link.RoleBridge && !offered {
			out[l.Mark.Physnet] = l.MTU
		}
	}
	return out
}

// Exposed is a device that is plugged into a bridge of ours, and has got addresses of the host
// since: a bridge's port does not answer for them.
type Exposed struct {
	Physnet, Device, Bridge string
	// Addresses are for people.
	Addresses string
}

// Fix says what to do about it.
func (e Exposed) Fix() string { return link.MoveAddresses(e.Device) }

// exposed are those devices, by physnet.
func (w want) exposed(have link.Have) []Exposed {
	var out []Exposed
	for _, physnet := range slices.Sorted(maps.Keys(w.physnets)) {
		as := w.physnets[physnet]
		dev := have.Links[as.Device]
		addresses := have.Addresses[as.Device]
		if as.Device == "" || as.VLAN != 0 || len(addresses) == 0 || !have.Links[dev.Master].Ours() {
			continue
		}
		out = append(out, Exposed{Physnet: physnet, Device: as.Device, Bridge: dev.Master, Addresses: strings.Trim(fmt.Sprint(addresses), "[]")})
	}
	return out
}

// Exposed returns what the last pass found.
func (h *Host) Exposed() []Exposed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.exposed)
}

// withMTUs tells a driver what the NICs of a node take, where that is not the usual.
func withMTUs(s driver.Spec, mtus map[string]int) driver.Spec {
	for i, p := range s.Ports {
		if mtu := mtus[p.Physnet]; mtu != link.DefaultMTU {
			s.Ports[i].MTU = mtu
		}
	}
	return s
}

func (h *Host) withMTUs(s driver.Spec) driver.Spec {
	h.mu.Lock()
	defer h.mu.Unlock()
	return withMTUs(s, h.mtus)
}

// PhysnetMTUs looks at what each physnet that this host offers takes, in bytes.
func (h *Host) PhysnetMTUs(ctx context.Context) (map[string]int, error) {
	have, err := h.cfg.Links.Observe(ctx)
	if err != nil {
		return nil, err
	}
	indices := have.Indices()
	w := want{physnets: h.cfg.Physnets, vxlan: h.cfg.VXLAN, bridges: indices}
	all, out := w.mtusIn(have), map[string]int{}
	for physnet := range h.cfg.Physnets {
		out[physnet] = all[physnet]
	}
	return out, nil
}
