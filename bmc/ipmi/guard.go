package ipmi

import (
	"net/netip"
	"time"
)

const (
	// maxFailures bad logins within failuresWithin block a source for that user name
	// for blockFor. Nobody else is blocked, so nobody can lock others out.
	maxFailures    = 10
	failuresWithin = time.Minute
	blockFor       = 30 * time.Second
	// maxSuspects bounds the memory; the oldest is forgotten first.
	maxSuspects = 64
	// pingsPerSecond bounds answers to presence pings, the one answer that is much
	// larger than its question.
	pingsPerSecond = 50
)

// guard slows down who guesses passwords, and pings.
type guard struct {
	suspects map[suspect]failures
	pings    int
	second   time.Time
}

type suspect struct {
	source netip.Addr
	name   string
}

type failures struct {
	count       int
	first, last time.Time
	blocked     time.Time // until when
}

// fail notes a bad login; it reports whether that one led to a block.
func (g *guard) fail(s suspect, now time.Time) bool {
	f, known := g.suspects[s]
	if !known && len(g.suspects) >= maxSuspects {
		g.forgetOldest()
	}
	if now.Sub(f.first) >= failuresWithin {
		f = failures{first: now}
	}
	f.count++
	f.last = now
	block := f.count >= maxFailures
	if block {
		f = failures{last: now, blocked: now.Add(blockFor)}
	}
	if g.suspects == nil {
		g.suspects = map[suspect]failures{}
	}
	g.suspects[s] = f
	return block
}

func (g *guard) forgetOldest() {
	var oldest suspect
	var last time.Time
	for s, f := range g.suspects {
		if last.IsZero() || f.last.Before(last) {
			oldest, last = s, f.last
		}
	}
	delete(g.suspects, oldest)
}

func (g *guard) succeed(s suspect) { delete(g.suspects, s) }

func (g *guard) blocked(s suspect, now time.Time) bool {
	return now.Before(g.suspects[s].blocked)
}

// mayPong reports whether another ping is answered in this second.
func (g *guard) mayPong(now time.Time) bool {
	if second := now.Truncate(time.Second); !second.Equal(g.second) {
		g.second, g.pings = second, 0
	}
	g.pings++
	return g.pings <= pingsPerSecond
}
