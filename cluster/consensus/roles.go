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

// The usual times, and how many standbys there are at most.
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

// wanted is how many voters and standbys a mesh of that many usable peers has. Two
// voters would be worse than one: the loss of either stops the mesh.
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
// which they are to be made. It replaces before it removes, never takes the number
// of voters below what there are because some are unhealthy, and returns nothing
// when all is as it should be. It is deterministic. Who leads is never demoted
// unless barred, and then last.
func Decide(peers []Candidate, leader string, r Rules) []Change {
	d := &decider{rules: r.withDefaults(), leader: leader, peers: slices.Clone(peers)}
	slices.SortFunc(d.peers, func(a, b Candidate) int { return cmp.Compare(a.ID, b.ID) })
	zones := map[string]bool{}
	usable := 0
	for _, p := range d.peers {
		// A voter that is unhealthy still counts: it may come back.
		if !p.Barred && (p.Healthy || p.Role != Client) {
			usable++
			zones[p.Zone] = true
		}
	}
	d.votes, d.standbys = wanted(usable, len(zones))
	d.removals()
	d.promotions()
	d.fillStandbys()
	d.demotions()
	return d.changes
}

type decider struct {
	rules           Rules
	leader          string
	peers           []Candidate
	votes, standbys int
	changes         []Change
}

func (d *decider) set(i int, role Role) {
	d.peers[i].Role = role
	d.changes = append(d.changes, Change{d.peers[i].ID, role})
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

func isVoter(p Candidate) bool   { return p.Role == Voter }
func isStandby(p Candidate) bool { return p.Role == Standby }
func (d *decider) good(p Candidate) bool {
	return p.Healthy && !p.Barred && p.Since >= d.rules.Stable
}

// failed says that a voter is to be replaced.
func (d *decider) failed(p Candidate) bool {
	return p.Barred || !p.Healthy && p.Since >= d.rules.Gone
}

// removals takes standbys that have no business here.
func (d *decider) removals() {
	for i, p := range d.peers {
		if isStandby(p) && d.failed(p) {
			d.set(i, Client)
		}
	}
}

// promotions makes standbys vote until there are enough voters that work.
func (d *decider) promotions() {
	for d.count(func(p Candidate) bool { return isVoter(p) && !d.failed(p) }) < d.votes {
		i := d.best(func(p Candidate) bool { return isStandby(p) && d.good(p) })
		if i < 0 {
			break
		}
		// From one voter to three in one go: two would stand longer than needed.
		working := d.count(func(p Candidate) bool { return isVoter(p) && !d.failed(p) })
		ready := d.count(func(p Candidate) bool { return isStandby(p) && d.good(p) })
		if working == 1 && d.votes > 1 && ready < 2 && d.count(isVoter) == 1 {
			break
		}
		d.set(i, Voter)
	}
}

// fillStandbys makes clients stand by, also those that are to vote soon.
func (d *decider) fillStandbys() {
	for {
		missing := max(0, d.votes-d.count(func(p Candidate) bool { return isVoter(p) && !d.failed(p) }))
		if d.count(isStandby) >= d.standbys+missing {
			return
		}
		i := d.best(func(p Candidate) bool { return p.Role == Client && p.Healthy && !p.Barred })
		if i < 0 {
			return
		}
		d.set(i, Standby)
	}
}

// demotions takes voters that are too many: failed ones first, the leader last.
func (d *decider) demotions() {
	for d.count(isVoter) > d.votes {
		i := d.worst()
		if i < 0 {
			return
		}
		role := Standby
		if d.failed(d.peers[i]) {
			role = Client
		}
		d.set(i, role)
	}
	for d.count(isStandby) > d.standbys+max(0, d.votes-d.count(isVoter)) {
		i := d.last(isStandby)
		d.set(i, Client)
	}
	// A barred voter goes even if nobody takes its place, as long as a voter is left.
	for i, p := range d.peers {
		if isVoter(p) && p.Barred && d.count(isVoter) > 1 {
			d.set(i, Client)
		}
	}
}

// best returns the peer whose zone has the fewest voters.
func (d *decider) best(among func(Candidate) bool) int {
	found, fewest := -1, 0
	for i, p := range d.peers {
		if !among(p) {
			continue
		}
		n := d.count(func(o Candidate) bool { return o.Role != Client && o.Zone == p.Zone && !d.failed(o) })
		if found < 0 || n < fewest {
			found, fewest = i, n
		}
	}
	return found
}

// worst returns the voter to demote: a failed one, or one of the zone with the most
// voters, but never the leader while it works.
func (d *decider) worst() int {
	found, most := -1, 0
	for i, p := range d.peers {
		if !isVoter(p) || p.ID == d.leader && !p.Barred {
			continue
		}
		if d.failed(p) {
			return i
		}
		n := d.count(func(o Candidate) bool { return isVoter(o) && o.Zone == p.Zone })
		if found < 0 || n >= most {
			found, most = i, n
		}
	}
	return found
}

func (d *decider) last(among func(Candidate) bool) int {
	found := -1
	for i, p := range d.peers {
		if among(p) {
			found = i
		}
	}
	return found
}
