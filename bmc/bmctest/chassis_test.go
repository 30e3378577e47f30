package bmctest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestTheFakeChassisConforms(t *testing.T) {
	bmctest.Conform(t, func(*testing.T) bmc.Chassis { return bmctest.NewChassis() })
}

func TestAFailureIsReturnedOnceAndChangesNothing(t *testing.T) {
	c := bmctest.NewChassis()
	c.FailNext(state.ErrBusy)
	if err := c.Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) {
		t.Errorf("power on: got %v, want %v", err, state.ErrBusy)
	}
	if got := c.Status().Power; got != state.PowerOff {
		t.Errorf("power after a failure: got %s, want off", got)
	}
	if err := c.Power(t.Context(), state.ActionOn); err != nil {
		t.Errorf("power on again: %v", err)
	}
	if got := c.Actions(); !slices.Equal(got, []state.PowerAction{state.ActionOn}) {
		t.Errorf("actions: got %v, want one power on", got)
	}
}

func TestAHeldRequestWaitsForItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bmctest.NewChassis()
		c.HoldNext()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := c.SetBoot(ctx, state.Boot{Device: state.BootPXE}); !errors.Is(err, state.ErrBusy) {
			t.Errorf("set boot: got %v, want %v", err, state.ErrBusy)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("held for %v, want the context's second", took)
		}
	})
}
