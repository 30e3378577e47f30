package daemon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatienceWithAPeer(t *testing.T) {
	for _, c := range []struct {
		name         string
		silent, most time.Duration
		// hangs is when the peer begins to hang, answers when its answer begins; 0: never.
		hangs, answers time.Duration
		want           time.Duration // until it is given up; 0: it is not
	}{
		{"a read", 5 * time.Second, 5 * time.Second, time.Nanosecond, 0, 5 * time.Second},
		{"a read that is answered", 5 * time.Second, 5 * time.Second, 0, 4 * time.Second, 0},
		{"a change where it is alive", 10 * time.Second, 10 * time.Second, 0, 0, 10 * time.Second},
		{"a start, it hangs", 10 * time.Second, time.Minute, time.Nanosecond, 0, 13 * time.Second},
		{"a start, it hangs meanwhile", 10 * time.Second, time.Minute, 25 * time.Second, 0, 33 * time.Second},
		{"a start that waits for an image", 10 * time.Second, time.Minute, 0, 45 * time.Second, 0},
		{"a start that ends while it is asked", 10 * time.Second, time.Minute, time.Nanosecond, 11 * time.Second, 0},
		{"a start that waits for ever", 10 * time.Second, time.Minute, 0, 0, time.Minute},
		{"a short wait for an image", 10 * time.Second, 12 * time.Second, time.Nanosecond, 0, 12 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.answers > 0 {
				defer time.AfterFunc(c.answers, cancel).Stop()
			}
			var gaveUp time.Duration
			p := patience{silent: c.silent, most: c.most, giveUp: func() { gaveUp = time.Since(began) }, alive: func(ctx context.Context) bool {
				if c.hangs > 0 && time.Since(began) >= c.hangs {
					<-ctx.Done()
				}
				return ctx.Err() == nil
			}}
			p.watch(ctx)
			if gaveUp != c.want {
				t.Errorf("%s: given up after %s, want %s", c.name, gaveUp, c.want)
			}
		})
	}
}
