//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestStopsEndTogetherAndThenNoneBeginsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stops
		began := time.Now()
		at := make(chan time.Duration, 3) // one for each stop
		stop := func(takes time.Duration) {
			s.begin(t.Context())
			time.Sleep(takes) //nolint:forbidigo // a fake clock
			s.end(t.Context())
			at <- time.Since(began)
		}
		go stop(time.Second)
		go stop(2 * time.Second)
		time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // a fake clock
		go stop(0)                          // the first has ended, and waits
		synctest.Wait()
		for _, want := range []time.Duration{2*time.Second + drain, 2*time.Second + drain, 2*time.Second + 2*drain} {
			if got := <-at; got != want {
				t.Errorf("a guest may be started after %s, want %s", got, want)
			}
		}
	})
}

func TestAStopThatHangsHoldsUpOthersForAWhileOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stops
		s.begin(t.Context()) // and does not end
		began := time.Now()
		s.begin(t.Context())
		s.end(t.Context())
		if got := time.Since(began); got != stopPatience+drain {
			t.Errorf("waited %s, want %s", got, stopPatience+drain)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		s.begin(ended)
		s.end(ended)
		if got := time.Since(began); got != 0 {
			t.Errorf("waited %s for a caller that has left", got)
		}
	})
}
