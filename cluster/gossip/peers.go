package gossip

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxGone bounds how many peers are remembered that died or left: the oldest go.
const maxGone = 4096

// State is whether a peer is there.
type State uint8

// The states of a peer. One that is suspected of being dead still is alive.
const (
	// Alive peers answer.
	Alive State = iota + 1
	// Dead peers stopped to answer.
	Dead
	// Left peers said that they go.
	Left
)

// String returns alive, dead or left.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	case Left:
		return "left"
	default:
		return "state " + strconv.Itoa(int(s))
	}
}

// Peer is a peer as this one sees it.
type Peer struct {
	ID string
	// Address is the host:port of its gossip.
	Address string
	Facts
	State State
	// Since is when State began, by this peer's clock.
	Since time.Time
}

// entry is what is known of one peer.
type entry struct {
	address string
	state   State
	since   time.Time
	// meta came with the peer's metadata, full with an exchange of states.
	meta, full edition
	// leaving is whether the peer said that it leaves.
	leaving bool
}

// edition is the newest; what came in an exchange is whole.
func (e *entry) edition() edition {
	if e.full.Revision > 0 && e.full.Revision >= e.meta.Revision {
		return e.full
	}
	return e.meta
}

// table is who is there. Its methods call nobody, and may be called by memberlist
// while that holds its own lock.
type table struct {
	self string

	// mu guards what follows. changed is closed at each change.
	mu      sync.Mutex
	entries map[string]*entry
	changed chan struct{}
	// closed: nothing changes any more.
	closed bool
}

func newTable(self string) *table {
	return &table{self: self, entries: map[string]*entry{}, changed: make(chan struct{})}
}

// notify is called with mu held.
func (t *table) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *table) changes() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// alive notes that a peer is there, and what its metadata says.
func (t *table) alive(id, address string, meta edition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	e := t.entries[id]
	if e == nil {
		e = &entry{}
		t.entries[id] = e
	}
	if e.state != Alive {
		e.state, e.since = Alive, time.Now()
	}
	e.address, e.meta, e.leaving = address, meta, meta.Leaving
	t.notify()
}

// gone notes that a peer died, or left if it said so before.
func (t *table) gone(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if t.closed || e == nil {
		return
	}
	e.state, e.since = Dead, time.Now()
	if e.leaving {
		e.state = Left
	}
	t.forget()
	t.notify()
}

// forget drops the oldest of those that are gone, if there are too many. It is called
// with mu held.
func (t *table) forget() {
	var oldest string
	count := 0
	for id, e := range t.entries {
		if e.state == Alive {
			continue
		}
		count++
		if oldest == "" || e.since.Before(t.entries[oldest].since) {
			oldest = id
		}
	}
	if count > maxGone {
		delete(t.entries, oldest)
	}
}

// publish notes what this peer says of itself.
func (t *table) publish(mine edition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	e := t.entries[t.self]
	if e == nil {
		e = &entry{}
		t.entries[t.self] = e
	}
	e.full, e.leaving = mine, mine.Leaving
	t.notify()
}

// merge takes what is newer in records, of peers that are known. It returns the
// highest revision that anybody has of this peer: one above ours is of a former life.
func (t *table) merge(records []record) (mine uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0
	}
	changed := false
	for _, r := range records {
		e := t.entries[r.ID]
		switch {
		case r.ID == t.self:
			mine = max(mine, r.Edition.Revision)
		case e != nil && e.take(r.Edition):
			changed = true
		}
	}
	if changed {
		t.notify()
	}
	return mine
}

// take takes an edition that is newer or more complete, and says whether it was.
func (e *entry) take(other edition) bool {
	newer := other.Revision > e.full.Revision ||
		other.Revision == e.full.Revision && e.full.Facts.Truncated && !other.Facts.Truncated
	if newer {
		e.full = other
	}
	if other.Leaving && other.Revision >= e.meta.Revision && !e.leaving {
		e.leaving, newer = true, true
		if e.state == Dead {
			e.state = Left
		}
	}
	return newer
}

// records are what the metadata does not say: this peer's facts first, then those of
// others that did not fit, and who left.
func (t *table) records() []record {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []record
	if e := t.entries[t.self]; e != nil {
		out = append(out, record{t.self, e.full})
	}
	for id, e := range t.entries {
		whole := e.meta.Facts.Truncated && e.full.Revision >= e.meta.Revision
		if id != t.self && (whole || e.state == Left) {
			newest := e.edition()
			newest.Leaving = e.leaving
			out = append(out, record{id, newest})
		}
	}
	return out
}

func (t *table) peers() []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Peer, 0, len(t.entries))
	for id, e := range t.entries {
		if e.state == 0 {
			continue // this peer, before memberlist has said so
		}
		f := Facts(e.edition().Facts)
		f.Drivers, f.Physnets = slices.Clone(f.Drivers), slices.Clone(f.Physnets)
		out = append(out, Peer{ID: id, Address: e.address, Facts: f, State: e.state, Since: e.since})
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// is says whether a peer is in a state.
func (t *table) is(id string, s State) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	return e != nil && e.state == s
}

// count returns how many peers are in each state.
func (t *table) count() map[State]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[State]int{}
	for e := range maps.Values(t.entries) {
		out[e.state]++
	}
	return out
}

// addresses returns those of the peers that are there, and of those that are dead, by
// address; ID is the value.
func (t *table) addresses() (alive, dead map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	alive, dead = map[string]string{}, map[string]string{}
	for id, e := range t.entries {
		switch e.state {
		case Alive:
			alive[e.address] = id
		case Dead:
			dead[e.address] = id
		case Left: // it comes back by itself
		}
	}
	return alive, dead
}
