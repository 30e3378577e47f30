package ipmi

import (
	"time"

	bmcguard "tenks/bmc/guard"
)

const (
	// maxSuspects bounds the memory of bad logins.
	maxSuspects = 64
	// pingsPerSecond bounds answers to presence pings, the one answer that is much
	// larger than its question.
	pingsPerSecond = 50
)

// suspect is who logs in.
type suspect = bmcguard.Suspect

// guard slows down who guesses passwords, and pings.
type guard struct {
	logins bmcguard.Guard
	pings  int
	second time.Time
}

// fail notes a bad login; it reports whether that one led to a block.
func (g *guard) fail(s suspect, now time.Time) bool {
	g.logins.Most = maxSuspects
	return g.logins.Fail(s, now)
}

// mayPong reports whether another ping is answered in this second.
func (g *guard) mayPong(now time.Time) bool {
	if second := now.Truncate(time.Second); !second.Equal(g.second) {
		g.second, g.pings = second, 0
	}
	g.pings++
	return g.pings <= pingsPerSecond
}
