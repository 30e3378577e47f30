package libvirt

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tenks/raftfsm/state"
)

// jobPatience is how long a caller waits for a job; the next call waits again.
const jobPatience = 20 * time.Second

// jobs are what takes longer than a caller may wait: copies, checksums, fetches. One that many
// ask for runs once. They end with the driver. It is safe for concurrent use.
type jobs struct {
	// start runs a function in the background, unless the driver is closed.
	start func(do func()) bool
	alive context.Context //nolint:containedctx // jobs live as long as the driver
	// patience is jobPatience.
	patience time.Duration

	// mu guards what follows.
	mu  sync.Mutex
	all map[string]*job
}

type job struct {
	done   chan struct{}
	cancel context.CancelFunc
	err    error
	// far is how far it is, for people; nil: nobody said.
	far atomic.Pointer[string]
}

// telling is told how far a job is, in words that follow its name.
type telling func(text string)

// underWay is what a caller hears who does not wait any longer.
func (one *job) underWay(key string) error {
	if far := one.far.Load(); far != nil {
		return fmt.Errorf("%s: %s: under way: %w", key, *far, state.ErrBusy)
	}
	return fmt.Errorf("%s: under way: %w", key, state.ErrBusy)
}

// run does what is named by key, or waits for it if it is under way. Errors: state.ErrBusy
// while it is; the next call goes on waiting.
func (j *jobs) run(ctx context.Context, key string, do func(ctx context.Context, tell telling) error) error {
	j.mu.Lock()
	one := j.all[key]
	if one == nil {
		inner, cancel := context.WithCancel(j.alive)
		one = &job{done: make(chan struct{}), cancel: cancel}
		started := j.start(func() { // ends with the job, or with the driver
			one.err = do(inner, func(text string) { one.far.Store(&text) })
			close(one.done)
		})
		if !started {
			cancel()
			j.mu.Unlock()
			return fmt.Errorf("%s: the driver is being closed: %w", key, state.ErrBusy)
		}
		j.all[key] = one
	}
	j.mu.Unlock()
	timer := time.NewTimer(j.patience)
	defer timer.Stop()
	select {
	case <-one.done:
	case <-timer.C:
		return one.underWay(key)
	case <-ctx.Done():
		return one.underWay(key)
	}
	one.cancel()
	j.mu.Lock()
	if j.all[key] == one { // the first who hears of the end forgets it: a failure is tried again
		delete(j.all, key)
	}
	j.mu.Unlock()
	return one.err
}

// join waits for a job as run does, if it is under way.
func (j *jobs) join(ctx context.Context, key string) error {
	j.mu.Lock()
	one := j.all[key]
	j.mu.Unlock()
	if one == nil {
		return nil
	}
	return j.run(ctx, key, func(context.Context, telling) error { return nil }) // it may have ended since
}

// stop ends a job, and returns once it has ended.
func (j *jobs) stop(key string) {
	j.mu.Lock()
	one := j.all[key]
	delete(j.all, key)
	j.mu.Unlock()
	if one != nil {
		one.cancel()
		<-one.done
	}
}
