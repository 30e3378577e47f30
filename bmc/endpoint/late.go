package endpoint

import (
	"sync"

	"tenks/bmc"
)

// late is a subscription to the events of a chassis that need not exist yet: a BMC
// subscribes when it is opened, and hears from when there is something to hear. It is
// for one subscriber, and safe for concurrent use.
type late struct {
	find func() (bmc.Chassis, bool)

	// mu guards what follows; on does not take it.
	mu     sync.Mutex
	on     func(bmc.Event)
	cancel func()
}

// subscribe calls on for each event until cancel was called.
func (l *late) subscribe(on func(bmc.Event)) (cancel func()) {
	l.mu.Lock()
	l.on = on
	l.mu.Unlock()
	l.attach()
	return l.stop
}

// attach subscribes if that was not possible before. It may be repeated.
func (l *late) attach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on == nil || l.cancel != nil {
		return
	}
	if c, ok := l.find(); ok {
		l.cancel = c.Subscribe(l.on)
	}
}

func (l *late) stop() {
	l.mu.Lock()
	cancel := l.cancel
	l.on, l.cancel = nil, nil
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
