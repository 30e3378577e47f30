package hostops

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// withNode runs a test on a host that runs, with one node "a".
func withNode(t *testing.T, test func(t *testing.T, e *env, c *Chassis)) {
	t.Helper()
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		e.phase("a", state.HostReady)
		test(t, e, e.chassis("a"))
	})
}

// calls fails the test unless these power calls were made.
func (e *env) calls(want ...string) {
	e.t.Helper()
	if got := e.nodes.powers(); !slices.Equal(got, want) {
		e.t.Fatalf("power calls %v, want %v", got, want)
	}
}

func (e *env) boot(uuid string, b state.Boot) {
	e.t.Helper()
	if err := e.chassis(uuid).SetBoot(e.t.Context(), b); err != nil {
		e.t.Fatal(err)
	}
}

func TestPowerActionsDependOnThePowerState(t *testing.T) {
	for _, row := range []struct {
		action state.PowerAction
		from   state.Power
		err    error
		call   string
	}{
		{state.ActionOn, state.PowerOff, nil, "on a"},
		{state.ActionOn, state.PowerOn, nil, ""},
		{state.ActionOff, state.PowerOff, nil, ""},
		{state.ActionOff, state.PowerOn, nil, "off a"},
		{state.ActionSoft, state.PowerOff, state.ErrWrongState, ""},
		{state.ActionSoft, state.PowerOn, nil, "soft a"},
		{state.ActionCycle, state.PowerOff, state.ErrWrongState, ""},
		{state.ActionCycle, state.PowerOn, nil, "cycle a"},
		{state.ActionReset, state.PowerOff, state.ErrWrongState, ""},
		{state.ActionReset, state.PowerOn, nil, "reset a"},
		{state.ActionDiag, state.PowerOff, state.ErrWrongState, ""},
		{state.ActionDiag, state.PowerOn, nil, "diag a"},
		{"fly", state.PowerOn, state.ErrUnsupported, ""},
	} {
		t.Run(string(row.action)+" when "+string(row.from), func(t *testing.T) {
			withNode(t, func(t *testing.T, e *env, c *Chassis) {
				e.nodes.change("a", row.from, driver.CauseRequest)
				elapse(time.Second)
				if err := c.Power(t.Context(), row.action); !errors.Is(err, row.err) {
					t.Errorf("got %v, want %v", err, row.err)
				}
				if row.call == "" {
					e.calls()
				} else {
					e.calls(row.call)
				}
			})
		})
	}
}

func TestPowerIsBusyUntilItIsKnown(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		if err := e.chassis("a").Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) {
			t.Errorf("power before the first pass: %v, want busy", err)
		}
		if _, ok := e.host.Chassis("b"); ok {
			t.Error("a node that is not placed here has a chassis")
		}
	})
}

func TestASlowDriverKeepsTheClientOnlyAMoment(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.delay = 5 * time.Second
		began := time.Now()
		if err := c.Power(t.Context(), state.ActionOn); err != nil || time.Since(began) != powerWait {
			t.Errorf("power on: %v after %v, want nil after %v", err, time.Since(began), powerWait)
		}
		if err := c.Power(t.Context(), state.ActionOff); !errors.Is(err, state.ErrBusy) {
			t.Errorf("power off meanwhile: %v, want busy", err)
		}
		if err := c.Power(t.Context(), state.ActionOn); err != nil {
			t.Errorf("power on meanwhile: %v, want it to join", err)
		}
		elapse(5 * time.Second)
		if got := c.Status(); got.Power != state.PowerOn || !got.LastOnByCommand {
			t.Errorf("status %+v, want on by command", got)
		}
		e.calls("on a")
	})
}

// A driver reports a start before its call returns, on a busy host seconds before.
func TestPowerThatIsSeenOutlivesAPowerCutAtThatMoment(t *testing.T) {
	for name, tt := range map[string]struct {
		action state.PowerAction
		event  state.Power
		want   state.Power
	}{
		"on":                           {state.ActionOn, state.PowerOn, state.PowerOn},
		"off":                          {state.ActionOff, state.PowerOff, state.PowerOff},
		"off, in the midst of a cycle": {state.ActionCycle, state.PowerOff, state.PowerOn},
	} {
		t.Run(name, func(t *testing.T) {
			withNode(t, func(t *testing.T, e *env, c *Chassis) {
				if tt.action != state.ActionOn {
					if err := c.Power(t.Context(), state.ActionOn); err != nil {
						t.Fatal(err)
					}
					elapse(10 * time.Second)
				}
				e.nodes.delay = 5 * time.Second
				if err := c.Power(t.Context(), tt.action); err != nil {
					t.Fatal(err)
				}
				e.nodes.change("a", tt.event, driver.CauseRequest)
				elapse(50 * time.Millisecond)
				if got := c.Status().Power; got != tt.event {
					t.Errorf("shown is %s, want %s", got, tt.event)
				}
				rows, err := e.host.store.rows()
				if got := rows["a"].Power; err != nil || got != tt.want {
					t.Errorf("on disk is %q, %v; want %q", got, err, tt.want)
				}
			})
		})
	}
}

func TestABusyDriverIsAskedAgainUntilANewerAction(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.failWith(func(op, _ string) error {
			if op == "power" {
				return state.ErrBusy
			}
			return nil
		})
		if err := c.Power(t.Context(), state.ActionOn); err != nil {
			t.Errorf("power on: %v, want it under way", err)
		}
		elapse(10 * time.Second)
		tries := len(e.nodes.powers())
		if tries < 5 {
			t.Errorf("%d tries in 10 s, want at least 5", tries)
		}
		e.nodes.failWith(nil)
		if err := c.Power(t.Context(), state.ActionOff); err != nil {
			t.Errorf("power off: %v", err)
		}
		elapse(time.Minute)
		if got := e.nodes.powers(); got[len(got)-1] != "off a" || e.nodes.power("a") != state.PowerOff {
			t.Errorf("calls %v, node is %s: want off to be the last", got, e.nodes.power("a"))
		}
	})
}

func TestARequestToABusyDriverEndsAfterTwoMinutes(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.failWith(func(string, string) error { return state.ErrBusy })
		e.power("a", state.ActionOn)
		elapse(3 * time.Minute)
		tries := len(e.nodes.powers())
		elapse(time.Minute)
		if got := len(e.nodes.powers()); got != tries {
			t.Errorf("%d tries after %d: it goes on", got, tries)
		}
	})
}

func TestAnUnhealthyDriverIsBusyAtOnce(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.lose(errors.New("hung"))
		began := time.Now()
		if err := c.Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) || time.Since(began) != 0 {
			t.Errorf("power on: %v after %v, want busy at once", err, time.Since(began))
		}
		if err := c.SetBoot(t.Context(), state.Boot{Device: state.BootPXE}); err != nil {
			t.Errorf("set boot: %v, want it to work without the driver", err)
		}
	})
}

func TestManyClientsLeaveAChassisInAState(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.delay = 10 * time.Millisecond
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for range 10 {
					a := []state.PowerAction{state.ActionOn, state.ActionOff}[i%2]
					if err := c.Power(t.Context(), a); err != nil && !errors.Is(err, state.ErrBusy) {
						t.Errorf("power %s: %v", a, err)
					}
					<-time.After(3 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		elapse(5 * time.Second)
		if c.Status().Power != e.nodes.power("a") || e.nodes.busiest > 1 {
			t.Errorf("chassis says %s, node is %s, %d calls at a time", c.Status().Power, e.nodes.power("a"), e.nodes.busiest)
		}
	})
}

func TestAnOverrideForOneBootIsUsedOnce(t *testing.T) {
	once, always := state.Boot{Device: state.BootPXE, EFI: true}, state.Boot{Device: state.BootCDROM, Persistent: true}
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", once)
		e.power("a", state.ActionOn)
		if got := c.Status().Boot; got != (state.Boot{}) {
			t.Errorf("override after the boot: %+v, want none", got)
		}
		e.power("a", state.ActionCycle)
		e.boot("a", once)
		e.power("a", state.ActionReset)
		elapse(5 * time.Second) // the reboot that the reset causes is no guest's
		e.boot("a", always)
		e.power("a", state.ActionCycle)
		e.power("a", state.ActionCycle)
		e.calls("on a pxe", "cycle a", "reset a pxe", "cycle a cdrom", "cycle a cdrom")
		if got := c.Status().Boot; got != always {
			t.Errorf("persistent override after boots: %+v", got)
		}
	})
}

func TestAFailedStartDoesNotUseTheOverrideUp(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", state.Boot{Device: state.BootPXE})
		e.nodes.failWith(func(op, _ string) error { return errors.New("no memory") })
		if err := c.Power(t.Context(), state.ActionOn); err == nil || !strings.Contains(err.Error(), "no memory") {
			t.Errorf("power on: %v, want the driver's error", err)
		}
		e.nodes.failWith(nil)
		e.power("a", state.ActionOn)
		e.calls("on a pxe", "on a pxe")
	})
}

func TestAnOverrideSetDuringAStartIsForTheNext(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", state.Boot{Device: state.BootPXE})
		e.nodes.delay = 2 * time.Second
		e.power("a", state.ActionOn)
		e.boot("a", state.Boot{Device: state.BootPXE})
		elapse(5 * time.Second)
		if got := c.Status().Boot.Device; got != state.BootPXE {
			t.Errorf("override: %q, want the new one still there", got)
		}
	})
}

func TestAGuestsRebootEndsAnOrderForOneBoot(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", state.Boot{Device: state.BootPXE})
		e.power("a", state.ActionOn)
		elapse(5 * time.Second)
		e.nodes.reboot("a")
		elapse(5 * time.Second)
		e.nodes.reboot("a")
		elapse(5 * time.Second)
		e.calls("on a pxe", "cycle a")
		if c.Status().LastOnByCommand {
			t.Error("a restart of the guest counts as a command")
		}
	})
}

func TestAGuestsRebootWithTheSameOrderIsLeftAlone(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", state.Boot{Device: state.BootPXE, Persistent: true})
		e.power("a", state.ActionOn)
		elapse(5 * time.Second)
		e.nodes.reboot("a")
		elapse(5 * time.Second)
		e.calls("on a pxe")
	})
}

func TestChassisAnswersWithWhatTheDriverReports(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.change("a", state.PowerOn, driver.CauseRequest)
		elapse(50 * time.Millisecond)
		if got := c.Status(); got.Power != state.PowerOn || got.LastOnByCommand {
			t.Errorf("status %+v, want on, not by command", got)
		}
		e.nodes.change("a", state.PowerOff, driver.CauseGuest)
		elapse(50 * time.Millisecond)
		if got := e.host.Power("a"); got != state.PowerOff {
			t.Errorf("power %s, want off", got)
		}
	})
}

func TestOverrideAndPolicyOutliveTheAgent(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		want := state.Boot{Device: state.BootCDROM, Persistent: true, EFI: true}
		e.boot("a", want)
		if err := e.chassis("a").SetRestorePolicy(t.Context(), state.RestoreOn); err != nil {
			t.Fatal(err)
		}
		e.restart()
		if got := e.chassis("a").Status(); got.Boot != want || got.Policy != state.RestoreOn {
			t.Errorf("after a restart: %+v", got)
		}
	})
}

func TestAChassisRefusesWhatIsNoBootDeviceOrPolicy(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		if err := c.SetBoot(t.Context(), state.Boot{Device: "tape"}); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("boot from tape: %v", err)
		}
		if err := c.SetRestorePolicy(t.Context(), "sometimes"); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("restore sometimes: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Power(ctx, state.ActionOn); !errors.Is(err, context.Canceled) {
			t.Errorf("power with an ended context: %v", err)
		}
		e.calls()
	})
}

func TestConsoleSaysWhyItCannotBeHad(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		if _, err := e.host.Console(t.Context(), "b"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("of no node here: %v", err)
		}
		if _, err := e.host.Console(t.Context(), "a"); !errors.Is(err, state.ErrWrongState) {
			t.Errorf("of a node that is off: %v", err)
		}
		e.nodes.lose(errors.New("hung"))
		if _, err := e.host.Console(t.Context(), "a"); !errors.Is(err, state.ErrBusy) {
			t.Errorf("during an outage: %v", err)
		}
	})
}
