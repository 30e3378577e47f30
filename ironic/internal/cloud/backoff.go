package cloud

import (
	"math/rand/v2"
	"time"
)

// Backoff spaces the attempts at something that failed.
type Backoff struct {
	// Failures counts those since it was last made zero; Until is when to try again.
	Failures int
	Until    time.Time
}

// Fail doubles the wait, from first to most, less up to a fifth so that many nodes
// or leaders do not come back at the same moment.
func (b *Backoff) Fail(first, most time.Duration) {
	wait := most
	if b.Failures < 16 {
		wait = min(most, first<<b.Failures)
	}
	b.Failures++
	b.Until = time.Now().Add(wait - time.Duration(rand.Int64N(int64(wait)/5+1)))
}

// NotBefore makes the wait at least that long, as a service asked for.
func (b *Backoff) NotBefore(wait time.Duration) {
	if until := time.Now().Add(wait); until.After(b.Until) {
		b.Until = until
	}
}

// Waiting reports whether it is too early to try again.
func (b *Backoff) Waiting() bool { return b.Failures > 0 && time.Now().Before(b.Until) }
