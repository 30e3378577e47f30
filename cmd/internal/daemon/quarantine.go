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
func (a *agent) Clear(ctx context.Context, peer string) error {
	if peer != a.mesh.ID() {
		return fmt.Errorf("clear: %w: this is peer %s, and %q was meant", state.ErrRefused, a.mesh.ID(), peer)
	}
	return a.host.Clear(ctx)
}

// checkQuarantine names what is in quarantine on this host.
func (a *agent) checkQuarantine() []api.Check {
	var out []api.Check
	for _, q := range a.host.Quarantine() {
		out = append(out, api.Check{Name: "quarantine " + q.Name, State: "warning",
			Detail: fmt.Sprintf("the mesh has the node elsewhere, and this host keeps it, off, with its disks of epoch %d", q.Epoch),
			Fix:    "tenks host quarantine delete " + q.Name + " deletes its disks here"})
	}
	return out
}
