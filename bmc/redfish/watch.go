package redfish

import (
	"context"
	"reflect"
	"slices"
	"sync"

	"tenks/bmc"
)

// watcher follows the systems: it subscribes to the events of those at this peer, and
// delivers for the subscriptions that are kept with them.
type watcher struct {
	service *Service
	// watched and chassis are by system: how to end the subscription, and to what it is.
	watched map[string]func()
	chassis map[string]bmc.Chassis
	relays  map[string]*relay
}

// relay passes on the events of a system. While there are two subscriptions, what both of
// them tell is passed on once.
type relay struct {
	to func(bmc.Event)

	mu   sync.Mutex // guards the rest
	two  bool
	seen []bmc.Event
}

func (r *relay) tell(e bmc.Event) {
	if r.first(e) {
		r.to(e)
	}
}

// first says whether an event is told for the first time.
func (r *relay) first(e bmc.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.two {
		return true
	}
	if i := slices.Index(r.seen, e); i >= 0 {
		r.seen = slices.Delete(r.seen, i, i+1)
		return false
	}
	r.seen = append(r.seen, e)
	return true
}

func (r *relay) doubled(two bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.two, r.seen = two, nil
}

// run follows until ctx ends; changed is what the first follow returned.
func (w *watcher) run(ctx context.Context, changed <-chan struct{}) {
	defer func() {
		for _, cancel := range w.watched {
			cancel()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			changed = w.follow()
		}
	}
}

// follow makes the subscriptions match the systems.
func (w *watcher) follow() (changed <-chan struct{}) {
	systems, changed := w.service.cfg.Systems.All()
	here := map[string]bool{}
	for _, sys := range systems {
		if sys.Chassis != nil {
			here[sys.ID] = true
			w.enter(sys)
		}
	}
	for id, cancel := range w.watched {
		if !here[id] {
			cancel()
			delete(w.watched, id)
			delete(w.chassis, id)
			delete(w.relays, id)
			w.service.events.leave(id)
			w.service.logs.forget(id)
		}
	}
	return changed
}

// enter watches a system, also when its chassis was made anew.
func (w *watcher) enter(sys System) {
	if have, known := w.chassis[sys.ID]; known && same(have, sys.Chassis) {
		return
	}
	r := w.relays[sys.ID]
	if r == nil {
		r = &relay{to: w.service.chassisEvent(sys)}
		w.relays[sys.ID] = r
	}
	// The new one before the old one ends, so that nothing happens unseen.
	r.doubled(true)
	end := sys.Chassis.Subscribe(r.tell)
	if cancel := w.watched[sys.ID]; cancel != nil {
		cancel()
	}
	r.doubled(false)
	w.chassis[sys.ID], w.watched[sys.ID] = sys.Chassis, end
	for _, sub := range recall[[]subscription](sys, subscriptionsKey) {
		w.service.events.add(sub, sys.ID)
	}
}

// same says that a chassis is the one from before. What cannot be compared stands for
// whatever chassis there is.
func same(a, b bmc.Chassis) bool {
	return !reflect.TypeOf(b).Comparable() || a == b
}

// chassisEvent turns what happened to a chassis into a message. It does not wait.
func (s *Service) chassisEvent(sys System) func(bmc.Event) {
	path := systemsPath + "/" + sys.ID
	return func(e bmc.Event) {
		if e.Kind == bmc.EventOn || e.Kind == bmc.EventReset {
			s.starts.note(sys.ID)
		}
		switch e.Kind {
		case bmc.EventOn:
			s.Happened(sys, path, "ResourceEvent.1.3.ResourcePoweredOn", path)
		case bmc.EventOff:
			s.Happened(sys, path, "ResourceEvent.1.3.ResourcePoweredOff", path)
		default:
			s.Happened(sys, path, "ResourceEvent.1.3.ResourceChanged")
		}
	}
}
