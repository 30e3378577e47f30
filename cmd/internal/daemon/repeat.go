package daemon

import (
	"context"
	"errors"

	"tenks/cluster"
)

// proposeTries is how often a proposal whose fate is unknown is repeated.
const proposeTries = 3

// repeated makes a proposal, and repeats it while its fate is unknown: its request ID
// makes that harmless, whether or not an earlier one was committed. If it never gets an
// answer its fate stays unknown, also where the last one was certainly not made.
func repeated(ctx context.Context, propose func(context.Context) (any, error)) (any, error) {
	answer, first := propose(ctx)
	err := first
	for tries := 0; errors.Is(err, cluster.ErrUnknown) && ctx.Err() == nil && tries < proposeTries; tries++ {
		answer, err = propose(ctx)
	}
	if err != nil && errors.Is(first, cluster.ErrUnknown) {
		return nil, first
	}
	return answer, err
}
