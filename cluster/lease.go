package cluster

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"tenks/cluster/transport"
)

// leaseEvery is how often every peer tells the leader that it is there. How long a
// lease holds is for who reads Leases. They are no part of the log.
const leaseEvery = 3 * time.Second

// leases is what the leader knows of who is there. Safe for concurrent use.
type leases struct {
	mu sync.Mutex // guards what follows
	// since is when this peer began to lead; zero: it does not.
	since time.Time
	last  map[string]time.Time
}

func (l *leases) renew(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.since.IsZero() {
		l.last[peer] = time.Now()
	}
}

func (l *leases) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.last = time.Now(), map[string]time.Time{}
}

func (l *leases) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.last = time.Time{}, nil
}

// Leases returns when each peer last renewed its lease with this leader, and since
// when this peer leads: before that nothing is known. ok is false where it does not
// lead.
func (m *Mesh) Leases() (last map[string]time.Time, since time.Time, ok bool) {
	m.leases.mu.Lock()
	defer m.leases.mu.Unlock()
	return maps.Clone(m.leases.last), m.leases.since, !m.leases.since.IsZero()
}

// LastLease is when the leader last confirmed this peer's lease; zero: never since
// Open. On the leader itself it is now while it leads.
func (m *Mesh) LastLease() time.Time {
	if m.log.IsLeader() {
		return time.Now()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leased
}

// keepLease renews this peer's lease until ctx ends.
func (m *Mesh) keepLease(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		err := m.renewLease(ctx)
		if lost := err != nil && ctx.Err() == nil; lost != failing {
			failing = lost
			if lost {
				m.cfg.Log.WarnContext(ctx, "lease not renewed; will retry", "err", err)
			}
		}
		m.refused.Store(errors.Is(err, transport.ErrRefused))
		wait := leaseEvery
		if err != nil {
			wait = leaseEvery / 6
		}
		pause(ctx, wait)
	}
}

func (m *Mesh) renewLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseEvery)
	defer cancel()
	began := time.Now()
	err := m.tryLeader(ctx, "", func(context.Context) error {
		m.leases.renew(m.id)
		return nil
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
	m.leased = began
	return nil
}
