package drivertest

import (
	"slices"
	"strings"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// raid puts a node's disks together under a running guest, which sees that with its next
// start, and apart again.
func (s *suite) raid() {
	spec := s.running(0)
	spec.Setup.Volumes = []driver.RAIDVolume{{ID: "9", Level: "0", Disks: []int{0}, CapacityBytes: 1 << 20, Serial: "serial", Made: 1}}
	s.must("ensure with a RAID volume", s.Driver.Ensure(s.Context(), spec))
	s.wantMade(spec)
	s.wantPower(spec, state.PowerOn)
	if p := s.there(spec).Pending; len(p) == 0 {
		s.Error("got no pending changes of a running guest that was given a RAID volume")
	}
	s.power(spec, state.ActionCycle)
	s.eventually("nothing waits after the cycle", func() bool { return len(s.there(spec).Pending) == 0 })
	s.wantMade(spec)
	s.power(spec, state.ActionOff)
	s.wantFiles(spec)
	spec.Setup = driver.Setup{}
	s.must("ensure without", s.Driver.Ensure(s.Context(), spec))
	s.wantMade(spec)
	s.wantFiles(spec)
}

// setup changes a running guest's hardware as clients of a BMC do. Whatever of it a driver
// can carry out, it says what waits, and that nothing does any longer.
func (s *suite) setup() {
	spec := s.running(0)
	for _, setup := range []driver.Setup{
		{BIOS: map[string]string{driver.BIOSVirtualization: "Disabled", driver.BIOSBootTimeout: "3"}, Order: []string{"cdrom", "disk0"}},
		{},
	} {
		spec.Setup = setup
		s.must("ensure with another setup", s.Driver.Ensure(s.Context(), spec))
		s.wantMade(spec)
		s.wantPower(spec, state.PowerOn)
		s.power(spec, state.ActionCycle)
		s.eventually("nothing waits after the cycle", func() bool { return len(s.there(spec).Pending) == 0 })
		s.wantMade(spec)
	}
}

// wantFiles fails the test unless what the node takes along, if it can, are its disks.
func (s *suite) wantFiles(spec driver.Spec) {
	s.Helper()
	m, err := driver.MoverOf(s.Driver)
	if err != nil {
		return
	}
	l, err := m.Luggage(s.Context(), spec.UUID)
	s.must("luggage", err)
	var got, want []string
	for _, f := range l.Files {
		if strings.HasPrefix(f.Name, "vol") || strings.HasPrefix(f.Name, "raid") {
			got = append(got, f.Name)
		}
	}
	for _, k := range spec.Disks() {
		want = append(want, k.Name)
	}
	if !slices.Equal(got, want) {
		s.Errorf("got disks %q, want %q", got, want)
	}
}
