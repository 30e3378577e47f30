//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// A guest's firmware resets it, which keeps libvirtd's thread for events busy while
// others are stopped.
func TestIntegrationLibvirtGuestsStayOnAfterACycleWhileOthersAreCycled(t *testing.T) {
	const guests, rounds, watched = 4, 5, time.Second
	b := newBench(t)
	var g errgroup.Group
	for i := range guests {
		s := node(i, 0)
		b.ensure(s)
		b.power(s, state.ActionOn, "")
		g.Go(func() error {
			for range rounds {
				for _, a := range []state.PowerAction{state.ActionReset, state.ActionCycle} {
					if err := b.Power(t.Context(), s.UUID, driver.PowerRequest{Action: a}); err != nil {
						return err
					}
				}
				if err := b.staysOn(s, watched); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// staysOn fails when a node is seen off.
func (b *bench) staysOn(s driver.Spec, watched time.Duration) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < watched; <-tick.C {
		all, err := b.Instances(b.t.Context())
		if err != nil {
			return err
		}
		for _, i := range all {
			if i.UUID == s.UUID && i.Power != state.PowerOn {
				return fmt.Errorf("node %s: %s %s after a cycle", s.Name, i.Power, time.Since(began).Round(time.Millisecond))
			}
		}
	}
	return nil
}

func TestIntegrationLibvirtWatchesShareAConnection(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	b.ensure(s)
	first, endFirst := b.watch()
	second, endSecond := b.watch()
	b.power(s, state.ActionOn, "")
	on := driver.Event{Type: driver.EventPower, UUID: s.UUID, Power: state.PowerOn, Cause: driver.CauseRequest}
	b.sees(first, on)
	b.sees(second, on)
	endFirst()
	b.power(s, state.ActionReset, "")
	b.sees(second, driver.Event{Type: driver.EventReboot, UUID: s.UUID})
	endSecond()
	third, endThird := b.watch() // libvirt is asked anew
	b.power(s, state.ActionOff, "")
	b.sees(third, driver.Event{Type: driver.EventPower, UUID: s.UUID, Power: state.PowerOff, Cause: driver.CauseRequest})
	endThird()
}

// watch returns the events of a watch that is open, and what ends it.
func (b *bench) watch() (events <-chan driver.Event, end func()) {
	b.t.Helper()
	out := make(chan driver.Event, 1000) // more than a test causes
	ctx, cancel := context.WithCancel(b.t.Context())
	var g errgroup.Group
	g.Go(func() error { return b.Watch(ctx, func(e driver.Event) { out <- e }) })
	b.sees(out, driver.Event{Type: driver.EventReady})
	return out, func() {
		cancel()
		if err := g.Wait(); err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) sees(events <-chan driver.Event, want driver.Event) {
	b.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e := <-events:
			if e == want {
				return
			}
		case <-timeout:
			b.t.Fatalf("no event %+v", want)
		}
	}
}
