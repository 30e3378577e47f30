package consensus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Role is a peer's part in the log.
type Role string

// The roles. A client has no part in it.
const (
	Voter   Role = "voter"
	Standby Role = "standby"
	Client  Role = "client"
)

// Members returns the peers that follow the log, by ID, as this peer knows.
func (l *Log) Members() map[string]Role {
	out := map[string]Role{}
	f := l.raft.GetConfiguration()
	if f.Error() != nil {
		return out
	}
	for _, s := range f.Configuration().Servers {
		out[string(s.ID)] = Standby
		if s.Suffrage == raft.Voter {
			out[string(s.ID)] = Voter
		}
	}
	return out
}

// SetRole makes one change of who follows the log: a client becomes a standby, a
// standby a voter, and back, or neither. It may be repeated. Errors: ErrNotLeader.
func (l *Log) SetRole(ctx context.Context, peer string, role Role) error {
	_, err := l.do(ctx, func(limit time.Duration) raft.Future {
		id, address := raft.ServerID(peer), raft.ServerAddress(peer)
		switch {
		case role == Voter:
			return l.raft.AddVoter(id, address, 0, limit)
		case role == Standby && l.Members()[peer] == Voter:
			return l.raft.DemoteVoter(id, 0, limit)
		case role == Standby:
			return l.raft.AddNonvoter(id, address, 0, limit)
		}
		return l.raft.RemoveServer(id, 0, limit)
	})
	if err != nil {
		return fmt.Errorf("peer %s: make it a %s: %w", peer, role, err)
	}
	l.retime()
	return nil
}

// Transfer hands leadership to another voter; empty: to the one that is furthest.
// Errors: ErrNotLeader.
func (l *Log) Transfer(ctx context.Context, peer string) error {
	if !l.IsLeader() {
		return ErrNotLeader
	}
	done := make(chan error, 1)
	go func() { // Raft bounds a transfer by its election timeout
		if peer == "" {
			done <- l.raft.LeadershipTransfer().Error()
			return
		}
		done <- l.raft.LeadershipTransferToServer(raft.ServerID(peer), raft.ServerAddress(peer)).Error()
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("transfer leadership: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("transfer leadership: %w", ctx.Err())
	}
}

// retime gives Raft the timeouts for as many voters as there are now.
func (l *Log) retime() {
	var c raft.Configuration
	f := l.raft.GetConfiguration()
	if f.Error() != nil {
		return
	}
	c = f.Configuration()
	t := timingFor(c)
	r := l.raft.ReloadableConfig()
	if r.HeartbeatTimeout == t.heartbeat && r.ElectionTimeout == t.election {
		return
	}
	r.HeartbeatTimeout, r.ElectionTimeout = t.heartbeat, t.election
	if err := l.raft.ReloadConfig(r); err != nil {
		l.out.Warn("timeouts not changed", "err", err)
	}
}

// Applied is the index of the newest entry that the state machine has seen.
func (l *Log) Applied() uint64 { return l.raft.AppliedIndex() }

// ReadIndex returns an index that a linearizable read must wait for: everything
// acknowledged before the call is at or below it. Errors: ErrNotLeader.
func (l *Log) ReadIndex(ctx context.Context) (uint64, error) {
	// A leader of a new term knows what is committed once an entry of its own is.
	if leads, _ := l.Leading(); !leads {
		return 0, ErrNotLeader
	}
	term := l.raft.CurrentTerm()
	l.mu.Lock()
	barred := l.barred == term
	l.mu.Unlock()
	if !barred {
		if err := l.Barrier(ctx); err != nil {
			return 0, err
		}
		l.mu.Lock()
		l.barred = term
		l.mu.Unlock()
	}
	index := l.raft.CommitIndex()
	if _, err := l.do(ctx, func(time.Duration) raft.Future { return l.raft.VerifyLeader() }); err != nil {
		return 0, err
	}
	if l.raft.CurrentTerm() != term {
		return 0, ErrNotLeader
	}
	return index, nil
}

// Term is the current term.
func (l *Log) Term() uint64 { return l.raft.CurrentTerm() }

// voters returns the IDs of the voters, sorted.
func voters(members map[string]Role) []string {
	var out []string
	for id, r := range members {
		if r == Voter {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
