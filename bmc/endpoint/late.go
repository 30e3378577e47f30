package endpoint

import (
	"sync"

	"tenks/bmc"
)

// late are subscriptions to the events of a chassis that need not exist yet: a BMC
// subscribes when it is opened, and hears from when there is something to hear. So do those
// that wait for one event, such as a console. It is safe for concurrent use.
type late struct {
	find func() (bmc.Chassis, bool)

	// mu guards what follows and the fields of the subscribers; no subscriber takes it.
	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
}

type subscriber struct {
	on func(bmc.Event)
	// cancel is nil until there is a chassis.
	cancel func()
}

// subscribe calls on for each event until cancel was called.
func (l *late) subscribe(on func(bmc.Event)) (cancel func()) {
	s := &subscriber{on: on}
	l.mu.Lock()
	if l.subscribers == nil {
		l.subscribers = map[*subscriber]struct{}{}
	}
	l.subscribers[s] = struct{}{}
	l.mu.Unlock()
	l.attach()
	return func() { l.stop(s) }
}

// attach subscribes those that could not be before. It may be repeated.
func (l *late) attach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var c bmc.Chassis
	for s := range l.subscribers {
		if s.cancel != nil {
			continue
		}
		if c == nil {
			var ok bool
			if c, ok = l.find(); !ok {
				return
			}
		}
		s.cancel = c.Subscribe(s.on)
	}
}

func (l *late) stop(s *subscriber) {
	l.mu.Lock()
	delete(l.subscribers, s)
	cancel := s.cancel
	s.cancel = nil
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
