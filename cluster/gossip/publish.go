package gossip

import (
	"sync"
	"time"
)

// largeMesh is from how many peers on capacity is spread less often, and slower how
// many times.
const largeMesh, slower = 500, 5

// publisher decides when this peer says something new of itself.
type publisher struct {
	// wake holds a value when want changed.
	wake chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// want is what is to be spread; have is what is spread since last.
	want Facts
	have edition
	last time.Time
	// again is whether it has to be spread although nothing changed.
	again bool
}

func newPublisher(f Facts) *publisher {
	f = f.clone()
	// The clock makes the revisions of this life higher than those of former ones. Where
	// it does not, outdo does.
	first := edition{Revision: uint64(time.Now().UnixMilli()), Facts: wireFacts(f)}
	return &publisher{wake: make(chan struct{}, 1), want: f, have: first, last: time.Now()}
}

func (p *publisher) edition() edition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have
}

func (p *publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // it is awake
	}
}

func (p *publisher) set(f Facts) {
	f = f.clone()
	p.mu.Lock()
	p.want = f
	p.mu.Unlock()
	p.signal()
}

// outdo makes sure that this peer's next revision is above one of a former life, and
// that there is a next one.
func (p *publisher) outdo(revision uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if revision <= p.have.Revision || p.have.Leaving {
		return
	}
	p.have.Revision, p.again = revision, true
	p.signal()
}

// leave makes the last edition. It says whether it is new.
func (p *publisher) leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have.Leaving {
		return false
	}
	p.have.Leaving = true
	p.have.Revision++
	return true
}

// next takes over what is wanted, if it is time, and returns whether it did. If not,
// wait is how long to wait; negative: until something changes.
func (p *publisher) next(now time.Time, quiet time.Duration) (publish bool, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have.Leaving {
		return false, -1
	}
	publish, wait = due(p.want, Facts(p.have.Facts), quiet-now.Sub(p.last))
	if !publish && !p.again {
		return false, wait
	}
	p.have = edition{Revision: p.have.Revision + 1, Facts: wireFacts(p.want)}
	p.last, p.again = now, false
	return true, 0
}

// due decides: facts that seldom change go out at once, and take with them what is
// spread with a delay. left is what is left of that.
func due(want, have Facts, left time.Duration) (publish bool, wait time.Duration) {
	switch {
	case !want.same(have):
		return true, 0
	case want.FreeEighths == have.FreeEighths:
		return false, -1
	case left <= 0:
		return true, 0
	default:
		return false, left
	}
}

// SetFacts changes what this peer says of itself: at once, but FreeEighths alone with
// the delay of Timing.Capacity, and then the newest value. It does not wait.
func (g *Gossip) SetFacts(f Facts) { g.published.set(f) }

func (g *Gossip) publishLoop() {
	for {
		publish, wait := g.published.next(time.Now(), g.quiet())
		if publish {
			g.publish()
			continue
		}
		var timer <-chan time.Time
		if wait >= 0 {
			timer = time.After(wait)
		}
		select {
		case <-g.run.Done():
			return
		case <-g.published.wake:
		case <-timer:
		}
	}
}

// publish hands the edition to memberlist, which asks for the metadata and queues it.
func (g *Gossip) publish() {
	if !g.life.TryLock() {
		return // it leaves or closes
	}
	defer g.life.Unlock()
	// A peer that left is forgotten by memberlist, which then would not find itself.
	if g.closed || g.published.edition().Leaving {
		return
	}
	g.table.publish(g.published.edition())
	_ = g.list.UpdateNode(time.Nanosecond) // it is queued: there is nothing to wait for
}

// quiet is how long there is nothing about capacity after something was published.
func (g *Gossip) quiet() time.Duration {
	if g.list.NumMembers() > largeMesh {
		return slower * g.config.Timing.Capacity
	}
	return g.config.Timing.Capacity
}
