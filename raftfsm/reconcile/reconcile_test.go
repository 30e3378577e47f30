package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tenks/raftfsm/state"
)

// run starts a loop in a bubble with a clock of its own and returns when each call
// began, in time since the start.
func run(t *testing.T, l *Loop, each func(call int) error) (calls func() []time.Duration, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.Now()
	var mu sync.Mutex // the bubble's clock orders calls, but the race detector does not know it
	var at []time.Duration
	l.Do = func(context.Context, *state.Snapshot) error {
		mu.Lock()
		at = append(at, time.Since(begun))
		call := len(at)
		mu.Unlock()
		return each(call)
	}
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	calls = func() []time.Duration {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(at)
	}
	return calls, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func expect(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("calls at %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("calls at %v, want %v", got, want)
		}
	}
}

// pass lets time go by on the bubble's clock.
func pass(d time.Duration) { <-time.After(d) }

func fine(int) error { return nil }

func change(t *testing.T, s *state.Store, index uint64) {
	t.Helper()
	if err := s.Apply(index, state.Envelope{Command: state.RemoveNodes{}}); err != nil {
		t.Fatal(err)
	}
}

func TestLoopCallsAtOncePerPeriodAndWhenTheStateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := state.New()
		calls, stop := run(t, &Loop{Source: s, Period: time.Minute, Retry: time.Second}, fine)
		defer stop()
		expect(t, calls(), 0)
		pass(time.Minute)
		expect(t, calls(), 0, time.Minute)
		pass(10 * time.Second)
		change(t, s, 1)
		expect(t, calls(), 0, time.Minute, 70*time.Second)
		pass(time.Minute) // the period begins anew
		expect(t, calls(), 0, time.Minute, 70*time.Second, 130*time.Second)
	})
}

func TestLoopSeesAChangeThatCameWhileItWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := state.New()
		calls, stop := run(t, &Loop{Source: s, Period: time.Minute, Retry: time.Second}, func(call int) error {
			if call == 1 {
				change(t, s, 1)
			}
			return nil
		})
		defer stop()
		expect(t, calls(), 0, 0)
	})
}

func TestLoopRetriesSoonerThanItsPeriodAfterAnErrorAndNotAtEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := state.New()
		var out strings.Builder
		calls, stop := run(t, &Loop{Name: "links", Source: s, Period: time.Minute, Retry: time.Second,
			Log: slog.New(slog.NewTextHandler(&out, nil))}, func(call int) error {
			if call == 1 {
				return errors.New("no such bridge")
			}
			return nil
		})
		defer stop()
		calls()
		change(t, s, 1)
		expect(t, calls(), 0)
		pass(time.Second)
		expect(t, calls(), 0, time.Second)
		for _, want := range []string{"level=WARN", "loop=links", "in=1s", `err="no such bridge"`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in %q", want, out.String())
			}
		}
	})
}

func TestLoopAsksForItsNextCallAndTakesABurstOfChangesForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := state.New()
		var next atomic.Int64
		next.Store(int64(10 * time.Second))
		calls, stop := run(t, &Loop{Source: s, Next: func() time.Duration { return time.Duration(next.Load()) }, Least: time.Second, Retry: time.Millisecond,
			Log: slog.New(slog.DiscardHandler)}, func(call int) error {
			if call == 4 {
				return errors.New("no")
			}
			return nil
		})
		defer stop()
		pass(10 * time.Second)
		expect(t, calls(), 0, 10*time.Second)
		change(t, s, 1)
		pass(500 * time.Millisecond)
		change(t, s, 2)
		expect(t, calls(), 0, 10*time.Second)
		next.Store(int64(20 * time.Millisecond)) // shorter than Least
		pass(500 * time.Millisecond)
		expect(t, calls(), 0, 10*time.Second, 11*time.Second)
		pass(25 * time.Millisecond) // the fourth fails, and is tried again after Retry
		expect(t, calls(), 0, 10*time.Second, 11*time.Second, 11020*time.Millisecond, 11021*time.Millisecond)
	})
}

func TestLoopIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		calls, stop := run(t, &Loop{Source: state.New(), Period: time.Minute, Retry: time.Second, Wake: wake}, fine)
		defer stop()
		expect(t, calls(), 0)
		wake <- struct{}{}
		expect(t, calls(), 0, 0)
	})
}

func TestLoopEndsQuietlyWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		l := &Loop{Source: state.New(), Period: time.Minute, Retry: time.Second, Log: slog.New(slog.NewTextHandler(&out, nil)),
			Do: func(ctx context.Context, _ *state.Snapshot) error {
				cancel()
				return ctx.Err()
			}}
		if err := l.Run(ctx); err != nil || out.Len() > 0 {
			t.Errorf("error %v, log %q", err, out.String())
		}
	})
}
