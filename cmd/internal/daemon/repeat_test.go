package daemon

import (
	"context"
	"errors"
	"testing"

	"tenks/cluster"
)

func TestAProposalThatMayHaveBeenMadeIsNeverSaidNotToBe(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		answers []error
		want    error
		calls   int
	}{
		"made":                               {[]error{nil}, nil, 1},
		"not made":                           {[]error{cluster.ErrNotLeader}, cluster.ErrNotLeader, 1},
		"made, as a repeat says":             {[]error{cluster.ErrUnknown, nil}, nil, 2},
		"unknown, then nobody leads":         {[]error{cluster.ErrUnknown, cluster.ErrNotLeader}, cluster.ErrUnknown, 2},
		"unknown, then something else":       {[]error{cluster.ErrUnknown, broken}, cluster.ErrUnknown, 2},
		"unknown, however often it is asked": {[]error{cluster.ErrUnknown}, cluster.ErrUnknown, 1 + proposeTries},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			_, err := repeated(t.Context(), func(context.Context) (any, error) {
				calls++
				return nil, c.answers[min(calls, len(c.answers))-1]
			})
			if !errors.Is(err, c.want) || c.want == nil && err != nil || errors.Is(err, cluster.ErrNotLeader) != errors.Is(c.want, cluster.ErrNotLeader) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if calls != c.calls {
				t.Errorf("%d proposals, want %d", calls, c.calls)
			}
		})
	}
}
