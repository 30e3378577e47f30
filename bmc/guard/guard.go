// Package guard slows down who guesses passwords of BMCs: a source that fails too often
// for a user name is blocked for that name for a while, and its network for every name if
// it fails much more often. Whoever has logged in from there before is not blocked with its
// network, so that nobody can lock others out. It starts nothing and has no clock.
package guard

import (
	"net/netip"
	"time"
)

const (
	// MaxFailures bad logins within Within block a source for that user name.
	MaxFailures = 10
	// MaxOfNetwork bad logins within Within, with whatever names, block a network: an IPv4
	// address, or the /64 that an IPv6 host takes its addresses from (RFC 4291 §2.5.1).
	MaxOfNetwork = 40
	// Within is how long failures count.
	Within = time.Minute
	// BlockFor is how long it is blocked.
	BlockFor = 30 * time.Second
)

// Guard remembers who failed. Its zero value remembers one suspect only: set Most. It is
// for one goroutine at a time.
type Guard struct {
	// Most bounds the memory, in suspects, networks and trusted ones each. Of suspects those
	// with the fewest failures are forgotten first: whoever fails with many names pushes out
	// nothing but those.
	Most     int
	suspects map[Suspect]failures
	networks map[netip.Prefix]failures
	trusted  map[Credentials]struct{}
}

// Suspect is a source and the user name that it gave.
type Suspect struct {
	Source netip.Addr
	Name   string
}

// Credentials are what a suspect has logged in with: a hash of the password, where one name
// has several.
type Credentials struct {
	Suspect
	Hash [32]byte
}

type failures struct {
	count       int
	first, last time.Time
	blocked     time.Time // until when
}

// Fail notes a bad login; it reports whether that one led to a block.
func (g *Guard) Fail(s Suspect, now time.Time) bool {
	if g.suspects == nil {
		g.suspects, g.networks = map[Suspect]failures{}, map[netip.Prefix]failures{}
	}
	own := note(g.suspects, s, MaxFailures, g.Most, now)
	wide := note(g.networks, network(s.Source), MaxOfNetwork, g.Most, now)
	return own || wide
}

// network is what one client may have all addresses of.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // the zero address, which has none
	}
	return p
}

// note counts a failure in a map of bounded size; it reports whether it led to a block.
func note[K comparable](of map[K]failures, key K, limit, most int, now time.Time) bool {
	f, known := of[key]
	if now.Before(f.blocked) {
		return false // it is no longer for that
	}
	if !known && len(of) >= most {
		forget(of, now)
	}
	if now.Sub(f.first) >= Within {
		f = failures{first: now}
	}
	f.count++
	f.last = now
	block := f.count >= limit
	if block {
		f = failures{last: now, blocked: now.Add(BlockFor)}
	}
	of[key] = f
	return block
}

// forget removes the one that matters least: who is not blocked before who is, then who has
// failed least, then who has not failed for longest.
func forget[K comparable](of map[K]failures, now time.Time) {
	var worst K
	var least failures
	first := true
	for key, f := range of {
		if first || f.before(least, now) {
			worst, least, first = key, f, false
		}
	}
	delete(of, worst)
}

func (f failures) before(o failures, now time.Time) bool {
	if blocked := now.Before(f.blocked); blocked != now.Before(o.blocked) {
		return !blocked
	}
	if f.count != o.count {
		return f.count < o.count
	}
	return f.last.Before(o.last)
}

// Forgive takes back a failure that was none after all. It ends no block.
func (g *Guard) Forgive(s Suspect) {
	if f := g.suspects[s]; f.count > 0 {
		f.count--
		g.suspects[s] = f
	}
	if f := g.networks[network(s.Source)]; f.count > 0 {
		f.count--
		g.networks[network(s.Source)] = f
	}
}

// Succeed forgets the failures before a good login, and trusts who made it. It is for names
// that have one password: see Trust.
func (g *Guard) Succeed(s Suspect) {
	delete(g.suspects, s)
	g.Trust(Credentials{Suspect: s})
}

// Trust remembers a good login. Failures with other passwords go on counting: who has one
// good password could guess others else.
func (g *Guard) Trust(c Credentials) {
	if g.trusted == nil {
		g.trusted = map[Credentials]struct{}{}
	}
	if _, known := g.trusted[c]; known {
		return
	}
	for other := range g.trusted { // any one: nobody can choose which
		if len(g.trusted) < g.Most {
			break
		}
		delete(g.trusted, other)
	}
	g.trusted[c] = struct{}{}
}

// Trusted says that these credentials were good when they last came from this source.
func (g *Guard) Trusted(c Credentials) bool {
	_, ok := g.trusted[c]
	return ok
}

// Distrust is the inverse of Trust.
func (g *Guard) Distrust(c Credentials) { delete(g.trusted, c) }

// Blocked reports whether a login is refused without a look at its password.
func (g *Guard) Blocked(s Suspect, now time.Time) bool {
	if now.Before(g.suspects[s].blocked) {
		return true
	}
	return now.Before(g.networks[network(s.Source)].blocked) && !g.Trusted(Credentials{Suspect: s})
}
