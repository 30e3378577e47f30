package daemon

import (
	"context"
	"time"

	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
	"tenks/sched"
)

// schedule places nodes for as long as this peer leads.
func (a *agent) schedule(ctx context.Context) error {
	l := &reconcile.Loop{Name: "sched", Source: a.source, Do: a.place,
		Period: 30 * time.Second, Retry: time.Second, Log: a.log}
	return l.Run(ctx)
}

func (a *agent) place(ctx context.Context, snap *state.Snapshot) error {
	result := sched.Place(snap, nil)
	c := state.PlaceNodes{Placements: result.Placements}
	for _, r := range result.Refusals {
		if n, ok := snap.Node(r.UUID); ok && n.Unplaced != r.Reason {
			c.Refusals = append(c.Refusals, r)
		}
	}
	if len(c.Placements) == 0 && len(c.Refusals) == 0 {
		return nil
	}
	_, err := a.propose(ctx, "", c)
	return err
}
