package redfish

import (
	"net/netip"
	"sync"
	"time"

	bmcguard "tenks/bmc/guard"
)

// maxSuspects bounds the memory of bad logins; the oldest is forgotten first.
const maxSuspects = 1024

// suspect is who logs in.
type suspect = bmcguard.Suspect

// guard slows down who guesses passwords. It is safe for concurrent use.
type guard struct {
	mu    sync.Mutex // guards known
	known bmcguard.Guard
}

// suspectOf is who a request comes from.
func suspectOf(remote, name string) suspect {
	addr, _ := netip.ParseAddrPort(remote) // one without a port is nobody in particular
	return suspect{Source: addr.Addr().Unmap(), Name: name}
}

// fail notes a bad login; it reports whether that one led to a block.
func (g *guard) fail(s suspect, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Most = maxSuspects
	return g.known.Fail(s, now)
}

// succeed forgets the bad logins before a good one.
func (g *guard) succeed(s suspect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Succeed(s)
}

func (g *guard) blocked(s suspect, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known.Blocked(s, now)
}
