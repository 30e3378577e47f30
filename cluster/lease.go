package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tenks/cluster/transport"
)

// leaseEvery is how often every peer tells the leader that it is there. How long a
// lease holds is for who reads Leases. They are no part of the log.
const leaseEvery = 3 * time.Second

// leaseTries is how often a lease may not be renewed before somebody should know.
const leaseTries = 5

// leases is what the leader knows of who is there. Safe for concurrent use.
type leases struct {
	mu sync.Mutex // guards what follows
	// since is when this peer began to lead, and term in which term; zero: it does not.
	since time.Time
	term  uint64
	last  map[string]time.Time
	// withheld counts what keeps a peer from renewing its lease.
	withheld map[string]int
}

// errWithheld says that a peer's nodes are being given to others.
var errWithheld = errors.New("no lease now: what is placed on the peer is being placed elsewhere")

// renew records that a peer is there, if this one leads in that term.
func (l *leases) renew(peer string, term uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.since.IsZero() || l.term != term:
		return fmt.Errorf("%w yet", ErrNotLeader)
	case l.withheld[peer] > 0:
		return errWithheld
	}
	// After the peer asked: what counts from here ends later than what counts from there.
	l.last[peer] = time.Now()
	return nil
}

func (l *leases) begin(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.term, l.last, l.withheld = time.Now(), term, map[string]time.Time{}, map[string]int{}
}

func (l *leases) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.term, l.last, l.withheld = time.Time{}, 0, nil, nil
}

// withhold keeps those peers from renewing whose last lease is still the one that was
// seen, and returns them with the term that this holds in.
func (l *leases) withhold(seen map[string]time.Time) (peers []string, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return nil, 0
	}
	for peer, at := range seen {
		if l.last[peer].Equal(at) {
			peers = append(peers, peer)
			l.withheld[peer]++
		}
	}
	return peers, l.term
}

func (l *leases) release(peers []string, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term {
		return
	}
	for _, peer := range peers {
		l.withheld[peer]--
	}
}

// Leases returns when each peer last renewed its lease with this leader, and since
// when this peer leads: before that nothing is known, but no former leader confirmed a
// lease that was asked for later. ok is false where it does not lead.
func (m *Mesh) Leases() (last map[string]time.Time, since time.Time, ok bool) {
	term := m.log.Term()
	m.leases.mu.Lock()
	defer m.leases.mu.Unlock()
	ok = !m.leases.since.IsZero() && m.leases.term == term
	return maps.Clone(m.leases.last), m.leases.since, ok
}

// Displace proposes a command about peers that are gone. They get no lease while it is
// under way, so that whoever gets one later can read what became of it. seen holds the
// last lease of each, as Leases said (the zero time: none); command gets those of which
// that still holds, and may return nothing. It is proposed in this term of leadership or
// never. Errors: ErrNotLeader, ErrUnknown.
func (m *Mesh) Displace(ctx context.Context, seen map[string]time.Time, command func(peers []string) ([]byte, error)) (answer any, err error) {
	peers, term := m.leases.withhold(seen)
	defer func() {
		// What may yet be committed in this term keeps them out until its end.
		if !errors.Is(err, ErrUnknown) {
			m.leases.release(peers, term)
		}
	}()
	entry, err := command(peers)
	if err != nil || entry == nil {
		return nil, err
	}
	if !m.log.IsLeader() || m.log.Term() != term {
		return nil, ErrNotLeader
	}
	return m.log.Propose(ctx, entry)
}

// LastLease is when this peer asked for the lease that a leader last confirmed; zero:
// none since Open. The leader needs one, too, which a majority of the voters confirms.
func (m *Mesh) LastLease() time.Time {
	if m.transport == nil && m.log.IsLeader() {
		return time.Now()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leased
}

// LeaseAge is the time since LastLease, counted while the host is suspended, too; false:
// there was none since Open.
func (m *Mesh) LeaseAge() (age time.Duration, ok bool) {
	if m.transport == nil {
		return 0, m.log.IsLeader()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return sinceBoot() - m.leasedBoot, !m.leased.IsZero()
}

// sinceBoot is the time since the host booted, with the time that it slept.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("clock_gettime: %v", err)) // Linux has this clock since 2.6.39
	}
	return time.Duration(t.Nano())
}

// keepLease renews this peer's lease until ctx ends.
func (m *Mesh) keepLease(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		err := m.renewLease(ctx)
		m.refused.Store(errors.Is(err, transport.ErrRefused))
		wait := leaseEvery
		if failures++; err == nil {
			failures = 0
		} else {
			wait = leaseEvery / 6
		}
		// An election, or a start, takes a few.
		if failures == leaseTries && ctx.Err() == nil {
			m.cfg.Log.WarnContext(ctx, "lease not renewed; will retry", "err", err)
		}
		pause(ctx, wait)
	}
}

func (m *Mesh) renewLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseEvery)
	defer cancel()
	began, beganBoot := time.Now(), sinceBoot()
	err := m.tryLeader(ctx, "", func(ctx context.Context) error {
		return m.grant(ctx, m.id)
	}, func(ctx context.Context, leader string) error {
		_, err := m.rpc.call(ctx, leader, http.MethodPost, pathLease, nil)
		var n *notLeader
		if errors.As(err, &n) && n.leader != "" && n.leader != m.id {
			_, err = m.rpc.call(ctx, n.leader, http.MethodPost, pathLease, nil)
		}
		return err
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leased, m.leasedBoot = began, beganBoot
	return nil
}

// grant confirms a peer's lease once it is sure that this peer led after it was asked.
func (m *Mesh) grant(ctx context.Context, peer string) error {
	term, err := m.verified(ctx)
	if err != nil {
		return err
	}
	return m.leases.renew(peer, term)
}
