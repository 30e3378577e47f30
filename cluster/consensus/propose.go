package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Errors of Propose and Barrier; package cluster says what they mean.
var (
	ErrNotLeader = errors.New("this peer does not lead")
	ErrUnknown   = errors.New("leadership was lost meanwhile: the change may or may not have been made")
)

// Propose commits a command and returns what the FSM answered.
func (l *Log) Propose(ctx context.Context, command []byte) (any, error) {
	f, err := l.do(ctx, func(limit time.Duration) raft.Future { return l.raft.Apply(command, limit) })
	if err != nil {
		return nil, err
	}
	return f.(raft.ApplyFuture).Response(), nil
}

// Barrier blocks until everything committed before is applied.
func (l *Log) Barrier(ctx context.Context) error {
	_, err := l.do(ctx, l.raft.Barrier)
	return err
}

// do begins something and waits for it. Once it may have begun, a ctx that ends
// leaves its outcome unknown.
func (l *Log) do(ctx context.Context, begin func(limit time.Duration) raft.Future) (raft.Future, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !l.enter() {
		return nil, fmt.Errorf("%w: the log is closed", ErrNotLeader)
	}
	type outcome struct {
		future raft.Future
		err    error
	}
	done := make(chan outcome, 1)
	go func() { // Close waits for it
		defer l.inflight.Done()
		f := begin(timeLeft(ctx))
		done <- outcome{f, f.Error()}
	}()
	select {
	case o := <-done:
		return o.future, classify(o.err)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	case <-l.stopped:
		return nil, fmt.Errorf("%w: %w", ErrUnknown, raft.ErrRaftShutdown)
	}
}

// enter counts a proposal, unless the log is closed.
func (l *Log) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.inflight.Add(1)
	return true
}

// timeLeft bounds how long an entry may wait to be taken; 0: for ever.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return 0
}

// classify says whether an entry that failed may be in the log.
func classify(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}
