package ipmi

import (
	"slices"
	"testing"
	"time"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestTheReaderWakesUpForTheWatchdog(t *testing.T) {
	chassis := bmctest.NewChassis()
	chassis.SetPower(state.PowerOn)
	s := listen(t, chassis)
	c := newConsole(dial(t, s.Addr(), patience).ask)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	for _, q := range [][]byte{{0x3b, 4}, {0x24, 2, 1, 0, 0, 1, 0}, {0x22}} {
		if code, _, err := c.command(6, q[0], q[1:]...); code != 0 || err != nil {
			t.Fatalf("command % x: code %02x, %v", q, byte(code), err)
		}
	}
	for deadline := time.Now().Add(patience); !slices.Equal(chassis.Actions(), []state.PowerAction{state.ActionReset}); {
		if time.Now().After(deadline) {
			t.Fatalf("actions %v after the countdown: %v", patience, chassis.Actions())
		}
		<-time.After(time.Millisecond)
	}
}

func TestTheWatchdogsRestartIsNotTakenForALaterOne(t *testing.T) {
	l := newLab(t)
	l.chassis.SetPower(state.PowerOn)
	c := l.loggedIn(4)
	cause := func() byte {
		t.Helper()
		code, data, err := c.command(0, 7)
		if code != 0 || err != nil {
			t.Fatalf("restart cause: code %02x, %v", byte(code), err)
		}
		return data[0]
	}
	// Power down, by the watchdog; then up, by command.
	for _, q := range [][]byte{{6, 0x24, 2, 2, 0, 0, 1, 0}, {6, 0x22}} {
		if code, _, err := c.command(q[0], q[1], q[2:]...); code != 0 || err != nil {
			t.Fatalf("command % x: code %02x, %v", q, byte(code), err)
		}
	}
	l.wait(time.Second)
	if got := l.chassis.Status().Power; got != state.PowerOff {
		t.Fatalf("power after the countdown: %s", got)
	}
	if code, _, err := c.command(0, 2, 1); code != 0 || err != nil {
		t.Fatalf("power on: code %02x, %v", byte(code), err)
	}
	if got := cause(); got != causeCommand {
		t.Errorf("cause %d, want %d", got, causeCommand)
	}
}
