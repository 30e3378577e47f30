package daemon

import (
	"context"
	"fmt"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// Quarantine implements api.Quarantine.
func (a *agent) Quarantine() []api.Quarantined {
	var out []api.Quarantined
	for _, q := range a.host.Quarantine() {
		out = append(out, api.Quarantined{UUID: q.UUID, Name: q.Name, Driver: q.Driver, Epoch: q.Epoch, Power: string(q.Power)})
	}
	return out
}

// DeleteQuarantined implements api.Quarantine.
func (a *agent) DeleteQuarantined(ctx context.Context, uuid string) error {
	return a.host.DeleteQuarantined(ctx, uuid)
}

// Clear implements api.Quarantine.
func (a *agent) Clear(ctx context.Context, peer string, force bool) error {
	if peer != a.mesh.ID() {
		return fmt.Errorf("clear: %w: this is peer %s, and %q was meant", state.ErrRefused, a.mesh.ID(), peer)
	}
	if !force {
		// The peer leaves: no node is placed here any longer, and none begins to move here.
		// One that was on its way may have arrived since somebody looked.
		snap, _ := a.source.Snapshot()
		if _, ok := snap.Hypervisor(peer); ok { // else nothing was ever to be here
			if err := a.confirm(ctx); err != nil {
				return fmt.Errorf("clear: %w", err)
			}
			snap, _ = a.source.Snapshot()
		}
		if err := mayClear(snap, peer, len(a.host.Quarantine())); err != nil {
			return fmt.Errorf("clear: %w", err)
		}
	}
	return a.host.Clear(ctx)
}

// mayClear says why a host may not be cleared without force; kept are nodes that are in
// quarantine there.
func mayClear(snap *state.Snapshot, id string, kept int) error {
	switch nodes, coming := len(snap.NodesOn(id)), len(snap.MovingTo(id)); {
	case nodes > 0:
		return fmt.Errorf("%w: %d nodes are on this host: tenks peer drain, or --force to have them made anew on others, with empty disks", state.ErrRefused, nodes)
	case coming > 0:
		return fmt.Errorf("%w: %d nodes are moving to this host: try again once tenks node list says that they do not", state.ErrRefused, coming)
	case kept > 0:
		return fmt.Errorf("%w: this host keeps disks of %d nodes that are elsewhere now: see tenks host quarantine; or --force to have them deleted", state.ErrRefused, kept)
	}
	return nil
}

// checkQuarantine names what is in quarantine on this host.
func (a *agent) checkQuarantine() []api.Check {
	var out []api.Check
	if a.host.Cleared() {
		out = append(out, api.Check{Name: "leaving", State: "warning", Detail: "this host was cleared to leave the mesh, and makes no nodes any longer",
			Fix: "tenks leave on this host goes on with it"})
	}
	for _, q := range a.host.Quarantine() {
		out = append(out, api.Check{Name: "quarantine " + q.Name, State: "warning",
			Detail: fmt.Sprintf("the mesh has the node elsewhere, and this host keeps it, off, with its disks of epoch %d", q.Epoch),
			Fix:    "tenks host quarantine delete " + q.Name + " deletes its disks here"})
	}
	return out
}
