package hostops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
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
	b.Overlay = &link.Overlay{VNI: as.VNI, Local: usual(w.vxlan.Address), Port: w.vxlan.Port}
	for _, t := range w.tunnels {
		if t.Physnet == physnet && t.VNI == as.VNI && w.reaches(t) {
			b.Overlay.Remotes = append(b.Overlay.Remotes, link.Remote{Address: usual(t.Address), Port: t.Port})
		}
	}
	return b
}

// usual is an IP address in the form that the kernel's are compared in, whatever form a host
// gave it in.
func usual(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	return a.Unmap().String()
}

// reaches reports whether overlays of this host can have an end: one of their own family, at
// another place.
func (w want) reaches(t state.Tunnel) bool {
	here, err := netip.ParseAddr(usual(w.vxlan.Address))
	there, err2 := netip.ParseAddr(usual(t.Address))
	return err == nil && err2 == nil && here.Is4() == there.Is4() && (here != there || w.vxlan.Port != t.Port)
}

// disagrees says which host has an overlay by another VNI, or where this one cannot send to;
// empty: none that has ports on it.
func (w want) disagrees(physnet string) string {
	mine := w.physnets[physnet].VNI
	for _, t := range w.tunnels {
		who := cmp.Or(t.Name, t.Hypervisor)
		switch {
		case mine == 0 || t.Physnet != physnet:
		case t.VNI != mine:
			return fmt.Sprintf("its VNI is %d here and %d on %s: give vxlan one value in agent.yml of both", mine, t.VNI, who)
		case !w.reaches(t):
			return fmt.Sprintf("it ends at %s here and at %s on %s: give each host's own address, all of them IPv4 or all IPv6, as vxlan.address in agent.yml", w.vxlan, state.Endpoint{Address: t.Address, Port: t.Port}, who)
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

// lasting keeps the MTU of a bridge that is gone together with its device, so that neither
// says one: in userspace, both are while ovs-vswitchd starts anew.
func (w want) lasting(b link.Bridge, have link.Have) link.Bridge {
	if b.MTU == 0 && b.Device != "" && have.Links[b.Device].MTU == 0 && have.Links[b.Name].MTU == 0 {
		b.MTU = w.lastMTUs[b.Physnet]
	}
	return b
}

// mtusIn returns the MTU of each physnet that this host offers, or has ports of, in bytes.
func (w want) mtusIn(have link.Have) map[string]int {
	out := map[string]int{}
	for physnet := range w.physnets {
		out[physnet] = link.MTU(w.lasting(w.bridge(physnet), have), have)
	}
	for _, name := range have.Ours() {
		l := have.Links[name]
		if _, offered := w.physnets[l.Mark.Physnet]; l.Mark.Role == link.RoleBridge && !offered {
			out[l.Mark.Physnet] = l.MTU
		}
	}
	return out
}

// guessed are the physnets whose MTU is not known, because their device or the address of their
// overlay is missing; what mtusIn says of them is no more than what is usual.
func (w want) guessed(have link.Have) map[string]bool {
	out := map[string]bool{}
	for physnet := range w.physnets {
		if !link.KnownMTU(w.lasting(w.bridge(physnet), have), have) {
			out[physnet] = true
		}
	}
	return out
}

// Missing is a physnet that this host offers and cannot join to anything: its device, or the
// address where overlays end, is not there.
type Missing struct{ Physnet, Problem string }

// missing are those physnets, sorted.
func (w want) missing(have link.Have) []Missing {
	var out []Missing
	for _, physnet := range slices.Sorted(maps.Keys(w.physnets)) {
		if problem := link.Missing(w.bridge(physnet), have); problem != "" {
			out = append(out, Missing{Physnet: physnet, Problem: problem})
		}
	}
	return out
}

// Missing returns what the last pass found.
func (h *Host) Missing() []Missing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.missing)
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

// PhysnetMTUs is what each physnet that this host offers takes, in bytes, as the last pass found
// it; it looks itself before the first one. One that is not known, because a device is missing, is 0.
func (h *Host) PhysnetMTUs(ctx context.Context) (map[string]int, error) {
	h.mu.Lock()
	all, guessed := h.mtus, h.guessed
	h.mu.Unlock()
	if all == nil {
		have, err := h.cfg.Links.Observe(ctx)
		if err != nil {
			return nil, err
		}
		w := want{physnets: h.cfg.Physnets, vxlan: h.cfg.VXLAN, bridges: have.Indices()}
		all, guessed = w.mtusIn(have), w.guessed(have)
	}
	out := map[string]int{}
	for physnet := range h.cfg.Physnets {
		if !guessed[physnet] {
			out[physnet] = all[physnet]
		}
	}
	return out, nil
}
