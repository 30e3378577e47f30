package drivertest

import (
	"tenks/raftfsm/state"
)

func (s *suite) info() {
	i, err := s.Driver.Info(s.Context())
	s.must("info", err)
	if i.Name == "" || i.Version == "" {
		s.Errorf("got info %+v, want a name and a version", i)
	}
	if all := s.all(); len(all) != 0 {
		s.Errorf("got instances %v on a new host, want none", all)
	}
}

func (s *suite) ensure() {
	b, a := s.made(1), s.made(0)
	s.wantMade(a)
	s.wantMade(b)
	s.wantPower(a, state.PowerOff)
	if n := len(s.all()); n != 2 {
		s.Errorf("got %d instances, want 2", n)
	}
	if p := s.there(a).Pending; len(p) != 0 {
		s.Errorf("got pending changes %q of a new node, want none", p)
	}
}

func (s *suite) ensureAgain() {
	spec := s.made(0)
	tape := s.record()
	before := s.there(spec)
	for range 3 {
		s.made(0)
	}
	// A change that must be reported: whatever was reported before it has arrived.
	other := s.made(1)
	s.eventually("the other node is reported", func() bool { return len(tape.of("changed", other.UUID)) > 0 })
	if got := tape.of("changed", spec.UUID); len(got) != 0 {
		s.Errorf("got events %+v for a node that was not changed, want none", got)
	}
	if after := s.there(spec); after.Digest != before.Digest || after.Epoch != before.Epoch {
		s.Errorf("got %+v, want it as before: %+v", after, before)
	}
}

func (s *suite) ensureEpoch() {
	spec := s.running(0)
	spec.Epoch += 5
	s.must("ensure with a new epoch", s.Driver.Ensure(s.Context(), spec))
	s.wantMade(spec)
	s.wantPower(spec, state.PowerOn)
	if p := s.there(spec).Pending; len(p) != 0 {
		s.Errorf("got pending changes %q for a new epoch, want none", p)
	}
}

func (s *suite) ensureChange() {
	spec := s.made(0)
	spec.Machine.MemoryMB += 128
	s.must("ensure with more memory", s.Driver.Ensure(s.Context(), spec))
	s.wantMade(spec)
	s.wantPower(spec, state.PowerOff)
	if p := s.there(spec).Pending; len(p) != 0 {
		s.Errorf("got pending changes %q while it is off, want none", p)
	}
}

func (s *suite) ensureRunning() {
	spec := s.running(0)
	tape := s.record()
	spec.Machine.MemoryMB += 128
	s.must("ensure with more memory", s.Driver.Ensure(s.Context(), spec))
	s.wantMade(spec)
	s.wantPower(spec, state.PowerOn)
	if p := s.there(spec).Pending; len(p) == 0 {
		s.Errorf("got no pending changes of a running guest that was given more memory")
	}
	s.power(spec, state.ActionReset)
	s.eventually("the reset is reported", func() bool { return len(tape.of("reboot", spec.UUID)) > 0 })
	if got := tape.of("power", spec.UUID); len(got) != 0 {
		s.Errorf("got power events %+v, want none before the cycle", got)
	}
	s.power(spec, state.ActionCycle)
	s.eventually("nothing waits after the cycle", func() bool { return len(s.there(spec).Pending) == 0 })
	s.wantPower(spec, state.PowerOn)
}

func (s *suite) ensureName() {
	spec, other := s.made(0), s.Node(1)
	other.Name = spec.Name
	if err := s.Driver.Ensure(s.Context(), other); err == nil {
		s.Errorf("ensure of another node named %s: got no error", spec.Name)
	}
	s.wantMade(spec)
	if n := len(s.all()); n != 1 {
		s.Errorf("got %d instances, want 1", n)
	}
}

func (s *suite) remove() {
	gone, stays := s.running(0), s.made(1)
	for range 2 {
		s.must("remove", s.Driver.Remove(s.Context(), gone.UUID))
	}
	if _, ok := s.is(gone); ok {
		s.Errorf("node %s is still there", gone.Name)
	}
	s.wantMade(stays)
	// Nothing of it is in the way of its successor.
	s.made(0)
	s.wantPower(gone, state.PowerOff)
}
