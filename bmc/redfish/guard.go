package redfish

import (
	"net/netip"
	"sync"
	"time"

	bmcguard "tenks/bmc/guard"
)

// maxSuspects bounds the memory of bad logins, and that of good ones.
const maxSuspects = 4096

// suspect is who logs in.
type suspect = bmcguard.Suspect

// credentials are who logs in, and a keyed hash of the password.
type credentials = bmcguard.Credentials

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

// fail notes a bad login, unless who makes it is blocked: others may have failed since it
// was asked whether it is. It reports whether this one led to a block.
func (g *guard) fail(s suspect, now time.Time) (led, blocked bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Most = maxSuspects
	if g.known.Blocked(s, now) {
		return false, true
	}
	return g.known.Fail(s, now), false
}

// forgive takes back a failure.
func (g *guard) forgive(s suspect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Forgive(s)
}

// trust remembers good credentials, whose owner nobody who guesses can lock out then.
func (g *guard) trust(c credentials) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Most = maxSuspects
	g.known.Trust(c)
}

// distrust is the inverse of trust.
func (g *guard) distrust(c credentials) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Distrust(c)
}

// blocked reports whether credentials are refused without a look at them.
func (g *guard) blocked(c credentials, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.known.Trusted(c) && g.known.Blocked(c.Suspect, now)
}
