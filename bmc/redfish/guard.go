package redfish

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxFailures bad logins within failuresWithin block a source for that user name
	// for blockFor. Nobody else is blocked, so nobody can lock others out.
	maxFailures    = 10
	failuresWithin = time.Minute
	blockFor       = 30 * time.Second
	// maxSuspects bounds the memory; the oldest is forgotten first.
	maxSuspects = 1024
)

// guard slows down who guesses passwords.
type guard struct {
	mu       sync.Mutex // guards suspects
	suspects map[suspect]failures
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

// suspectOf is who a request comes from.
func suspectOf(remote, name string) suspect {
	addr, _ := netip.ParseAddrPort(remote) // one without a port is nobody in particular
	return suspect{addr.Addr().Unmap(), name}
}

// fail notes a bad login; it reports whether that one led to a block.
func (g *guard) fail(s suspect, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, isKnown := g.suspects[s]
	if !isKnown && len(g.suspects) >= maxSuspects {
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

func (g *guard) succeed(s suspect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.suspects, s)
}

func (g *guard) blocked(s suspect, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Before(g.suspects[s].blocked)
}
