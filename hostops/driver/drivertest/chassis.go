package drivertest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// absent is the UUID of no node.
const absent = "6f0c2a52-93f5-4d0e-8a05-3d2f3c1f9a77"

func (s *suite) onOff() {
	spec := s.made(0)
	tape := s.record()
	for range 2 {
		s.power(spec, state.ActionOn)
		s.wantPower(spec, state.PowerOn)
	}
	for range 2 {
		s.power(spec, state.ActionOff)
		s.wantPower(spec, state.PowerOff)
	}
	s.eventually("both are reported as requests", func() bool {
		return tape.powered(spec.UUID, state.PowerOn, driver.CauseRequest) && tape.powered(spec.UUID, state.PowerOff, driver.CauseRequest)
	})
	if got := tape.of(driver.EventPower, spec.UUID); len(got) != 2 {
		s.Errorf("got power events %+v, want one for each change", got)
	}
}

func (s *suite) wrongState() {
	spec := s.made(0)
	for _, a := range []state.PowerAction{state.ActionCycle, state.ActionReset, state.ActionSoft, state.ActionDiag} {
		err := s.Driver.Power(s.Context(), spec.UUID, driver.PowerRequest{Action: a})
		s.wants("power "+string(a), err, state.ErrWrongState)
	}
	s.wantPower(spec, state.PowerOff)
}

func (s *suite) notFound() {
	for _, a := range []state.PowerAction{state.ActionOn, state.ActionOff, state.ActionSoft, state.ActionCycle} {
		err := s.Driver.Power(s.Context(), absent, driver.PowerRequest{Action: a})
		s.wants("power "+string(a), err, state.ErrNotFound)
	}
	console, err := s.Driver.Console(s.Context(), absent)
	s.wants("console", err, state.ErrNotFound)
	if err == nil {
		_ = console.Close()
	}
}

func (s *suite) unknownAction() {
	spec := s.running(0)
	err := s.Driver.Power(s.Context(), spec.UUID, driver.PowerRequest{Action: "explode"})
	s.wants("power explode", err, state.ErrUnsupported)
	s.wantPower(spec, state.PowerOn)
}

func (s *suite) cycle() {
	spec := s.running(0)
	tape := s.record()
	s.power(spec, state.ActionCycle)
	s.wantPower(spec, state.PowerOn)
	s.eventually("off and on are reported", func() bool {
		return tape.powered(spec.UUID, state.PowerOff, driver.CauseRequest) && tape.powered(spec.UUID, state.PowerOn, driver.CauseRequest)
	})
}

func (s *suite) reset() {
	spec := s.running(0)
	tape := s.record()
	s.power(spec, state.ActionReset)
	s.eventually("the reset is reported", func() bool { return len(tape.of(driver.EventReboot, spec.UUID)) > 0 })
	s.wantPower(spec, state.PowerOn)
	if got := tape.of(driver.EventPower, spec.UUID); len(got) != 0 {
		s.Errorf("got power events %+v for a reset, want none", got)
	}
}

func (s *suite) soft() {
	spec := s.running(0)
	tape := s.record()
	s.power(spec, state.ActionDiag)
	s.wantPower(spec, state.PowerOn)
	s.power(spec, state.ActionSoft)
	if !s.GuestObeys {
		return
	}
	s.eventually("the guest's shutdown is reported as its own", func() bool {
		return tape.powered(spec.UUID, state.PowerOff, driver.CauseGuest)
	})
	s.wantPower(spec, state.PowerOff)
}

func (s *suite) watch() {
	spec := s.made(0)
	tapes := []*tape{s.record(), s.record()}
	s.power(spec, state.ActionOn)
	other := s.made(1)
	s.must("remove", s.Driver.Remove(s.Context(), other.UUID))
	for i, tape := range tapes {
		s.eventually(fmt.Sprintf("watcher %d is told", i), func() bool {
			return tape.powered(spec.UUID, state.PowerOn, driver.CauseRequest) && len(tape.of(driver.EventChanged, other.UUID)) >= 2
		})
	}
}

func (s *suite) console() {
	spec := s.made(0)
	_, err := s.Driver.Console(s.Context(), spec.UUID)
	s.wants("console while it is off", err, state.ErrWrongState)
	s.power(spec, state.ActionOn)
	for range 2 { // what was closed is free for the next
		console, err := s.Driver.Console(s.Context(), spec.UUID)
		s.must("console", err)
		if _, err := console.Write([]byte("hello\n")); err != nil {
			s.Errorf("write to the console: %v", err)
		}
		if b, able := console.(driver.Breaker); able {
			s.must("break", b.SendBreak(s.Context()))
		}
		s.must("close the console", console.Close())
		s.drained("once it is closed", console)
	}
	console, err := s.Driver.Console(s.Context(), spec.UUID)
	s.must("console", err)
	s.power(spec, state.ActionOff)
	s.drained("once the guest is off", console)
	_ = console.Close()
}

// drained fails the test unless the console's end is reached.
func (s *suite) drained(when string, console io.Reader) {
	s.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, console)
	}()
	s.eventually("the console ends "+when, func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}

func (s *suite) parallel() {
	const n = 6
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			spec := s.Node(i)
			if errs[i] = s.Driver.Ensure(s.Context(), spec); errs[i] != nil {
				return
			}
			errs[i] = s.Driver.Power(s.Context(), spec.UUID, driver.PowerRequest{Action: state.ActionOn})
		})
	}
	all.Wait()
	for i, err := range errs {
		s.must(fmt.Sprintf("node %d", i), err)
		s.wantMade(s.Node(i))
		s.wantPower(s.Node(i), state.PowerOn)
	}
}

func (s *suite) expired() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	spec := s.Node(0)
	if err := s.Driver.Ensure(ctx, spec); err == nil {
		s.Errorf("ensure with a context that has ended: got no error")
	}
	// Whatever was begun, it can be made now.
	s.made(0)
	s.wantMade(spec)
}
