package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// watchLeadership turns Raft's notices into a state that can be waited for.
func (l *Log) watchLeadership() {
	for leads := range l.notify {
		l.setLeads(leads)
	}
	l.setLeads(false)
}

func (l *Log) setLeads(leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A loss and a win at once are a change, too: work of the old term must end.
	close(l.changed)
	l.leads, l.changed = leads, make(chan struct{})
}

// Leading reports whether this peer leads, and returns a channel that is closed
// when that may have changed.
func (l *Log) Leading() (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leads, l.changed
}

// IsLeader reports whether this peer leads.
func (l *Log) IsLeader() bool { return l.raft.State() == raft.Leader }

// Leader returns the ID of the peer that leads, if one is known.
func (l *Log) Leader() (string, bool) {
	_, id := l.raft.LeaderWithID()
	return string(id), id != ""
}

// How long WhileLeader waits before it runs failed work again.
const (
	workRetry    = 200 * time.Millisecond
	workRetryMax = 10 * time.Second
)

// WhileLeader runs work whenever this peer leads, until ctx ends; package cluster
// says how.
func (l *Log) WhileLeader(ctx context.Context, work func(context.Context) error) error {
	for ctx.Err() == nil {
		leads, changed := l.Leading()
		if !leads {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		l.lead(ctx, changed, work)
	}
	return nil
}

// lead runs work for one term of leadership.
func (l *Log) lead(ctx context.Context, lost <-chan struct{}, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-watched }()
	for wait := workRetry; ctx.Err() == nil; wait = min(2*wait, workRetryMax) {
		begun := time.Now()
		err := l.Barrier(ctx)
		if err == nil {
			err = work(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > workRetryMax {
			wait = workRetry
		}
		l.out.WarnContext(ctx, "leader's work ended; will run again", "in", wait, "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}
