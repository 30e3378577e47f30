package pdu

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

func TestOutletsCutPowerAndGiveItBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		bare, on bool
		policy   state.RestorePolicy
		commands []Command
		want     state.Power
		wantOn   bool
	}{
		{"a bare node that is off has its outlet off", true, false, state.RestorePrevious, nil, state.PowerOff, false},
		{"and on when it is on", true, true, state.RestorePrevious, nil, state.PowerOn, true},
		{"another one's outlet is on", false, false, state.RestorePrevious, nil, state.PowerOff, true},
		{"off cuts", false, true, state.RestorePrevious, []Command{Off}, state.PowerOff, false},
		{"off twice", false, true, state.RestorePrevious, []Command{Off, Off}, state.PowerOff, false},
		{"what ran runs again", false, true, state.RestorePrevious, []Command{Off, On}, state.PowerOn, true},
		{"also after two times off", false, true, state.RestorePrevious, []Command{Off, Off, On}, state.PowerOn, true},
		{"what did not run does not", false, false, state.RestorePrevious, []Command{Off, On}, state.PowerOff, true},
		{"always on", false, false, state.RestoreOn, []Command{Off, On}, state.PowerOn, true},
		{"always off", false, true, state.RestoreOff, []Command{Off, On}, state.PowerOff, true},
		{"a bare node starts", true, false, state.RestoreOff, []Command{On}, state.PowerOn, true},
		{"a bare node starts again", true, false, state.RestoreOff, []Command{Off, On}, state.PowerOn, true},
		{"on where it is on changes nothing", false, false, state.RestoreOn, []Command{On}, state.PowerOff, true},
		{"a reboot of what runs", false, true, state.RestorePrevious, []Command{Reboot}, state.PowerOn, true},
		{"a reboot of what is to stay off", false, true, state.RestoreOff, []Command{Reboot}, state.PowerOff, true},
		{"a reboot of what does not run", false, false, state.RestorePrevious, []Command{Reboot}, state.PowerOff, true},
		{"a reboot of what is off and always on", false, false, state.RestoreOn, []Command{Reboot}, state.PowerOn, true},
		{"a reboot of an outlet that is off", false, true, state.RestorePrevious, []Command{Off, Reboot}, state.PowerOn, true},
		{"a reboot of a bare node", true, false, state.RestoreOff, []Command{Reboot}, state.PowerOn, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			chassis := bmctest.NewChassis()
			if err := chassis.SetRestorePolicy(t.Context(), c.policy); err != nil {
				t.Fatal(err)
			}
			if c.on {
				if err := chassis.Power(t.Context(), state.ActionOn); err != nil {
					t.Fatal(err)
				}
			}
			p := Plug{Chassis: chassis, Bare: c.bare}
			for _, command := range c.commands {
				if err := p.Turn(t.Context(), command); err != nil {
					t.Fatalf("%s: %v", command, err)
				}
			}
			boot := chassis.Status().Boot
			if started := c.bare && len(c.commands) > 0; started != (boot.Device == state.BootPXE && boot.Persistent) {
				t.Errorf("it boots %+v", boot)
			}
			if power := chassis.Status().Power; power != c.want || p.IsOn() != c.wantOn {
				t.Errorf("the node is %s and the outlet on: %t, want %s and %t", power, p.IsOn(), c.want, c.wantOn)
			}
		})
	}
}

// stubborn is a chassis that is busy until some time.
type stubborn struct {
	bmc.Chassis
	until time.Time
}

func (s stubborn) Power(ctx context.Context, action state.PowerAction) error {
	if time.Now().Before(s.until) {
		return state.ErrBusy
	}
	return s.Chassis.Power(ctx, action)
}

func TestAnOutletWaitsForAChassisThatIsBusy(t *testing.T) { synctest.Test(t, waitsForBusyChassis) }

func waitsForBusyChassis(t *testing.T) {
	chassis := bmctest.NewChassis()
	if err := chassis.Power(t.Context(), state.ActionOn); err != nil {
		t.Fatal(err)
	}
	p := Plug{Chassis: stubborn{chassis, time.Now().Add(time.Hour)}}
	if err := p.Turn(t.Context(), Off); !errors.Is(err, state.ErrBusy) || !p.IsOn() || IsCut(chassis) {
		t.Errorf("%v, on %t", err, p.IsOn())
	}
	p.Chassis = stubborn{chassis, time.Now().Add(bmc.PowerPatience / 2)}
	if err := p.Turn(t.Context(), Off); err != nil || p.IsOn() || chassis.Status().Power != state.PowerOff {
		t.Errorf("busy for a while: %v, on %t", err, p.IsOn())
	}
	if err := p.Turn(t.Context(), "explode"); !errors.Is(err, state.ErrUnsupported) {
		t.Errorf("an unknown command: %v", err)
	}
}
