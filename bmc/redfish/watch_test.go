package redfish

import (
	"slices"
	"testing"
	"time"

	"tenks/bmc"
)

// handOver is a chassis of which something happens while it is subscribed to anew.
type handOver struct {
	bmc.Chassis
	on   map[int]func(bmc.Event)
	last int
	// ending is called before a subscription ends, and ended after that.
	ending, ended func()
}

func (h *handOver) Subscribe(on func(bmc.Event)) func() {
	n := h.last
	h.last++
	h.on[n] = on
	return func() {
		h.ending()
		delete(h.on, n)
		h.ended()
	}
}

func (h *handOver) tell(e bmc.Event) {
	for _, on := range h.on {
		on(e)
	}
}

func TestNothingHappensUnseenWhenAChassisIsMadeAnew(t *testing.T) {
	f := newFixture(t)
	w := watcher{service: f.Service, watched: map[string]func(){}, chassis: map[string]bmc.Chassis{}, relays: map[string]*relay{}}
	sys, _ := f.fleet.Lookup(first)
	at := time.Unix(1, 0)
	shared := &handOver{Chassis: sys.Chassis, on: map[int]func(bmc.Event){}}
	sys.Chassis = wrapped{shared}
	w.enter(sys)
	var got []bmc.Event
	w.relays[first].to = func(e bmc.Event) { got = append(got, e) }
	shared.tell(bmc.Event{At: at, Kind: bmc.EventOn})
	shared.ending = func() { shared.tell(bmc.Event{At: at, Kind: bmc.EventReset}) } // both may tell of it
	shared.ended = func() { shared.tell(bmc.Event{At: at, Kind: bmc.EventInsert}) }
	sys.Chassis = wrapped{wrapped{shared}}
	w.enter(sys)
	shared.tell(bmc.Event{At: at, Kind: bmc.EventOff})
	var kinds []bmc.EventKind
	for _, e := range got {
		kinds = append(kinds, e.Kind)
	}
	if want := []bmc.EventKind{bmc.EventOn, bmc.EventReset, bmc.EventInsert, bmc.EventOff}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
}
