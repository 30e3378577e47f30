package consensus

import (
	"context"
	"errors"
	"fmt"
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

// followTime is for how long a peer may not have heard of a leader and still follow.
const followTime = 5 * time.Second

// Following reports whether this peer has a part in the log, and leads or heard of a
// leader a moment ago. One that was left out while it was away does not know it.
func (l *Log) Following() bool {
	if l.IsLeader() {
		return true
	}
	_, member := l.Members()[string(l.self)]
	return member && time.Since(l.raft.LastContact()) < followTime
}

// SetRole makes one change of who follows the log: a client becomes a standby, a
// standby a voter, and back, or neither. It may be repeated. Errors: ErrNotLeader,
// ErrUnknown.
func (l *Log) SetRole(ctx context.Context, peer string, role Role) error {
	_, err := l.do(ctx, func(limit time.Duration) raft.Future {
		return retimed{l.beginRole(raft.ServerID(peer), role, limit), l}
	})
	if err != nil {
		return fmt.Errorf("peer %s: make it a %s: %w", peer, role, err)
	}
	return nil
}

func (l *Log) beginRole(id raft.ServerID, role Role, limit time.Duration) raft.Future {
	switch {
	case role == Voter:
		return l.raft.AddVoter(id, raft.ServerAddress(id), 0, limit)
	case role == Standby && l.Members()[string(id)] == Voter:
		return l.raft.DemoteVoter(id, 0, limit)
	case role == Standby:
		return l.raft.AddNonvoter(id, raft.ServerAddress(id), 0, limit)
	}
	return l.raft.RemoveServer(id, 0, limit)
}

// retimed is a change of who follows the log. It may be made after its caller left,
// or though it is not known to be: the timeouts fit in any case.
type retimed struct {
	raft.Future
	log *Log
}

// Error implements raft.Future.
func (r retimed) Error() error {
	err := r.Future.Error()
	r.log.Retime()
	return err
}

// transferPause is how long Raft may go on with what a transfer that failed asked of it:
// for as long as it takes to connect to a peer, to ask it, and to wait before the next
// try. Asked once more meanwhile, Raft can be left with a transfer under way for ever, and
// this peer then refuses every proposal if it leads again (hashicorp/raft issue 696).
const transferPause = 2*networkTimeout + 15*time.Second

// transferTime is how long the other voter has until it leads. Raft gives it an election
// timeout, within which it writes to its disk three times and asks for votes: on hosts
// that are busy with guests that was too short, and after a failure there is a long pause.
const transferTime = 3 * time.Second

// Transfer hands leadership to another voter; empty: to the one that is furthest. One
// that failed is not tried again before transferPause is over, unless leadership changed
// since. Errors: ErrNotLeader; ErrUnknown if ctx ends first.
func (l *Log) Transfer(ctx context.Context, peer string) error {
	term := l.raft.CurrentTerm()
	l.mu.Lock()
	wait := time.Until(l.failed.until)
	again := l.failed.term == term && wait > 0
	l.mu.Unlock()
	if again {
		return fmt.Errorf("transfer leadership: the last try failed: try again in %s", (wait + time.Second).Truncate(time.Second))
	}
	if peer != "" && l.Members()[peer] != Voter {
		return fmt.Errorf("transfer leadership: peer %s does not vote", peer)
	}
	l.allowTransfer()
	defer l.Retime()
	_, err := l.do(ctx, func(time.Duration) raft.Future { // Raft bounds it by its election timeout
		if peer == "" {
			return l.raft.LeadershipTransfer()
		}
		return l.raft.LeadershipTransferToServer(raft.ServerID(peer), raft.ServerAddress(peer))
	})
	if err != nil {
		if !errors.Is(err, ErrNotLeader) {
			l.mu.Lock()
			l.failed.term, l.failed.until = term, time.Now().Add(transferPause)
			l.mu.Unlock()
		}
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

// allowTransfer has Raft give a transfer transferTime, until Retime. A leader uses its election
// timeout for nothing else.
func (l *Log) allowTransfer() {
	l.retiming.Lock()
	defer l.retiming.Unlock()
	r := l.raft.ReloadableConfig()
	r.ElectionTimeout = transferTime
	if err := l.raft.ReloadConfig(r); err != nil {
		l.out.Warn("timeouts not changed", "err", err)
	}
}

// Retime gives Raft the timeouts for as many peers as follow the log now. The Log does
// it whenever it makes a change or begins to lead, and a log that was opened as one
// among several has them from the start; calling it again changes nothing.
func (l *Log) Retime() {
	l.retiming.Lock()
	defer l.retiming.Unlock()
	f := l.raft.GetConfiguration()
	if f.Error() != nil {
		return
	}
	t := timingFor(f.Configuration(), l.self)
	r := l.raft.ReloadableConfig()
	if r.HeartbeatTimeout == t.heartbeat && r.ElectionTimeout == t.election {
		return
	}
	r.HeartbeatTimeout, r.ElectionTimeout = t.heartbeat, t.election
	if err := l.raft.ReloadConfig(r); err != nil {
		l.out.Warn("timeouts not changed", "err", err)
	}
}

// Applied is the index of the newest entry that was handed to the state machine.
func (l *Log) Applied() uint64 { return l.raft.AppliedIndex() }

// ReadIndex returns an index that a linearizable read must wait for: a state that has
// seen the entry of that index has everything that was acknowledged before the call.
// It is the index of an entry that the state machines see, not of one of Raft's own.
// Errors: ErrNotLeader, also if leadership is lost meanwhile.
func (l *Log) ReadIndex(ctx context.Context) (uint64, error) {
	leads, _ := l.Leading()
	if !leads {
		return 0, ErrNotLeader
	}
	if err := l.current(ctx); err != nil {
		return 0, unread(ctx, err)
	}
	if index, ok := l.fsm.index(); ok {
		return index, nil
	}
	return l.raft.CommitIndex(), nil
}

// current returns once the state machine here has everything that was acknowledged
// before. Among several that takes an entry that a majority stores. Raft's own check
// would be cheaper, but counts the answers of standbys, too, and those to questions
// from before the call, which may have waited here while this host slept.
func (l *Log) current(ctx context.Context) error {
	term := l.raft.CurrentTerm()
	l.mu.Lock()
	passed := l.barred == term
	l.mu.Unlock()
	if passed && len(l.Members()) == 1 {
		_, err := l.do(ctx, func(time.Duration) raft.Future { return l.raft.VerifyLeader() })
		if err == nil && l.raft.CurrentTerm() != term {
			return ErrNotLeader
		}
		return err
	}
	if err := l.Barrier(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.barred = term
	return nil
}

// unread says of a read what is said of a change: one that was not answered was not
// made.
func unread(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("read index: %w", ctx.Err())
	case errors.Is(err, ErrUnknown):
		return fmt.Errorf("read index: %w", ErrNotLeader)
	}
	return err
}

// Term is the current term.
func (l *Log) Term() uint64 { return l.raft.CurrentTerm() }
