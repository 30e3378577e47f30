package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"tenks/raftfsm/state"
)

// seenHeader carries how new a state is, as made by Seen.String. A peer that has its
// requests answered by others sends what it was last told, and gets what it is told now:
// so who asks it sees what it did there, whoever answers.
const seenHeader = "Tenks-Seen"

// seenWait bounds how long a peer that is behind lets such a request wait.
const seenWait = 3 * time.Second

// Seen says how new a state is. The zero value is older than any.
type Seen struct{ Generation, Index uint64 }

// String returns what ParseSeen reads.
func (s Seen) String() string { return fmt.Sprintf("%d.%d", s.Generation, s.Index) }

// SeenIn returns what a request or an answer says; ok is false if it says nothing.
func SeenIn(h http.Header) (s Seen, ok bool) {
	n, err := fmt.Sscanf(h.Get(seenHeader), "%d.%d", &s.Generation, &s.Index)
	return s, err == nil && n == 2
}

// Before reports whether the state is older than another: a mesh that was recovered
// counts anew.
func (s Seen) Before(o Seen) bool {
	if s.Generation != o.Generation {
		return s.Generation < o.Generation
	}
	return s.Index < o.Index
}

// Mark writes it into a request.
func (s Seen) Mark(h http.Header) { h.Set(seenHeader, s.String()) }

// SeenBy is how new a snapshot is.
func SeenBy(snap *state.Snapshot) Seen { return Seen{snap.Mesh().Generation, snap.Index()} }

// catchUp waits a while until the state is as new as the peer that sent the request on
// was told. A mesh that was recovered is not waited for.
func (s *Server) catchUp(r *http.Request) {
	want, ok := SeenIn(r.Header)
	if !ok || r.Header.Get(wholeHeader) == "" {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), seenWait)
	defer cancel()
	for {
		snap, changed := s.Source.Snapshot()
		have := SeenBy(snap)
		if have.Generation != want.Generation || !have.Before(want) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// telling is an answer that says how new the state was when it began.
type telling struct {
	http.ResponseWriter
	source func() *state.Snapshot
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (t *telling) WriteHeader(status int) {
	if !t.begun {
		t.begun = true
		SeenBy(t.source()).Mark(t.Header())
	}
	t.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (t *telling) Write(b []byte) (int, error) {
	if !t.begun {
		t.WriteHeader(http.StatusOK)
	}
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *telling) Unwrap() http.ResponseWriter { return t.ResponseWriter }
