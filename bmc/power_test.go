package bmc_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestPowerWhenFree(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		errs []error
		want error
		took time.Duration
	}{
		"free":              {nil, nil, 0},
		"busy for a while":  {[]error{state.ErrBusy, state.ErrBusy, state.ErrBusy}, nil, 300 * time.Millisecond},
		"busy, then broken": {[]error{state.ErrBusy, broken}, broken, 100 * time.Millisecond},
		"busy for too long": {slicesOf(state.ErrBusy, 100), state.ErrBusy, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &control{Chassis: bmctest.NewChassis(), errs: tt.errs}
				began := time.Now()
				if err := bmc.PowerWhenFree(t.Context(), c, state.ActionOn, time.Second); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func slicesOf(err error, n int) (out []error) {
	for range n {
		out = append(out, err)
	}
	return out
}

// control fails with errs, one after the other.
type control struct {
	*bmctest.Chassis
	errs []error
}

func (c *control) Power(ctx context.Context, action state.PowerAction) error {
	if len(c.errs) > 0 {
		err := c.errs[0]
		c.errs = c.errs[1:]
		return err
	}
	return c.Chassis.Power(ctx, action)
}
