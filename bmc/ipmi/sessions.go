package ipmi

import (
	"net/netip"
	"time"
)

const (
	// idleAfter ends an active session that says nothing (IPMI v2.0 §6.12.15).
	idleAfter = 60 * time.Second
	// halfOpenFor is how long a login may take.
	halfOpenFor = 10 * time.Second
	// maxActive and maxHalfOpen bound the table; maxPerSource is how many half-open
	// sessions one address may have before it loses its own oldest.
	maxActive    = 36
	maxHalfOpen  = 64
	maxPerSource = 48
	// sweepEvery is how often ended sessions are looked for.
	sweepEvery = 10 * time.Second
)

// sessions is the bounded table of a BMC's sessions.
type sessions struct {
	byID   map[uint32]*session
	active int
	swept  time.Time
}

func (t *sessions) get(id uint32) (*session, bool) {
	s, ok := t.byID[id]
	return s, ok
}

func (t *sessions) remove(s *session) {
	if t.byID[s.id] != s {
		return
	}
	delete(t.byID, s.id)
	if s.stage == stageActive {
		t.active--
	}
}

// add takes in a half-open session and evicts another one if there are too many:
// the oldest that has not yet named a user, else the oldest.
func (t *sessions) add(s *session) {
	if t.byID == nil {
		t.byID = map[uint32]*session{}
	}
	if t.halfOpen(s.from.Addr()) >= maxPerSource {
		t.remove(t.victim(s.from.Addr()))
	}
	if len(t.byID)-t.active >= maxHalfOpen {
		t.remove(t.victim(netip.Addr{}))
	}
	t.byID[s.id] = s
}

func (t *sessions) halfOpen(source netip.Addr) int {
	n := 0
	for _, s := range t.byID {
		if s.stage != stageActive && s.from.Addr() == source {
			n++
		}
	}
	return n
}

// victim returns the half-open session that goes first, of one source or, for the
// zero address, of all.
func (t *sessions) victim(source netip.Addr) *session {
	var worst *session
	for _, s := range t.byID {
		if s.stage == stageActive || source.IsValid() && s.from.Addr() != source {
			continue
		}
		if worst == nil || s.before(worst) {
			worst = s
		}
	}
	return worst
}

// before says that s is evicted before o.
func (s *session) before(o *session) bool {
	if named := s.stage != stageOpened; named != (o.stage != stageOpened) {
		return !named
	}
	if !s.used.Equal(o.used) {
		return s.used.Before(o.used)
	}
	return s.id < o.id
}

// promote counts a half-open session that became active and gives it a handle; the
// one that was idle longest goes if there are too many.
func (t *sessions) promote(s *session) {
	if t.active >= maxActive {
		var idle *session
		for _, o := range t.byID {
			if o.stage == stageActive && o != s && (idle == nil || o.used.Before(idle.used)) {
				idle = o
			}
		}
		t.remove(idle)
	}
	t.active++
	s.handle = t.freeHandle()
}

func (t *sessions) freeHandle() byte {
	var taken [maxActive + 2]bool
	for _, s := range t.byID {
		taken[s.handle] = true
	}
	for h := 1; h < len(taken); h++ {
		if !taken[h] {
			return byte(h)
		}
	}
	return 0
}

// find returns the active session with the lowest handle for which is holds.
func (t *sessions) find(is func(*session) bool) (*session, bool) {
	var found *session
	for _, s := range t.byID {
		if s.stage == stageActive && is(s) && (found == nil || s.handle < found.handle) {
			found = s
		}
	}
	return found, found != nil
}

// rank is the place of an active session by handle, from 1.
func (t *sessions) rank(s *session) int {
	n := 1
	for _, o := range t.byID {
		if o.stage == stageActive && o.handle < s.handle {
			n++
		}
	}
	return n
}

// sweep removes what has ended by itself.
func (t *sessions) sweep(now time.Time) {
	t.swept = now
	for _, s := range t.byID {
		if s.ended(now) {
			t.remove(s)
		}
	}
}

func (s *session) ended(now time.Time) bool {
	if s.stage == stageActive {
		return now.Sub(s.used) >= idleAfter || !s.until.IsZero() && !now.Before(s.until)
	}
	return now.Sub(s.used) >= halfOpenFor
}
