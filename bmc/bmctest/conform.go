package bmctest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// settle bounds how long a chassis may take until it shows what was asked for.
const settle = 30 * time.Second

// Conform checks that a chassis keeps the contract of bmc.Chassis. newChassis
// returns a chassis that is off and has no override, a fresh one for each call;
// it registers its own clean-up.
func Conform(t *testing.T, newChassis func(t *testing.T) bmc.Chassis) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c bmc.Chassis)
	}{
		{"power goes on and off, and repeating either is no error", powersOnAndOff},
		{"an off chassis refuses what needs power", refusesWhenOff},
		{"reset and cycle leave it on", restarts},
		{"soft and diag reach a running guest", reachesGuest},
		{"an override for the next boot is gone once used", usesOverrideOnce},
		{"a persistent override stays", keepsPersistentOverride},
		{"an override can be taken back", takesOverrideBack},
		{"a restore policy is kept", keepsPolicy},
		{"what it is to keep is kept", keepsMemory},
		{"it tells every subscriber what happens, in order", tellsEvents},
		{"it says what it consists of", saysHardware},
		{"several consoles are attached while it is on", attachesConsoles},
		{"its drive takes media and lets go of them", func(t *testing.T, c bmc.Chassis) { hasDrive(t, c, state.BootCDROM) }},
		{"its USB port takes sticks and lets go of them", func(t *testing.T, c bmc.Chassis) { hasDrive(t, c, state.BootUSB) }},
		{"its drives are two", hasTwoDrives},
		{"a request whose context has ended returns", returnsWhenCancelled},
		{"it may be used by many at a time", isConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newChassis(t)) })
	}
}

// ask repeats a request while the chassis is busy.
func ask(t *testing.T, what string, request func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	for {
		err := request(ctx)
		if !errors.Is(err, state.ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: still busy after %v", what, settle)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func power(t *testing.T, c bmc.Chassis, action state.PowerAction) {
	t.Helper()
	if err := ask(t, string(action), func(ctx context.Context) error { return c.Power(ctx, action) }); err != nil {
		t.Fatalf("power %s: %v", action, err)
	}
}

func boot(t *testing.T, c bmc.Chassis, b state.Boot) {
	t.Helper()
	if err := ask(t, "set boot", func(ctx context.Context) error { return c.SetBoot(ctx, b) }); err != nil {
		t.Fatalf("set boot %+v: %v", b, err)
	}
}

// eventually polls Status until ok holds.
func eventually(t *testing.T, c bmc.Chassis, what string, ok func(bmc.Status) bool) {
	t.Helper()
	deadline := time.Now().Add(settle)
	for !ok(c.Status()) {
		if time.Now().After(deadline) {
			t.Fatalf("status %+v after %v: want %s", c.Status(), settle, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func isOn(s bmc.Status) bool  { return s.Power == state.PowerOn }
func isOff(s bmc.Status) bool { return s.Power == state.PowerOff }

func powersOnAndOff(t *testing.T, c bmc.Chassis) {
	t.Helper()
	eventually(t, c, "off at first", isOff)
	power(t, c, state.ActionOff)
	for range 2 {
		power(t, c, state.ActionOn)
		eventually(t, c, "on", isOn)
	}
	if !c.Status().LastOnByCommand {
		t.Errorf("status %+v: want the last power-on to be by command", c.Status())
	}
	for range 2 {
		power(t, c, state.ActionOff)
		eventually(t, c, "off", isOff)
	}
}

func refusesWhenOff(t *testing.T, c bmc.Chassis) {
	t.Helper()
	for _, action := range []state.PowerAction{state.ActionReset, state.ActionCycle, state.ActionSoft, state.ActionDiag} {
		err := ask(t, string(action), func(ctx context.Context) error { return c.Power(ctx, action) })
		if !errors.Is(err, state.ErrWrongState) && !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("power %s when off: got %v, want %v", action, err, state.ErrWrongState)
		}
	}
	if !isOff(c.Status()) {
		t.Errorf("status %+v: want off still", c.Status())
	}
}

func restarts(t *testing.T, c bmc.Chassis) {
	t.Helper()
	power(t, c, state.ActionOn)
	for _, action := range []state.PowerAction{state.ActionReset, state.ActionCycle} {
		power(t, c, action)
		eventually(t, c, "on after "+string(action), isOn)
	}
}

func reachesGuest(t *testing.T, c bmc.Chassis) {
	t.Helper()
	power(t, c, state.ActionOn)
	eventually(t, c, "on", isOn)
	for _, action := range []state.PowerAction{state.ActionDiag, state.ActionSoft} {
		err := ask(t, string(action), func(ctx context.Context) error { return c.Power(ctx, action) })
		if err != nil && !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("power %s when on: %v", action, err)
		}
	}
}

func usesOverrideOnce(t *testing.T, c bmc.Chassis) {
	t.Helper()
	used := func(s bmc.Status) bool { return s.Boot.Device == state.BootNone }
	want := state.Boot{Device: state.BootPXE, EFI: true}
	for _, start := range []state.PowerAction{state.ActionOn, state.ActionReset, state.ActionCycle} {
		boot(t, c, want)
		if got := c.Status().Boot; got != want {
			t.Fatalf("override before %s: got %+v, want %+v", start, got, want)
		}
		power(t, c, start)
		eventually(t, c, "the override used by "+string(start), used)
	}
}

func keepsPersistentOverride(t *testing.T, c bmc.Chassis) {
	t.Helper()
	want := state.Boot{Device: state.BootDisk, Persistent: true}
	boot(t, c, want)
	for _, start := range []state.PowerAction{state.ActionOn, state.ActionCycle} {
		power(t, c, start)
		eventually(t, c, "on", isOn)
		if got := c.Status().Boot; got != want {
			t.Errorf("override after %s: got %+v, want %+v", start, got, want)
		}
	}
}

func takesOverrideBack(t *testing.T, c bmc.Chassis) {
	t.Helper()
	for _, device := range []state.BootDevice{state.BootCDROM, state.BootUSB} {
		if bmc.DriveOf(c, device) == nil {
			continue
		}
		want := state.Boot{Device: device, Persistent: true}
		boot(t, c, want)
		if got := c.Status().Boot; got != want {
			t.Errorf("override: got %+v, want %+v", got, want)
		}
		boot(t, c, state.Boot{})
		if got := c.Status().Boot.Device; got != state.BootNone {
			t.Errorf("boot device: got %q, want none", got)
		}
	}
}

func keepsPolicy(t *testing.T, c bmc.Chassis) {
	t.Helper()
	for _, want := range []state.RestorePolicy{state.RestoreOn, state.RestoreOff, state.RestorePrevious} {
		err := ask(t, "restore policy", func(ctx context.Context) error { return c.SetRestorePolicy(ctx, want) })
		if err != nil {
			t.Fatalf("set restore policy %s: %v", want, err)
		}
		if got := c.Status().Policy; got != want {
			t.Errorf("restore policy: got %s, want %s", got, want)
		}
	}
}

func returnsWhenCancelled(t *testing.T, c bmc.Chassis) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Power(ctx, state.ActionOn) // any result will do
	}()
	select {
	case <-done:
	case <-time.After(settle):
		t.Fatalf("power on with an ended context: still waiting after %v", settle)
	}
}

func isConcurrent(t *testing.T, c bmc.Chassis) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), settle)
			defer cancel()
			for range 20 {
				_ = c.Status()
			}
			actions := []state.PowerAction{state.ActionOn, state.ActionOff}
			err := c.Power(ctx, actions[i%2])
			if err != nil && !errors.Is(err, state.ErrBusy) {
				t.Errorf("power %s beside others: %v", actions[i%2], err)
			}
		})
	}
	wg.Wait()
	power(t, c, state.ActionOff)
	eventually(t, c, "off", isOff)
}
