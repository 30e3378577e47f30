// Package drivertest is the suite that every driver passes: in the agent's process,
// over the process boundary, or somebody's own. It owns nothing, and has ended every
// goroutine that it started when Conform returns.
package drivertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Setup is a driver on a host of its own, without nodes, and what the suite has to
// know of it.
type Setup struct {
	Driver driver.Driver
	// Node returns the i-th node of the host (from 0): the same value each time, with
	// one volume at least, and with ports whose links exist.
	Node func(i int) driver.Spec
	// GuestObeys is whether a guest shuts down when ActionSoft asks it to, which one
	// without an operating system does not.
	GuestObeys bool
	// Patience is how long a change may take to be seen; 0: 10 s.
	Patience time.Duration
}

// Conform runs the suite. open is called once for each of its tests, and undoes what
// it made by t.Cleanup.
func Conform(t *testing.T, open func(t *testing.T) Setup) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"says what it is", (*suite).info},
		{"makes a node that is off and has the digest it was made from", (*suite).ensure},
		{"changes nothing when a node is made again", (*suite).ensureAgain},
		{"gives an existing node a new epoch and nothing else", (*suite).ensureEpoch},
		{"changes a node that is off", (*suite).ensureChange},
		{"leaves a running guest alone until it is cycled, and says what waits", (*suite).ensureRunning},
		{"refuses a second node of the same name", (*suite).ensureName},
		{"removes a running node, and one that is not there", (*suite).remove},
		{"switches on and off, twice without a fault", (*suite).onOff},
		{"refuses what needs a running guest while it is off", (*suite).wrongState},
		{"says that a node is not there", (*suite).notFound},
		{"refuses an action that it does not know", (*suite).unknownAction},
		{"ends on after a cycle", (*suite).cycle},
		{"keeps power on over a reset, and reports it", (*suite).reset},
		{"asks the guest to shut down, and interrupts it", (*suite).soft},
		{"opens a watch with ready, tells every watcher, and ends it without an error", (*suite).watch},
		{"attaches to the console of a running guest only", (*suite).console},
		{"puts media into the drive and takes them out, on or off", (*suite).media},
		{"plugs a USB stick in and unplugs it, on or off", (*suite).stick},
		{"puts disks together to volumes, and apart, from the next start on", (*suite).raid},
		{"takes what clients of the BMC changed with the next start", (*suite).setup},
		{"says what running guests used", (*suite).loads},
		{"says what a node that is off has on disk", (*suite).luggage},
		{"brings a node in with what it had on disk", (*suite).move},
		{"gives up a node that was coming", (*suite).stageGivenUp},
		{"works on several nodes at a time", (*suite).parallel},
		{"gives up when the context has ended", (*suite).expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			if s.Patience == 0 {
				s.Patience = 10 * time.Second
			}
			c.run(&suite{T: t, Setup: s})
		})
	}
}

// suite is one test on one driver.
type suite struct {
	*testing.T
	Setup
}

// must fails the test if an operation did.
func (s *suite) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// wants fails the test unless err is of the kind that callers branch on.
func (s *suite) wants(what string, err, kind error) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("%s: got error %v, want one that is %q", what, err, kind)
	}
}

// made makes the i-th node.
func (s *suite) made(i int) driver.Spec {
	s.Helper()
	spec := s.Node(i)
	s.must("ensure", s.Driver.Ensure(s.Context(), spec))
	return spec
}

// running makes the i-th node and switches it on.
func (s *suite) running(i int) driver.Spec {
	s.Helper()
	spec := s.made(i)
	s.power(spec, state.ActionOn)
	return spec
}

func (s *suite) power(spec driver.Spec, a state.PowerAction) {
	s.Helper()
	s.must("power "+string(a), s.Driver.Power(s.Context(), spec.UUID, driver.PowerRequest{Action: a, Boot: spec.Boot}))
}

func (s *suite) all() []driver.Instance {
	s.Helper()
	all, err := s.Driver.Instances(s.Context())
	s.must("instances", err)
	if !slices.IsSortedFunc(all, func(a, b driver.Instance) int { return compare(a.UUID, b.UUID) }) {
		s.Errorf("instances are not sorted by UUID: %v", all)
	}
	return all
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// is returns the node as the driver sees it; ok is false if it does not.
func (s *suite) is(spec driver.Spec) (i driver.Instance, ok bool) {
	s.Helper()
	for _, i := range s.all() {
		if i.UUID == spec.UUID {
			return i, true
		}
	}
	return driver.Instance{}, false
}

// there returns the node as the driver sees it.
func (s *suite) there(spec driver.Spec) driver.Instance {
	s.Helper()
	i, ok := s.is(spec)
	if !ok {
		s.Fatalf("node %s is not among the instances", spec.Name)
	}
	return i
}

func (s *suite) wantPower(spec driver.Spec, want state.Power) {
	s.Helper()
	if got := s.there(spec).Power; got != want {
		s.Errorf("node %s: got power %s, want %s", spec.Name, got, want)
	}
}

// wantMade fails the test unless the node is as spec describes it, now or at its next
// power-on.
func (s *suite) wantMade(spec driver.Spec) {
	s.Helper()
	i := s.there(spec)
	if i.Name != spec.Name || i.Epoch != spec.Epoch || i.Digest != spec.Digest() {
		s.Errorf("node %s: got name %q, epoch %d, digest %q; want %q, %d, %q",
			spec.UUID, i.Name, i.Epoch, i.Digest, spec.Name, spec.Epoch, spec.Digest())
	}
}

// eventually polls until a condition is true.
func (s *suite) eventually(what string, is func() bool) {
	s.Helper()
	deadline := time.Now().Add(s.Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if time.Now().After(deadline) {
			s.Fatalf("after %s, not yet: %s", s.Patience, what)
		}
		<-tick.C
	}
}

// tape records what a watch reports.
type tape struct {
	// mu guards what follows.
	mu     sync.Mutex
	events []driver.Event
}

// record watches until the test ends, and returns once the watch is open.
func (s *suite) record() *tape {
	s.Helper()
	t := &tape{}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1) // one result
	go func() { ended <- s.Driver.Watch(ctx, t.add) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("watch ended with %v, want nil once it was told to end", err)
		}
	})
	s.eventually("the watch is open", func() bool { return len(t.all()) > 0 })
	if first := t.all()[0]; first.Type != driver.EventReady {
		s.Errorf("a watch begins with %+v, want %q", first, driver.EventReady)
	}
	return t
}

func (t *tape) add(e driver.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

func (t *tape) all() []driver.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// of returns the events of one type and node.
func (t *tape) of(typ driver.EventType, uuid string) []driver.Event {
	return slices.DeleteFunc(t.all(), func(e driver.Event) bool { return e.Type != typ || e.UUID != uuid })
}

// powered is whether a power event with that outcome and cause was reported.
func (t *tape) powered(uuid string, p state.Power, c driver.Cause) bool {
	return slices.Contains(t.of(driver.EventPower, uuid), driver.Event{Type: driver.EventPower, UUID: uuid, Power: p, Cause: c})
}
