package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// PhysnetDisagreement is a physnet that hypervisors have differently.
type PhysnetDisagreement struct {
	Physnet string
	// What says in which way, and on which hypervisors.
	What string
	// Matters says that nodes on both sides have ports on it.
	Matters bool
}

func (d PhysnetDisagreement) String() string { return fmt.Sprintf("physnet %q: %s", d.Physnet, d.What) }

// PhysnetDisagreements returns the physnets whose MTU or VNI is not the same on all hypervisors
// that have told of it, by name. What peers have only a part of the state they cannot tell.
func (s *Snapshot) PhysnetDisagreements() []PhysnetDisagreement {
	mtus, vnis := map[string]map[int][]*Hypervisor{}, map[string]map[int][]*Hypervisor{}
	note := func(all map[string]map[int][]*Hypervisor, physnet string, value int, h *Hypervisor) {
		if all[physnet] == nil {
			all[physnet] = map[int][]*Hypervisor{}
		}
		all[physnet][value] = append(all[physnet][value], h)
	}
	for _, h := range s.Hypervisors() {
		for _, l := range h.PhysnetLinks {
			note(vnis, l.Physnet, l.VNI, h)
			if l.MTU != 0 {
				note(mtus, l.Physnet, l.MTU, h)
			}
		}
	}
	var out []PhysnetDisagreement
	for _, physnet := range slices.Sorted(maps.Keys(vnis)) {
		if len(vnis[physnet]) > 1 {
			out = append(out, s.disagreement(physnet, vnis[physnet], func(vni int) string {
				if vni == 0 {
					return "no overlay"
				}
				return fmt.Sprintf("VNI %d", vni)
			}))
			continue
		}
		if len(mtus[physnet]) > 1 {
			out = append(out, s.disagreement(physnet, mtus[physnet], func(mtu int) string { return fmt.Sprintf("MTU %d", mtu) }))
		}
	}
	return out
}

func (s *Snapshot) disagreement(physnet string, by map[int][]*Hypervisor, word func(int) string) PhysnetDisagreement {
	var parts []string
	sides := 0
	for _, value := range slices.Sorted(maps.Keys(by)) {
		var names []string
		used := false
		for _, h := range by[value] {
			names = append(names, cmp.Or(h.Name, h.ID))
			used = used || s.hasPort(h.ID, physnet)
		}
		if used {
			sides++
		}
		const most = 3
		slices.Sort(names)
		if more := len(names) - most; more > 0 {
			names = append(names[:most], fmt.Sprintf("%d more", more))
		}
		parts = append(parts, fmt.Sprintf("%s on %s", word(value), strings.Join(names, ", ")))
	}
	return PhysnetDisagreement{Physnet: physnet, What: strings.Join(parts, "; "), Matters: sides > 1}
}
