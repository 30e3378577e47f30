package drivertest

import (
	"os"
	"path/filepath"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// image makes a file that can be put into a drive.
func (s *suite) image(name string) string {
	s.Helper()
	path := filepath.Join(s.TempDir(), name)
	s.must("write an image", os.WriteFile(path, make([]byte, 64<<10), 0o644)) //nolint:gosec // a provider of another user reads it
	return path
}

// media are what every slot does.
func (s *suite) media() { s.slot(driver.SlotCD) }

func (s *suite) stick() { s.slot(driver.SlotUSB) }

func (s *suite) slot(slot driver.Slot) {
	s.Helper()
	spec := s.made(0)
	a, b := s.image("a.iso"), s.image("b.iso")
	set := func(path string) {
		s.Helper()
		for range 2 {
			s.must("set media", s.Driver.SetMedia(s.Context(), spec.UUID, slot, path))
			if got := s.there(spec).In(slot); got != path {
				s.Errorf("media %q, want %q", got, path)
			}
		}
		s.wantMade(spec)
	}
	set(a)
	s.must("ensure", s.Driver.Ensure(s.Context(), spec))
	more := spec
	more.Machine.MemoryMB *= 2
	s.must("ensure a change", s.Driver.Ensure(s.Context(), more))
	spec = more
	if got := s.there(spec).In(slot); got != a {
		s.Errorf("media %q after the node was changed, want %q", got, a)
	}
	s.power(spec, state.ActionOn)
	set(a)
	set(b)
	s.power(spec, state.ActionCycle)
	if got := s.there(spec).In(slot); got != b {
		s.Errorf("media %q after a power cycle, want %q", got, b)
	}
	set("")
	set(a)
	s.power(spec, state.ActionOff)
	set("")
	set(b)
	s.must("remove the file", os.Remove(b))
	s.power(spec, state.ActionOn) // as with an empty drive
	s.wantPower(spec, state.PowerOn)
	s.must("set media", s.Driver.SetMedia(s.Context(), spec.UUID, slot, ""))
	if got := s.there(spec); got.Media != "" || got.USB != "" {
		s.Errorf("media %q and %q, want none", got.Media, got.USB)
	}
	s.wants("another slot", s.Driver.SetMedia(s.Context(), spec.UUID, "slot", a), state.ErrUnsupported)
	s.wants("media of no node", s.Driver.SetMedia(s.Context(), absent, slot, a), state.ErrNotFound)
}

func (s *suite) loads() {
	off, on := s.made(0), s.running(1)
	first := s.load(on)
	s.eventually("the guest used something", func() bool { return s.load(on).CPU > first.CPU })
	if l := s.load(on); l.CPU < 0 || l.CPU > time.Hour {
		s.Errorf("load %+v of a guest that began just now", l)
	}
	all, err := s.Driver.Loads(s.Context())
	s.must("loads", err)
	for _, l := range all {
		if l.UUID == off.UUID {
			s.Errorf("load %+v of a node that is off", l)
		}
	}
}

// load returns what a running node used.
func (s *suite) load(spec driver.Spec) driver.Load {
	s.Helper()
	all, err := s.Driver.Loads(s.Context())
	s.must("loads", err)
	for _, l := range all {
		if l.UUID == spec.UUID {
			return l
		}
	}
	s.Fatalf("no load of node %s, which is on, among %+v", spec.Name, all)
	return driver.Load{}
}
