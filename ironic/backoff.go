package ironic

import (
	"math/rand/v2"
	"time"
)

// backoff spaces the attempts at something that failed.
type backoff struct {
	failures int
	until    time.Time
}

// fail doubles the wait, from first to most, less up to a fifth so that many nodes
// or leaders do not come back at the same moment.
func (b *backoff) fail(first, most time.Duration) {
	wait := most
	if b.failures < 16 {
		wait = min(most, first<<b.failures)
	}
	b.failures++
	b.until = time.Now().Add(wait - time.Duration(rand.Int64N(int64(wait)/5+1)))
}

func (b *backoff) waiting() bool { return b.failures > 0 && time.Now().Before(b.until) }
