//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"sync"
	"time"
)

const (
	// drain is how long libvirtd gets to handle what QEMU processes reported last,
	// while none is being stopped.
	drain = 100 * time.Millisecond
	// stopPatience bounds how long a stop waits for others: one of them may hang.
	stopPatience = 5 * time.Second
)

// stops keeps a guest from being started before libvirtd has seen the end of its last
// QEMU process: libvirtd would take that for the end of the new one, and kill it. One
// thread of libvirtd's handles the ends of all guests, and may stand still while any is
// being stopped. So guests are stopped together, and then none for a while. The zero
// value is ready, and safe for concurrent use.
type stops struct {
	mu sync.Mutex
	// running are under way; draining have ended and wait for libvirtd.
	running, draining int
	// changed is closed, and forgotten, when a number falls.
	changed chan struct{}
}

// begin waits until libvirtd has seen the stops before; end or cancel follows.
func (s *stops) begin(ctx context.Context) {
	begun := false
	s.await(ctx, func() bool {
		if s.draining == 0 {
			s.running++
			begun = true
		}
		return begun
	})
	if !begun { // waited long enough
		s.change(func() { s.running++ })
	}
}

// cancel ends a stop after which nothing is started.
func (s *stops) cancel() { s.change(func() { s.running-- }) }

// end returns when the guest may be started.
func (s *stops) end(ctx context.Context) {
	s.change(func() { s.running--; s.draining++ })
	s.await(ctx, func() bool { return s.running == 0 })
	rest(ctx, drain)
	s.change(func() { s.draining-- })
}

func (s *stops) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// await returns when is returned true, or it has waited long enough.
func (s *stops) await(ctx context.Context, is func() bool) {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	for ctx.Err() == nil {
		changed := s.unless(is)
		if changed == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// unless calls is with mu held. It returns nil if that is true, or what is closed when that may change.
func (s *stops) unless(is func() bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is() {
		return nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
