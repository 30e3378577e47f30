package hostops

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func TestAHostsRebootRestoresPowerByPolicy(t *testing.T) {
	for _, row := range []struct {
		name   string
		policy state.RestorePolicy
		// before brings a node, which is on, into the state that the host leaves it in.
		before func(e *env)
		want   state.Power
	}{
		{"previous starts what was on", state.RestorePrevious, func(*env) {}, state.PowerOn},
		{"previous leaves what a client switched off", state.RestorePrevious, func(e *env) { e.power("a", state.ActionOff) }, state.PowerOff},
		{"previous leaves a guest that shut itself down", state.RestorePrevious, func(e *env) { e.nodes.change("a", state.PowerOff, driver.CauseGuest) }, state.PowerOff},
		{"previous starts what the host took down", state.RestorePrevious, func(e *env) { e.nodes.change("a", state.PowerOff, driver.CauseHost) }, state.PowerOn},
		{"always-on starts what was off", state.RestoreOn, func(e *env) { e.power("a", state.ActionOff) }, state.PowerOn},
		{"always-off leaves what was on", state.RestoreOff, func(*env) {}, state.PowerOff},
	} {
		t.Run(row.name, func(t *testing.T) {
			withNode(t, func(t *testing.T, e *env, c *Chassis) {
				if err := c.SetRestorePolicy(t.Context(), row.policy); err != nil {
					t.Fatal(err)
				}
				e.power("a", state.ActionOn)
				elapse(5 * time.Second)
				row.before(e)
				elapse(5 * time.Second)
				e.rebootHost()
				e.run()
				elapse(5 * time.Second)
				if got := e.nodes.power("a"); got != row.want {
					t.Errorf("after the reboot the node is %s, want %s", got, row.want)
				}
				if got := e.chassis("a").Status(); got.Power != row.want || got.LastOnByCommand && row.want == state.PowerOn {
					t.Errorf("status %+v, want %s, not by command", got, row.want)
				}
				e.phase("a", state.HostReady)
			})
		})
	}
}

func TestARestoreIsMadeOnce(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.power("a", state.ActionOn)
		e.rebootHost()
		e.run()
		elapse(5 * time.Second)
		e.power("a", state.ActionOff)
		e.restart()
		e.run()
		elapse(5 * time.Second)
		e.calls("on a", "on a", "off a")
	})
}

func TestARestoreThatFailsIsTriedAgain(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", state.Boot{Device: state.BootPXE})
		e.power("a", state.ActionOn)
		e.boot("a", state.Boot{Device: state.BootPXE})
		e.rebootHost()
		e.nodes.failWith(func(op, _ string) error {
			if op == "power" {
				return errors.New("no memory")
			}
			return nil
		})
		e.run()
		elapse(10 * time.Second)
		if got := e.node("a").Host.Error; !strings.Contains(got, "no memory") {
			t.Errorf("error %q, want the reason", got)
		}
		if n := len(e.nodes.powers()); n > 7 {
			t.Errorf("%d tries in 10 s", n)
		}
		e.nodes.failWith(nil)
		elapse(20 * time.Second)
		if got := e.nodes.powers(); got[len(got)-1] != "on a pxe" || e.nodes.power("a") != state.PowerOn {
			t.Errorf("calls %v, want it started with the override still in force", got)
		}
		e.phase("a", state.HostReady)
	})
}

func TestAClientsCommandAfterTheRebootCounts(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		e.power("a", state.ActionOn)
		e.rebootHost()
		e.nodes.failWith(func(op, _ string) error {
			if op == "power" {
				return state.ErrBusy
			}
			return nil
		})
		e.mustPass()
		e.power("a", state.ActionOff)
		e.nodes.failWith(nil)
		e.mustPass()
		if got := e.nodes.power("a"); got != state.PowerOff {
			t.Errorf("the node is %s, want off as the client asked", got)
		}
	})
}

func TestARestartOfTheAgentTouchesNoPower(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.place(node("b"), node("v"))
		elapse(5 * time.Second)
		for _, uuid := range []string{"a", "v"} {
			e.power(uuid, state.ActionOn)
		}
		if err := c.SetRestorePolicy(t.Context(), state.RestoreOff); err != nil {
			t.Fatal(err)
		}
		if err := e.chassis("b").SetRestorePolicy(t.Context(), state.RestoreOn); err != nil {
			t.Fatal(err)
		}
		e.close()
		e.nodes.change("v", state.PowerOff, driver.CauseHost)
		e.open()
		e.run()
		elapse(5 * time.Second)
		e.calls("on a", "on v")
		// What vanished while nobody looked is off, also for the next reboot.
		e.rebootHost()
		e.run()
		elapse(5 * time.Second)
		if got := e.nodes.power("v"); got != state.PowerOff {
			t.Errorf("v is %s after the reboot, want off", got)
		}
	})
}

func TestAStartInterruptedByTheAgentsEndUsesTheOverrideIfItHappened(t *testing.T) {
	for _, test := range []struct {
		name     string
		starting state.Power
		now      state.Power
		want     state.BootDevice
	}{
		{"it was off and is on", state.PowerOff, state.PowerOn, state.BootNone},
		{"it was off and still is", state.PowerOff, state.PowerOff, state.BootPXE},
		{"it was on and is: the client, unanswered, asks again", state.PowerOn, state.PowerOn, state.BootPXE},
	} {
		t.Run(test.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, e *env) {
				e.place(node("a"))
				e.mustPass()
				e.boot("a", state.Boot{Device: state.BootPXE})
				if err := e.chassis("a").save(func(r *row) { r.Starting = test.starting }); err != nil {
					t.Fatal(err)
				}
				e.nodes.change("a", test.now, driver.CauseRequest)
				e.restart()
				e.mustPass()
				if got := e.chassis("a").Status().Boot.Device; got != test.want {
					t.Errorf("override %q, want %q", got, test.want)
				}
				if got := e.chassis("a").remembered().Starting; got != "" {
					t.Errorf("still starting: %q", got)
				}
			})
		})
	}
}

func TestStoreKeepsRowsAndRefusesNewerOnes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.db")
	s, err := openStore(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newRow("boot-1")
	r.Boot, r.Started, r.Relinked, r.Restarted = savedBoot{Device: state.BootPXE, EFI: true}, &savedBoot{Device: state.BootDisk}, true, 7
	newer := r
	newer.Version = rowVersion + 1
	if err := errors.Join(s.put("a", r), s.put("b", r), s.drop("b"), s.drop("c"), s.putBridges(map[string]int{"p1": 4})); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openStore(path); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	rows, err := s.rows()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]row{"a": r}, rows); diff != "" || !rows["a"].equal(r) {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	bridges, err := s.bridges()
	if err != nil || bridges["p1"] != 4 {
		t.Errorf("bridges %v, %v", bridges, err)
	}
	if err := s.put("a", newer); err != nil {
		t.Fatal(err)
	}
	if _, err := s.rows(); !errors.Is(err, state.ErrNewer) {
		t.Errorf("a newer row: %v, want %v", err, state.ErrNewer)
	}
}

func TestOpenSaysWhatIsWrongWithTheFile(t *testing.T) {
	_, err := Open(Config{DB: filepath.Join(t.TempDir(), "no", "host.db")})
	if err == nil || !strings.Contains(err.Error(), "host database") || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("open: %v", err)
	}
}
