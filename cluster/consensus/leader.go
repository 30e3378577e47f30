package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// watchLeadership turns Raft's notices into a state that can be waited for.
func (l *Log) watchLeadership() {
	for won := range l.notify {
		l.setWon(won)
		l.Retime()
	}
	l.setWon(false)
}

func (l *Log) setWon(won bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A loss and a win at once are a change, too: work of the old term must end.
	close(l.changed)
	l.won, l.changed = won, make(chan struct{})
}

// setHung: a leader that cannot write leads nobody, though Raft does not notice. Once
// it can write again it leads only once the others have taken an entry from it.
func (l *Log) setHung(hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if hangs {
		l.hangs++
		l.hung = true
		close(l.changed)
		l.changed = make(chan struct{})
		return
	}
	// It is Raft's goroutine that writes and calls this, so that Close waits for both.
	r, hang := l.raft, l.hangs
	l.watch.Go(func() { l.confirm(r, hang) })
}

// confirm ends what a hang began, unless the next one is there.
func (l *Log) confirm(r *raft.Raft, hang int) {
	ctx := context.Background() //nolint:forbidigo // nobody asked; it ends with Close at the latest
	_, err := l.do(ctx, r.Barrier)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hangs != hang {
		return
	}
	if err != nil {
		l.out.Debug("leads no more, for the disk hung", "err", err)
		l.won = l.won && r.State() == raft.Leader // the notice of it is on its way
	}
	l.hung = false
	close(l.changed)
	l.changed = make(chan struct{})
}

// Leading reports whether this peer leads, and returns a channel that is closed
// when that may have changed.
func (l *Log) Leading() (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.won && !l.hung, l.changed
}

// IsLeader reports whether this peer leads.
func (l *Log) IsLeader() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raft.State() == raft.Leader && !l.hung
}

// Leader returns the ID of the peer that leads, if one is known.
func (l *Log) Leader() (string, bool) {
	_, id := l.raft.LeaderWithID()
	if id == l.self && !l.IsLeader() {
		return "", false // it has yet to find out
	}
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
