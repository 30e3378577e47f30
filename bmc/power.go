package bmc

import (
	"context"
	"errors"
	"time"

	"tenks/raftfsm/state"
)

// PowerPatience is how long clients that do not ask again are kept waiting by
// PowerWhenFree: longer than a power change takes that is under way when they ask, as after
// one that was answered before it was done.
const PowerPatience = 5 * time.Second

// powerPause is the time between two tries.
const powerPause = 100 * time.Millisecond

// PowerWhenFree is c.Power for clients that take state.ErrBusy for a failure: while the
// chassis is busy it is asked again, for as long as patience.
func PowerWhenFree(ctx context.Context, c Control, action state.PowerAction, patience time.Duration) error {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	again := time.NewTicker(powerPause)
	defer again.Stop()
	for {
		err := c.Power(ctx, action)
		if !errors.Is(err, state.ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-enough.C:
			return err
		case <-again.C:
		}
	}
}
