package ironic

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestAnIronicThatAsksForTimeGetsIt(t *testing.T) {
	for status, said := range map[int]string{http.StatusTooManyRequests: "60", http.StatusServiceUnavailable: time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, ironictest.Options{})
			w.ironic.Throttle(status, said)
			e := w.enroller()
			if err := e.Do(t.Context(), w.snap()); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("ironic %s: Too busy (HTTP %d); will retry", w.ironic.URL(), status)
			if got := w.node(0).Ironic.Error; got != want {
				t.Errorf("reported %q, want %q", got, want)
			}
			s := e.sites[w.access]
			if in := time.Until(s.down.Until); in < 50*time.Second || in > time.Minute || s.next != s.down.Until {
				t.Errorf("asked again in %v, at %v: want a minute", in, s.next)
			}
			w.ironic.Throttle(0, "")
			w.ironic.ResetLog()
			_ = e.Do(t.Context(), w.snap())
			if got := w.ironic.Log(); len(got) != 0 {
				t.Errorf("asked nevertheless: %q", got)
			}
			s.down.Until = time.Now() // the minute has passed
			w.until(e, "enrolled", w.enrolled)
		})
	}
}

func TestAllRequestsCountInTheRate(t *testing.T) {
	const rate = 100
	w := newWorld(t, 10, ironictest.Options{Clean: 100 * time.Millisecond, AutomatedClean: true})
	w.ironic.LockNext(nodeUUID(0), 5)
	c, _ := w.snap().Cluster("demo")
	limited := *c
	limited.IronicLimits = state.IronicLimits{Rate: rate}
	w.apply(state.ApplyCluster{Cluster: limited, Expect: c.ModifyIndex})
	var mu sync.Mutex
	var came []time.Time
	w.ironic.Before(func(string, string) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, time.Now())
	})
	start := time.Now()
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled) // polls, as fast as it can
	for range rate / 4 {
		_ = e.Do(t.Context(), w.snap())
	}
	w.ironic.Before(nil)
	// A second's worth at once, after a rest; then each waits for its turn.
	for i, at := range came {
		if earliest := time.Duration(i-rate) * time.Second / rate; at.Sub(start) < earliest {
			t.Fatalf("request %d of %d came after %v, want %v at least", i, len(came), at.Sub(start), earliest)
		}
	}
	if len(came) <= rate {
		t.Errorf("%d requests: too few to tell", len(came))
	}
}

func TestManyNodesAreLookedAtByLists(t *testing.T) {
	const nodes = 100
	w := newWorld(t, nodes, ironictest.Options{Clean: time.Hour, AutomatedClean: true})
	e := w.enroller()
	at := func(want string) func() bool {
		return func() bool {
			for _, n := range w.snap().Nodes() {
				if n.Ironic.ProvisionState != want {
					return false
				}
			}
			return true
		}
	}
	twoEach := func(when string) {
		t.Helper()
		w.ironic.ResetLog()
		for range 3 {
			_ = e.Do(t.Context(), w.snap())
		}
		if got := w.ironic.Log(); len(got) != 6 {
			t.Errorf("%s: %d requests in three passes, want 6: %q", when, len(got), tail(got, 8))
		}
	}
	w.until(e, "cleaning", at("cleaning"))
	twoEach("while nodes are cleaned")
	for i := range nodes {
		w.ironic.Set(nodeUUID(i), map[string]any{"provision_state": "available", "target_provision_state": nil})
	}
	w.until(e, "enrolled", w.enrolled)
	twoEach("enrolled")
}
