package daemon

import (
	"context"
	"time"

	"tenks/raftfsm/state"
)

// Losing peers. A new leader waits before it takes a peer for lost: until then their
// leases were with another.
const (
	lostAfter = 15 * time.Second
	lostGrace = 20 * time.Second
	lostEvery = time.Second
)

// watchPeers marks peers whose lease has ended, and those that are back, and has nodes of
// lost ones made anew, for as long as this peer leads.
func (a *agent) watchPeers(ctx context.Context) error {
	for ctx.Err() == nil {
		last, since, leads := a.mesh.Leases()
		if leads {
			snap, _ := a.source.Snapshot()
			now := time.Now()
			a.rebuild(ctx, overdue(snap, last, since, now))
			c := judge(snap, last, since, now)
			if len(c.Lost)+len(c.Found) > 0 {
				if _, err := a.propose(ctx, "", c); err != nil && ctx.Err() == nil {
					a.log.WarnContext(ctx, "lost peers not recorded; will retry", "err", err)
				}
			}
		}
		timer := time.NewTimer(lostEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

// judge says which peers are lost and which are back, by when they last renewed
// their lease with a leader that leads since a time.
func judge(snap *state.Snapshot, last map[string]time.Time, since, now time.Time) state.MarkPeers {
	var c state.MarkPeers
	for _, p := range snap.Peers() {
		if p.Removed {
			continue
		}
		renewed, here := last[p.ID]
		switch {
		case here && now.Sub(renewed) <= lostAfter:
			if p.Lost {
				c.Found = append(c.Found, p.ID)
			}
		case now.Sub(since) <= lostGrace:
			// It may not have found this leader yet.
		case !p.Lost:
			c.Lost = append(c.Lost, p.ID)
		}
	}
	return c
}
