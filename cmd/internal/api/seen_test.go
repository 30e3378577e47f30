package api

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"tenks/raftfsm/state"
)

func TestSeenIsReadAsItIsWritten(t *testing.T) {
	h := http.Header{}
	if _, ok := SeenIn(h); ok {
		t.Error("nothing says something")
	}
	want := Seen{Generation: 2, Index: 77}
	want.Mark(h)
	if got, ok := SeenIn(h); !ok || got != want {
		t.Errorf("got %+v, %t", got, ok)
	}
	for _, bad := range []string{"7", "x.1", "-1.2", ""} {
		h.Set(seenHeader, bad)
		if s, ok := SeenIn(h); ok {
			t.Errorf("%q is %+v", bad, s)
		}
	}
	for _, c := range []struct {
		a, b Seen
		want bool
	}{{Seen{1, 5}, Seen{1, 6}, true}, {Seen{1, 6}, Seen{1, 6}, false}, {Seen{1, 9}, Seen{2, 1}, true}, {Seen{2, 1}, Seen{1, 9}, false}} {
		if got := c.a.Before(c.b); got != c.want {
			t.Errorf("%v before %v: %t", c.a, c.b, got)
		}
	}
}

// asked sends a request on, from a peer that was told of a state, and returns what the
// answer says of the state.
func asked(t *testing.T, store *state.Store, told Seen) Seen {
	t.Helper()
	s := New(Config{Source: store, Leader: func() (string, string) { return "p", "p" }, Mesh: whole{}, Version: "1"})
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/clusters", http.NoBody)
	ForwardToWhole(r.Header, "other")
	told.Mark(r.Header)
	s.wrap(route{http.MethodGet, "/v1/clusters", "", s.clusters})(w, r)
	got, ok := SeenIn(w.Header())
	if !ok || w.Code != http.StatusOK {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	return got
}

// whole is a mesh in which this peer has the whole state.
type whole struct{ Mesh }

func (whole) Whole() bool { return true }

func TestARequestThatWasSentOnWaitsForWhatItsPeerWasToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := state.New()
		apply := func(index uint64, c state.Command) {
			if err := store.Apply(index, state.Envelope{Request: strconv.FormatUint(index, 10), Command: c}); err != nil {
				t.Error(err)
			}
		}
		apply(1, state.SetMesh{Mesh: state.Mesh{ID: "m", Name: "m", Generation: 1}})
		begun := time.Now()
		time.AfterFunc(time.Second, func() { apply(2, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "one", Name: "one"}}) })
		if got := asked(t, store, Seen{1, 2}); got != (Seen{1, 2}) || time.Since(begun) != time.Second {
			t.Errorf("%+v after %v", got, time.Since(begun))
		}
		begun = time.Now()
		if got := asked(t, store, Seen{1, 9}); got != (Seen{1, 2}) || time.Since(begun) != seenWait {
			t.Errorf("what never comes: %+v after %v", got, time.Since(begun))
		}
		begun = time.Now()
		if asked(t, store, Seen{2, 9}); time.Since(begun) != 0 {
			t.Errorf("another generation is waited for %v", time.Since(begun))
		}
	})
}
