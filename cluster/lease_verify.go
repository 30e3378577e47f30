package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"tenks/cluster/consensus"
	"tenks/cluster/transport"
)

// How the leader makes sure that it still is: it asks the voters for their term, at most
// once in verifyEvery for all that wait, and for no longer than verifyTime.
const (
	verifyEvery = 500 * time.Millisecond
	verifyTime  = time.Second
)

// verifier gathers who wants to know whether this peer leads. Safe for concurrent use.
//
// A majority that answers "I am in your term", asked after a lease was asked for, shows
// that no other leader had been elected by then: one of any majority is among them, and a
// voter enters the term of an election before it votes. Every lease that a leader
// confirms was therefore asked for before its successor was elected. Raft's own check
// (VerifyLeader) does not show that: it counts standbys, and answers to heartbeats that
// were sent before it began.
type verifier struct {
	// wake says that somebody waits; size 1: a signal.
	wake chan struct{}

	mu   sync.Mutex // guards next, the round that has not begun
	next *round
}

// round is one question to all voters. Its fields but done are set before done is closed.
type round struct {
	done chan struct{}
	term uint64
	err  error
}

// verified returns the term in which this peer led at some time after the call. Errors:
// ErrNotLeader.
func (m *Mesh) verified(ctx context.Context) (term uint64, err error) {
	if !m.log.IsLeader() {
		return 0, ErrNotLeader
	}
	r := m.verifier.join()
	select {
	case <-r.done:
		return r.term, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// join returns a round that begins after the call.
func (v *verifier) join() *round {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.next == nil {
		v.next = &round{done: make(chan struct{})}
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
	return v.next
}

// take begins the next round; nil: nobody waits for one.
func (v *verifier) take() *round {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.next
	v.next = nil
	return r
}

// keepVerified makes rounds, when somebody waits for one, until ctx ends.
func (m *Mesh) keepVerified(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-m.verifier.wake:
		case <-ctx.Done():
		}
		r := m.verifier.take()
		if r == nil {
			continue
		}
		began := time.Now()
		r.term, r.err = m.askTerms(ctx)
		close(r.done)
		pause(ctx, verifyEvery-time.Since(began))
	}
}

// askTerms returns the term that a majority of the voters, this peer among them, is in.
func (m *Mesh) askTerms(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	term, members := m.log.Term(), m.log.Members()
	voters, agree, waiting := 0, 0, 0
	answers := make(chan bool, len(members)) // one from each
	for id, role := range members {
		if role != consensus.Voter {
			continue
		}
		voters++
		if id == m.id {
			agree++
			continue
		}
		waiting++
		asked.Go(func() {
			theirs, err := m.termOf(ctx, id)
			answers <- err == nil && theirs == term
		})
	}
	for ; waiting > 0 && 2*agree <= voters; waiting-- {
		if <-answers {
			agree++
		}
	}
	if 2*agree <= voters || !m.log.IsLeader() || m.log.Term() != term {
		return 0, fmt.Errorf("%w for sure: %d of %d voters agree", ErrNotLeader, agree, voters)
	}
	return term, nil
}

func (m *Mesh) termOf(ctx context.Context, id string) (term uint64, err error) {
	b, err := m.rpc.call(ctx, id, http.MethodGet, pathTerm, nil)
	if err != nil {
		return 0, err
	}
	err = json.Unmarshal(b, &term)
	return term, err
}

func (s rpcServer) term(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.m.log.Term()) }

func (s rpcServer) lease(w http.ResponseWriter, r *http.Request) {
	if err := s.m.grant(r.Context(), transport.PeerOf(r.Context())); err != nil {
		s.refuse(w, err)
	}
}
