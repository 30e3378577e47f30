package consensus

import (
	"cmp"
	"slices"
	"time"
)

// Candidate is what Decide knows of a peer.
type Candidate struct {
	ID, Zone string
	Role     Role
	// Healthy says that the peer answers and, if it follows the log, has it.
	Healthy bool
	// Since says for how long Healthy has been what it is.
	Since time.Duration
	// Barred peers follow the log no longer: they leave, were removed, or drain.
	Barred bool
}

// Change makes a peer something else.
type Change struct {
	ID   string
	Role Role
}

// Rules are the times and numbers that Decide goes by. Zero values mean the usual.
type Rules struct {
	// Stable is how long a peer must have been healthy before it may vote.
	Stable time.Duration
	// Gone is how long a voter may be unhealthy before it is replaced.
	Gone time.Duration
}

// The usual times, and the numbers that `wanted` goes by.
const (
	stableTime  = 10 * time.Second
	goneTime    = 60 * time.Second
	maxStandbys = 4
	manyPeers   = 21
	manyZones   = 5
)

func (r Rules) withDefaults() Rules {
	r.Stable, r.Gone = cmp.Or(r.Stable, stableTime), cmp.Or(r.Gone, goneTime)
	return r
}

// wanted is how many voters and standbys a mesh of that many peers has. Two voters
// would be worse than one: the loss of either stops the mesh.
func wanted(peers, zones int) (votes, standbys int) {
	switch {
	case peers <= 1:
		return 1, 0
	case peers == 2:
		return 1, 1
	case peers < manyPeers && zones < manyZones || peers < 5:
		return 3, min(peers-3, 2)
	}
	return 5, min(peers-5, maxStandbys)
}

// Decide returns the next changes of who votes and who stands by, in the order in
// which they are to be made; ask again when they are. It replaces before it removes,
// never takes away voters because some are unhealthy, nor one that the rest needs for
// its majority, and returns nothing when all is as it should be. It is deterministic.
// Who leads is never demoted unless barred, and then last.
func Decide(peers []Candidate, leader string, r Rules) []Change {
	d := &decider{rules: r.withDefaults(), leader: leader, peers: slices.Clone(peers)}
	slices.SortFunc(d.peers, func(a, b Candidate) int { return cmp.Compare(a.ID, b.ID) })
	d.size()
	d.change(Client, func(i int) bool { return d.peers[i].Role == Standby && d.failed(d.peers[i]) })
	now, soon := d.seats()
	d.change(Voter, func(i int) bool { return d.peers[i].Role == Standby && slices.Contains(now, i) })
	stand := d.places(now, soon)
	d.change(Standby, func(i int) bool { return d.peers[i].Role == Client && slices.Contains(stand, i) })
	d.demote(now, soon, stand)
	d.change(Client, func(i int) bool { return d.peers[i].Role == Standby && !slices.Contains(stand, i) })
	return d.changes
}

type decider struct {
	rules  Rules
	leader string
	// peers are sorted by ID; the numbers below and in sets are indices of it.
	peers           []Candidate
	votes, standbys int
	changes         []Change
}

func (d *decider) set(i int, role Role) {
	d.peers[i].Role = role
	d.changes = append(d.changes, Change{d.peers[i].ID, role})
}

// change gives a role to those that it is for.
func (d *decider) change(role Role, to func(int) bool) {
	for i := range d.peers {
		if to(i) {
			d.set(i, role)
		}
	}
}

func (d *decider) count(keep func(Candidate) bool) int {
	n := 0
	for _, p := range d.peers {
		if keep(p) {
			n++
		}
	}
	return n
}

// size sets how many are to vote and to stand by. The mesh is as large as what it
// knows, whoever is up, so that peers which come and go change nothing; but no more
// can vote than there are, and an even number is no better than the odd one below.
func (d *decider) size() {
	zones := map[string]bool{}
	peers := 0
	for _, p := range d.peers {
		if !p.Barred {
			peers++
			zones[p.Zone] = true
		}
	}
	votes, standbys := wanted(peers, len(zones))
	usable := d.count(func(p Candidate) bool { return d.soon(p) != never })
	d.votes = max(1, min(votes, usable-1+usable%2))
	d.standbys = min(votes+standbys-d.votes, maxStandbys)
}

// failed says that one is to be replaced.
func (d *decider) failed(p Candidate) bool {
	return p.Barred || !p.Healthy && p.Since >= d.rules.Gone && !d.leads(p)
}

// good says that one has been well for so long that it may be relied on.
func (d *decider) good(p Candidate) bool {
	return p.Healthy && !p.Barred && p.Since >= d.rules.Stable
}

func (d *decider) leads(p Candidate) bool { return p.ID == d.leader && p.Role == Voter }

// works says that a voter answers: who leads does.
func (d *decider) works(p Candidate) bool { return p.Role == Voter && (p.Healthy || d.leads(p)) }

// The classes of pick: one is taken only if there are too few of the classes before.
const (
	never = iota - 1
	first
	second
	third
)

// seats returns who is to vote now, and who is to once all that are well are ready.
func (d *decider) seats() (now, soon []int) {
	standing := d.count(func(p Candidate) bool { return p.Role == Voter && !d.failed(p) })
	now = d.pick(d.votes, nil, func(_ int, p Candidate) int {
		switch {
		case p.Barred:
			return never
		case p.Role == Voter && d.failed(p):
			return second // it may come back
		case p.Role == Voter && standing > d.votes && !d.works(p):
			return second // some voter goes: not one that works
		case p.Role == Voter, p.Role == Standby && d.good(p):
			return first
		}
		return never
	})
	soon = d.pick(d.votes, nil, func(_ int, p Candidate) int { return d.soon(p) })
	return d.odd(now), soon
}

// soon is the class of those that vote or may vote soon.
func (d *decider) soon(p Candidate) int {
	switch {
	case p.Barred:
		return never
	case p.Role != Client && !d.failed(p), d.good(p):
		return first
	case p.Healthy:
		return second
	case p.Role == Voter:
		return third
	}
	return never
}

// odd leaves out one of an even number unless all of them vote already: a mesh goes
// from one voter to three in one go, and two would stand longer than needed.
func (d *decider) odd(seats []int) []int {
	isNew := func(i int) bool { return d.peers[i].Role != Voter }
	if len(seats)%2 == 1 || !slices.ContainsFunc(seats, isNew) {
		return seats
	}
	for n := len(seats) - 1; n >= 0; n-- {
		if i := seats[n]; isNew(i) || d.failed(d.peers[i]) {
			return slices.Delete(seats, n, n+1)
		}
	}
	return seats
}

// places returns who is to stand by: those that are to vote soon, and some more.
func (d *decider) places(now, soon []int) []int {
	var out []int
	for _, i := range soon {
		if d.peers[i].Role != Voter && !slices.Contains(now, i) {
			out = append(out, i)
		}
	}
	taken := slices.Concat(now, out)
	return append(out, d.pick(d.standbys, taken, func(i int, p Candidate) int {
		switch {
		case slices.Contains(taken, i) || d.failed(p):
			return never
		case p.Role != Client:
			return first
		case d.good(p):
			return second
		case p.Healthy:
			return third
		}
		return never
	})...)
}

// pick chooses up to n by class, then from the zone with the fewest, then those that
// have most to do with the log, so that what is balanced stays as it is. Who was
// chosen before counts for its zone.
func (d *decider) pick(n int, before []int, class func(int, Candidate) int) []int {
	zones := map[string]int{}
	for _, i := range before {
		zones[d.peers[i].Zone]++
	}
	var out []int
	for len(out) < n {
		best, key := -1, [3]int{}
		for i, p := range d.peers {
			c := class(i, p)
			if c == never || slices.Contains(out, i) {
				continue
			}
			if k := [3]int{c, zones[p.Zone], d.rank(p)}; best < 0 || slices.Compare(k[:], key[:]) < 0 {
				best, key = i, k
			}
		}
		if best < 0 {
			return out
		}
		out = append(out, best)
		zones[d.peers[best].Zone]++
	}
	return out
}

func (d *decider) rank(p Candidate) int {
	switch {
	case d.leads(p):
		return 0
	case d.works(p):
		return 1
	case p.Role == Voter:
		return 2
	case p.Role == Standby:
		return 3
	}
	return 4
}

// demote takes the vote from those that have no seat: first those that do not work,
// then the barred ones, and last who leads.
func (d *decider) demote(now, soon, stand []int) {
	var out []int
	for i, p := range d.peers {
		if p.Role == Voter && !slices.Contains(now, i) {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(d.need(d.peers[a]), d.need(d.peers[b])) })
	// A barred one waits for who is to take its place, if anybody is.
	replaced := len(now) >= d.votes || len(soon) <= len(now)
	for _, i := range out {
		switch {
		case d.peers[i].Barred && !replaced, !d.spared(i):
		case slices.Contains(stand, i):
			d.set(i, Standby)
		default:
			d.set(i, Client)
		}
	}
}

// need orders voters that are to go: who is needed most goes last.
func (d *decider) need(p Candidate) int {
	switch {
	case d.leads(p):
		return 3
	case !d.works(p):
		return 0
	case p.Barred:
		return 1
	}
	return 2
}

// spared says that those who vote beside this one are a majority of themselves.
func (d *decider) spared(i int) bool {
	works, all := d.count(d.works), d.count(func(p Candidate) bool { return p.Role == Voter })
	if d.works(d.peers[i]) {
		works--
	}
	return 2*works > all-1
}
