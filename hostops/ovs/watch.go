package ovs

import (
	"context"
	"time"
)

// watchPeriod is how often a connection is looked at, and a lost one made anew.
const watchPeriod = time.Second

// Watch calls wake after every change of a bridge, port or interface, our own too, and
// when the database comes and goes, until ctx ends (nil). wake must not block. A host
// without Open vSwitch is no error: it may get one.
func (h *Host) Watch(ctx context.Context, wake func()) error {
	h.wake.Store(&wake)
	defer h.wake.Store(nil)
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	up := false
	quiet := time.Now()
	for {
		s, err := h.connected(ctx)
		if (err == nil) != up {
			up = err == nil
			wake()
		}
		if up && time.Since(quiet) >= idle {
			quiet = time.Now()
			h.probe(ctx, s)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// probe ends a connection whose other end no longer answers.
func (h *Host) probe(ctx context.Context, s *session) {
	bounded, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if s.client.Echo(bounded) != nil && ctx.Err() == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.session == s {
			h.drop()
		}
	}
}
