package hostops

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

// meshLease is the mesh as a host's guard sees it.
type meshLease struct {
	mu      sync.Mutex // guards what follows
	last    time.Time
	cut     bool
	unread  error
	confirm int
}

func (l *meshLease) set(cut bool, unread error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.unread = cut, unread
}

func (l *meshLease) age() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut {
		l.last = time.Now()
	}
	return time.Since(l.last), !l.last.IsZero()
}

func (l *meshLease) read(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirm++
	return l.unread
}

// guarded runs a test with a node that is made anew elsewhere, "a", and one that is not,
// "h", both on.
func guarded(t *testing.T, test func(t *testing.T, e *env, l *meshLease)) {
	t.Helper()
	simulate(t, func(t *testing.T, e *env) { guardedIn(t, e, test) })
}

func guardedIn(t *testing.T, e *env, test func(t *testing.T, e *env, l *meshLease)) {
	t.Helper()
	l, began := &meshLease{}, time.Now()
	e.config.LeaseAge, e.config.Confirm = l.age, l.read
	e.config.LeaseFile = filepath.Join(t.TempDir(), "lease")
	e.config.clock = func() time.Duration { return time.Hour + time.Since(began) }
	e.restart()
	a := node("a")
	a.OnHostLoss, a.StopAfterMilli = state.LossRebuild, 30000
	e.place(a, node("h"))
	e.run()
	elapse(5 * time.Second)
	e.power("a", state.ActionOn)
	e.power("h", state.ActionOn)
	elapse(5 * time.Second)
	if got := e.node("a").Host.StopAfterMilli; got != 30000 {
		t.Fatalf("the host promises %d", got)
	}
	test(t, e, l)
}

func (e *env) powers(a, h state.Power, when string) {
	e.t.Helper()
	if e.nodes.power("a") != a || e.nodes.power("h") != h {
		e.t.Fatalf("%s: a is %s and h is %s, want %s and %s", when, e.nodes.power("a"), e.nodes.power("h"), a, h)
	}
}

func TestAHostWithoutALeaseStopsWhatIsMadeAnewElsewhere(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		e.setNoLeader(true)
		l.set(true, nil)
		elapse(29 * time.Second)
		e.powers(state.PowerOn, state.PowerOn, "after 29 s without a lease")
		if err := e.chassis("a").Power(t.Context(), state.ActionCycle); !errors.Is(err, state.ErrBusy) {
			t.Errorf("a start with a lease that is about to end: %v", err)
		}
		elapse(2 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "after 31 s")
		for _, action := range []state.PowerAction{state.ActionOn, state.ActionCycle} {
			err := e.chassis("a").Power(t.Context(), action)
			if !errors.Is(err, state.ErrBusy) || !strings.Contains(err.Error(), "no lease") {
				t.Errorf("power %s: %v", action, err)
			}
		}
		e.nodes.change("a", state.PowerOn, "") // somebody starts it by hand
		elapse(2 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "after it was started by hand")
		e.power("h", state.ActionCycle)

		// A lease alone does not say that the node is still this host's.
		l.set(false, errors.New("no leader"))
		elapse(10 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "with a lease and an old state")
		if err := e.chassis("a").Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) {
			t.Errorf("power on with an old state: %v", err)
		}
		l.set(false, nil)
		e.setNoLeader(false)
		elapse(5 * time.Second)
		e.powers(state.PowerOn, state.PowerOn, "with a lease and the state")
	})
}

func TestWhatTheMeshSeesOfANodeGoesWithTheLeaseAndComesBackWithTheState(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		expect := func(when string, lapsed, assured bool) {
			t.Helper()
			for name, bound := range map[string]bool{"a": true, "h": false} {
				n := e.node(name)
				if got := e.host.Lapsed(n); got != (lapsed && bound) {
					t.Errorf("%s: %s lapsed %t", when, name, got)
				}
				if err := e.host.Assured(n); (err == nil) != (assured || !bound) {
					t.Errorf("%s: %s assured: %v", when, name, err)
				}
			}
		}
		expect("with a lease", false, true)
		e.setNoLeader(true)
		l.set(true, nil)
		elapse(20 * time.Second)
		expect("after 20 s", false, false)
		elapse(10 * time.Second)
		expect("after 30 s", true, false)
		l.set(false, errors.New("no leader"))
		elapse(5 * time.Second)
		expect("with a lease and an old state", false, false)
		l.set(false, nil)
		e.setNoLeader(false)
		elapse(15 * time.Second)
		expect("with a lease and the state", false, true)
	})
}

func TestTheFirstNodeThatIsMadeAnewElsewhereCanBeSwitchedOnAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		l, began := &meshLease{}, time.Now()
		e.config.LeaseAge, e.config.Confirm = l.age, l.read
		e.config.clock = func() time.Duration { return time.Hour + time.Since(began) }
		e.restart()
		e.run()
		elapse(5 * time.Second)
		a := node("a")
		a.OnHostLoss, a.StopAfterMilli = state.LossRebuild, 30000
		e.place(a)
		elapse(guardEvery / 5)
		if err := e.chassis("a").Power(t.Context(), state.ActionOn); err != nil {
			t.Error(err)
		}
	})
}

func TestAShortLossOfTheLeaseStopsNothing(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		calls := len(e.nodes.calls)
		l.set(true, nil)
		elapse(25 * time.Second)
		l.set(false, nil)
		elapse(time.Minute)
		e.powers(state.PowerOn, state.PowerOn, "after 25 s without a lease")
		if l.confirm != 2 {
			t.Errorf("the state was confirmed %d times, want once at the start and once after leases had ended", l.confirm)
		}
		if len(e.nodes.calls) != calls {
			t.Errorf("calls %v", e.nodes.calls[calls:])
		}
	})
}

func TestTheLeaseOutlivesTheAgent(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		l.set(true, nil)
		elapse(20 * time.Second)
		e.close()
		l.mu.Lock()
		l.last = time.Time{} // of this agent
		l.mu.Unlock()
		e.open()
		e.run()
		elapse(8 * time.Second)
		e.powers(state.PowerOn, state.PowerOn, "after 28 s, 8 s of a new agent")
		elapse(3 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "after 31 s")
		e.close()
		elapse(time.Hour)
		e.open()
		e.run()
		elapse(2 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "after an hour without an agent")
	})
}

func TestAfterARebootNothingIsStartedWithoutALease(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		l.set(true, nil)
		l.mu.Lock()
		l.last = time.Time{}
		l.mu.Unlock()
		e.rebootHost()
		e.run()
		elapse(time.Minute)
		e.powers(state.PowerOff, state.PowerOn, "after a reboot without the mesh")
		l.set(false, nil)
		elapse(3 * time.Second)
		e.powers(state.PowerOn, state.PowerOn, "with the mesh")
	})
}

func TestAHostThatIsBusyIsAskedAgainUntilTheNodeIsStopped(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		fails := 3
		e.nodes.mu.Lock()
		e.nodes.fail = func(op, uuid string) error {
			if op == "power" && fails > 0 {
				fails--
				return errors.New("busy with another job")
			}
			return nil
		}
		e.nodes.mu.Unlock()
		l.set(true, nil)
		elapse(33 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "after some tries")
		if fails != 0 {
			t.Errorf("%d tries that fail are left", fails)
		}
	})
}

func TestWhatItsDriverDoesNotStopIsKilled(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		var killed []string
		e.config.Kill = func(uuid string) (bool, error) {
			e.nodes.mu.Lock() // and killed
			defer e.nodes.mu.Unlock()
			killed = append(killed, uuid)
			e.nodes.nodes[uuid].power = state.PowerOff
			return true, nil
		}
		e.close()
		guardedIn(t, e, func(t *testing.T, e *env, l *meshLease) {
			e.nodes.mu.Lock()
			e.nodes.fail = func(op, _ string) error {
				if op == "power" {
					return errors.New("libvirtd hangs")
				}
				return nil
			}
			e.nodes.mu.Unlock()
			l.set(true, nil)
			so := func() []string {
				e.nodes.mu.Lock()
				defer e.nodes.mu.Unlock()
				return slices.Clone(killed)
			}
			elapse(32 * time.Second)
			if got := so(); len(got) > 0 {
				t.Errorf("killed %v while its driver may still stop it", got)
			}
			elapse(3 * time.Second)
			e.powers(state.PowerOff, state.PowerOn, "although the driver fails")
			if got := so(); !slices.Equal(got, []string{"a"}) {
				t.Errorf("killed %v, want a, once", got)
			}
		})
	})
}

func TestWhatRanElsewhereSinceIsInQuarantine(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, l *meshLease) {
		first := e.node("a").Placement.Epoch
		l.set(true, nil)
		elapse(40 * time.Second)
		e.apply(state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: "a", Epoch: first, Reason: "lost"}}})
		endpoint := state.Endpoint{Address: "127.0.0.1", Port: 7}
		e.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "a", Hypervisor: "peer-2", BMC: endpoint}}})
		l.set(false, nil)
		elapse(time.Minute)
		e.powers(state.PowerOff, state.PowerOn, "placed elsewhere")
		quarantined := func(want ...uint64) {
			t.Helper()
			var got []uint64
			for _, q := range e.host.Quarantine() {
				got = append(got, q.Epoch)
			}
			if !slices.Equal(got, want) {
				t.Errorf("quarantine has epochs %v, want %v", got, want)
			}
		}
		quarantined(first)
		if c, ok := e.host.known("a"); ok {
			if err := c.Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) {
				t.Errorf("power on in quarantine: %v", err)
			}
		}
		e.rebootHost()
		e.run()
		elapse(5 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "after a reboot")

		// It comes back here: what is here is older than what ran elsewhere.
		e.apply(state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: "a", Epoch: e.node("a").Placement.Epoch, Reason: "lost"}}})
		e.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "a", Hypervisor: self, BMC: endpoint}}})
		elapse(5 * time.Second)
		e.phase("a", state.HostError)
		if got := e.node("a").Host.Error; !strings.Contains(got, "tenks host quarantine delete a") {
			t.Errorf("error %q", got)
		}
		quarantined(first)
		if err := e.chassis("a").Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) {
			t.Errorf("power on of what is stale: %v", err)
		}
		if err := e.host.DeleteQuarantined(t.Context(), "h"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("delete of what is not in quarantine: %v", err)
		}
		if err := e.host.DeleteQuarantined(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		elapse(90 * time.Second)
		e.phase("a", state.HostReady)
		quarantined()
	})
}

func TestANodeThatRanNowhereElseKeepsItsDisks(t *testing.T) {
	guarded(t, func(t *testing.T, e *env, _ *meshLease) {
		e.apply(state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: "a", Epoch: e.node("a").Placement.Epoch, Reason: "lost"}}})
		elapse(5 * time.Second)
		e.powers(state.PowerOff, state.PowerOn, "placed nowhere")
		if len(e.host.Quarantine()) != 1 {
			t.Errorf("quarantine %v", e.host.Quarantine())
		}
		e.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "a", Hypervisor: self, BMC: state.Endpoint{Address: "127.0.0.1", Port: 7}}}})
		elapse(5 * time.Second)
		e.phase("a", state.HostReady)
		if slices.Contains(e.nodes.calls, "remove a") || len(e.host.Quarantine()) > 0 {
			t.Errorf("calls %v, quarantine %v", e.nodes.calls, e.host.Quarantine())
		}
		e.power("a", state.ActionOn)
	})
}
