// Package guard slows down who guesses passwords of BMCs: a source that fails too often
// for a user name is blocked for that name for a while. Nobody else is blocked, so nobody
// can lock others out. It starts nothing and has no clock.
package guard

import (
	"net/netip"
	"time"
)

const (
	// MaxFailures bad logins within Within block a source for that user name.
	MaxFailures = 10
	// Within is how long failures count.
	Within = time.Minute
	// BlockFor is how long it is blocked.
	BlockFor = 30 * time.Second
)

// Guard remembers who failed. Its zero value remembers one suspect only: set Most. It is
// for one goroutine at a time.
type Guard struct {
	// Most bounds the memory, in suspects; the oldest is forgotten first.
	Most     int
	suspects map[Suspect]failures
}

// Suspect is a source and the user name that it gave.
type Suspect struct {
	Source netip.Addr
	Name   string
}

type failures struct {
	count       int
	first, last time.Time
	blocked     time.Time // until when
}

// Fail notes a bad login; it reports whether that one led to a block.
func (g *Guard) Fail(s Suspect, now time.Time) bool {
	f, known := g.suspects[s]
	if !known && len(g.suspects) >= g.Most {
		g.forgetOldest()
	}
	if now.Sub(f.first) >= Within {
		f = failures{first: now}
	}
	f.count++
	f.last = now
	block := f.count >= MaxFailures
	if block {
		f = failures{last: now, blocked: now.Add(BlockFor)}
	}
	if g.suspects == nil {
		g.suspects = map[Suspect]failures{}
	}
	g.suspects[s] = f
	return block
}

func (g *Guard) forgetOldest() {
	var oldest Suspect
	var last time.Time
	for s, f := range g.suspects {
		if last.IsZero() || f.last.Before(last) {
			oldest, last = s, f.last
		}
	}
	delete(g.suspects, oldest)
}

// Succeed forgets the failures before a good login.
func (g *Guard) Succeed(s Suspect) { delete(g.suspects, s) }

// Blocked reports whether a login is refused without a look at its password.
func (g *Guard) Blocked(s Suspect, now time.Time) bool { return now.Before(g.suspects[s].blocked) }
