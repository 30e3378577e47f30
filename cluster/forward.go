package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// How long Propose looks for a leader: longer than an election takes.
const (
	leaderPatience = 10 * time.Second
	leaderPause    = 50 * time.Millisecond
)

// atLeader calls here if this peer leads, and else there with the leader's ID, until
// one of them does not answer ErrNotLeader.
func (m *Mesh) atLeader(ctx context.Context, here func(context.Context) error, there func(ctx context.Context, leader string) error) error {
	deadline := time.Now().Add(leaderPatience)
	hint := ""
	for {
		err := m.tryLeader(ctx, hint, here, there)
		if !errors.Is(err, ErrNotLeader) {
			return err
		}
		var n *notLeader
		followed := hint != ""
		hint = ""
		if errors.As(err, &n) {
			hint = n.leader
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("no leader: %w; is a majority of the voters up? see tenks status", err)
		}
		// One hint is followed at once; peers that send each other's callers round and
		// round do not know yet.
		if hint == "" || followed {
			pause(ctx, leaderPause+rand.N(leaderPause))
		}
	}
}

func (m *Mesh) tryLeader(ctx context.Context, hint string, here func(context.Context) error, there func(context.Context, string) error) error {
	if m.fence.isShut() {
		return fmt.Errorf("%w: the mesh was recovered without this peer, which comes over", ErrNotLeader)
	}
	if m.log.IsLeader() {
		return here(ctx)
	}
	if hint == "" {
		hint = m.LikelyLeader()
	}
	if hint == "" || hint == m.id || m.transport == nil {
		return ErrNotLeader
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() { m.untilDeposed(ctx, hint, cancel) })
	err := there(ctx, hint)
	cancel()
	watch.Wait()
	if err != nil {
		m.forgetLeader(hint)
	}
	return err
}

// untilDeposed ends a call to a leader once another leads: the old one may be gone
// without a word.
func (m *Mesh) untilDeposed(ctx context.Context, leader string, cancel context.CancelFunc) {
	first := m.log.Term()
	for ctx.Err() == nil {
		if now, ok := m.log.Leader(); ok && now != leader && m.log.Term() > first {
			cancel()
			return
		}
		pause(ctx, leaderPause)
	}
}

// LikelyLeader is Leader, or else another peer that may lead or know who does; empty:
// there is none.
func (m *Mesh) LikelyLeader() string {
	if id, ok := m.Leader(); ok {
		return id
	}
	var some []string
	for _, p := range m.peers() {
		if p.ID != m.id && !p.Removed && p.Role != Client {
			some = append(some, p.ID)
		}
	}
	if len(some) == 0 {
		return ""
	}
	return some[rand.N(len(some))]
}

// Propose commits a command, at whichever peer leads, and returns what the state
// machine answered. Errors: ErrNotLeader (nothing was proposed), ErrUnknown (also
// when ctx ended meanwhile), and ctx's own if it had ended before.
func (m *Mesh) Propose(ctx context.Context, command []byte) (answer any, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = m.atLeader(ctx, func(ctx context.Context) error {
		answer, err = m.log.Propose(ctx, command)
		return err
	}, func(ctx context.Context, leader string) error {
		b, err := m.rpc.call(ctx, leader, http.MethodPost, pathPropose, command)
		if err != nil {
			return err
		}
		answer, err = m.cfg.Answers.Decode(b)
		return err
	})
	return answer, err
}

// ReadIndex returns a log index: a state at or beyond it has everything that was
// acknowledged before the call, by any peer. Errors: ErrNotLeader.
func (m *Mesh) ReadIndex(ctx context.Context) (index uint64, err error) {
	err = m.atLeader(ctx, func(ctx context.Context) error {
		index, err = m.log.ReadIndex(ctx)
		return err
	}, func(ctx context.Context, leader string) error {
		b, err := m.rpc.call(ctx, leader, http.MethodGet, pathIndex, nil)
		if err != nil {
			// Asking again does no harm.
			return fmt.Errorf("%w: %w", ErrNotLeader, err)
		}
		return json.Unmarshal(b, &index)
	})
	return index, err
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
