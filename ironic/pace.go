package ironic

import (
	"context"
	"sync"
	"time"
)

// pace spaces requests out: so many in a second, with as many at once after a rest (a
// token bucket, as the time at which it would be full). The zero value lets all pass. It
// is safe for concurrent use.
type pace struct {
	// mu guards all below.
	mu sync.Mutex
	// rate is in requests per second; 0: no bound.
	rate float64
	full time.Time
}

// set changes the rate, for requests from now on.
func (p *pace) set(rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// wait returns when the next request may be made, or with the error of ctx.
func (p *pace) wait(ctx context.Context) error {
	wait := time.Until(p.next(time.Now()))
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// next takes a token and says from when on it counts.
func (p *pace) next(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate <= 0 {
		return now
	}
	each := time.Duration(float64(time.Second) / p.rate)
	burst := max(0, time.Second-each)
	if p.full.Before(now) {
		p.full = now
	}
	at := p.full.Add(-burst)
	p.full = p.full.Add(each)
	return at
}
