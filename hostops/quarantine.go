package hostops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Quarantined is a node that this host has, with its disks, and that the mesh has made
// anew elsewhere, or is about to. It stays off until somebody says that it may go.
type Quarantined struct {
	UUID, Name, Driver string
	// Epoch is that of the placement which it is from.
	Epoch uint64
	Power state.Power
}

// Quarantine returns what was in quarantine at the last pass, by name.
func (h *Host) Quarantine() []Quarantined {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.quarantine)
}

// noteQuarantine remembers what there is of nodes that the mesh has elsewhere, and of nodes
// placed here that ran elsewhere since.
func (h *Host) noteQuarantine(w want, now have) {
	old := map[string]bool{}
	for _, n := range w.nodes {
		if _, i, ok := now.find(n.UUID); ok && stale(n, i) {
			old[n.UUID] = true
		}
	}
	var list []Quarantined
	for _, in := range slices.Sorted(maps.Keys(now.instances)) {
		for uuid, i := range now.instances[in] {
			if old[uuid] || w.elsewhere[uuid] && !w.discard[uuid] && !w.coming[uuid] && i.Epoch <= w.index {
				list = append(list, Quarantined{UUID: uuid, Name: i.Name, Driver: in, Epoch: i.Epoch, Power: i.Power})
			}
		}
	}
	slices.SortFunc(list, func(a, b Quarantined) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID)) })
	h.mu.Lock()
	h.quarantine = list
	h.mu.Unlock()
	h.fence.mu.Lock()
	defer h.fence.mu.Unlock()
	h.fence.stale = old
}

// DeleteQuarantined deletes a node in quarantine, with its disks. Errors:
// state.ErrNotFound if it is not there, or no longer in quarantine; state.ErrBusy.
func (h *Host) DeleteQuarantined(ctx context.Context, uuid string) error {
	list := h.Quarantine()
	at := slices.IndexFunc(list, func(q Quarantined) bool { return q.UUID == uuid })
	if at < 0 {
		return fmt.Errorf("node %s: %w in quarantine on this host", uuid, state.ErrNotFound)
	}
	q := list[at]
	instances, err := h.instances(ctx, q.Driver)
	if err != nil {
		return fmt.Errorf("node %s: %w", q.Name, err)
	}
	i, exists := instances[uuid]
	snap, _ := h.cfg.Source.Snapshot()
	n, known := snap.Node(uuid)
	here := known && n.Placement != nil && n.Placement.Hypervisor == h.cfg.Hypervisor
	// What is here now may be another than at the last pass.
	if exists && (i.Epoch != q.Epoch || !known || here && !stale(n, i)) {
		return fmt.Errorf("node %s: %w in quarantine on this host any longer", q.Name, state.ErrNotFound)
	}
	if err := h.call(q.Driver, func(d driver.Driver) error { return d.Remove(ctx, uuid) }); err != nil {
		return fmt.Errorf("node %s: delete: %w", q.Name, err)
	}
	h.wakeSoon()
	return nil
}
