// Package reconcile is the one loop that every reconciler of Tenks runs in: call
// me with the newest snapshot when something changed, now and then anyway, and
// sooner after an error. It is level-triggered: no event is ever the only carrier
// of a fact. Run blocks until its context ends; it starts no goroutine.
package reconcile

import (
	"context"
	"log/slog"
	"time"

	"tenks/raftfsm/state"
)

// A Source gives the newest snapshot, and a channel that is closed once there is a
// newer one.
type Source interface {
	Snapshot() (*state.Snapshot, <-chan struct{})
}

// Loop calls Do again and again. Its fields must be set before Run and not changed
// after.
type Loop struct {
	// Name is for the log.
	Name   string
	Source Source
	// Do makes the world match the snapshot. It may be repeated at any time.
	Do func(ctx context.Context, snap *state.Snapshot) error
	// Period is the longest time between two calls when nothing changed.
	Period time.Duration
	// Next is asked after each call for the longest time until the next one, in the place of
	// Period. May be nil.
	Next func() time.Duration
	// Least is the shortest time between two calls, so that a burst of changes is one; but no
	// longer than Next or Retry say. Zero: none.
	Least time.Duration
	// Retry is the time until the next call after an error.
	Retry time.Duration
	// Wake asks for a call at once when it can be received from. May be nil.
	Wake <-chan struct{}
	Log  *slog.Logger
}

// Run calls Do until ctx ends; it returns nil then.
func (l *Loop) Run(ctx context.Context) error {
	for {
		snap, changed := l.Source.Snapshot()
		err := l.Do(ctx, snap)
		wait, wake := l.Period, l.Wake
		if l.Next != nil {
			wait = l.Next()
		}
		if err != nil && ctx.Err() == nil {
			l.Log.WarnContext(ctx, "reconcile failed; will retry", "loop", l.Name, "index", snap.Index(), "in", l.Retry, "err", err)
			wait, changed, wake = l.Retry, nil, nil
		}
		least := min(l.Least, wait)
		if least > 0 && !pause(ctx, least, nil, nil) || !pause(ctx, wait-least, changed, wake) {
			return nil
		}
	}
}

// pause waits until a time has passed, or one of the channels can be received from. It reports whether ctx is alive.
func pause(ctx context.Context, wait time.Duration, changed, wake <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-wake:
	case <-timer.C:
	}
	return ctx.Err() == nil
}
