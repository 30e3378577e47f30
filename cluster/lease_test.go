package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestALeaseIsOfOneTermAndNotForWhoIsBeingDisplaced(t *testing.T) {
	var l leases
	renew := func(peer string, term uint64, want error) {
		t.Helper()
		if err := l.renew(peer, term); !errors.Is(err, want) {
			t.Errorf("renew %s in term %d: %v, want %v", peer, term, err, want)
		}
	}
	renew("a", 1, ErrNotLeader)
	l.begin(1)
	renew("a", 1, nil)
	renew("a", 2, ErrNotLeader)
	seen := map[string]time.Time{"a": l.last["a"], "b": {}, "c": time.Now()}
	held, term := l.withhold(seen)
	slices.Sort(held)
	if fmt.Sprint(held, term) != "[a b] 1" {
		t.Errorf("withheld %v in term %d, want a and b: c has another lease", held, term)
	}
	renew("a", 1, errWithheld)
	again, _ := l.withhold(map[string]time.Time{"b": {}})
	l.release(held, term)
	renew("a", 1, nil)
	renew("b", 1, errWithheld)
	l.release(again, term)
	renew("b", 1, nil)

	held, term = l.withhold(map[string]time.Time{"d": {}})
	l.end()
	l.begin(3)
	renew("d", 3, nil)
	l.release(held, term) // of the past
	renew("d", 3, nil)
	if held, _ := l.withhold(map[string]time.Time{"d": {}}); len(held) > 0 {
		t.Errorf("withheld %v, which has a lease", held)
	}
}

func TestALeaderWithoutAMajorityConfirmsNoLease(t *testing.T) {
	b := trio(t)
	leader := b.places[0]
	if term, err := leader.verified(t.Context()); err != nil || term != leader.log.Term() {
		t.Fatalf("verified: term %d, %v", term, err)
	}
	b.eventually("a lease", func() bool { return !b.places[1].LastLease().IsZero() })
	if age, ok := b.places[1].LeaseAge(); !ok || age > 10*time.Second || age <= 0 {
		t.Errorf("age of a lease: %s, %t", age, ok)
	}
	for _, p := range b.places[1:] {
		if err := p.transport.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cut := time.Now()
	for leader.IsLeader() {
		if _, err := leader.verified(t.Context()); err == nil {
			t.Fatalf("verified %s after the others were gone", time.Since(cut))
		}
	}
	if last := leader.LastLease(); last.After(cut) {
		t.Errorf("it has a lease from %s after it was cut off", last.Sub(cut))
	}
}

func TestDisplaceIsOfOneTermAndKeepsThePeerOut(t *testing.T) {
	b := trio(t)
	leader, other := b.places[0], b.places[1]
	var last time.Time
	b.eventually("a lease", func() bool {
		leases, _, ok := leader.Leases()
		last = leases[other.ID()]
		return ok && !last.IsZero()
	})
	var during error
	answer, err := leader.Displace(t.Context(), map[string]time.Time{other.ID(): last, "gone": {}}, func(peers []string) ([]byte, error) {
		slices.Sort(peers)
		if slices.Contains(peers, other.ID()) { // else it has renewed its lease meanwhile
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			during = leader.grant(ctx, other.ID())
		} else {
			during = errWithheld
		}
		return []byte("displaced"), nil
	})
	if err != nil || answer == nil {
		t.Errorf("displace: %v, %v", answer, err)
	}
	if !errors.Is(during, errWithheld) {
		t.Errorf("a lease meanwhile: %v", during)
	}
	if err := leader.grant(t.Context(), other.ID()); err != nil {
		t.Errorf("a lease after it: %v", err)
	}
	if _, err := other.Displace(t.Context(), nil, func([]string) ([]byte, error) { return []byte("x"), nil }); !errors.Is(err, ErrNotLeader) {
		t.Errorf("displace where nobody leads: %v", err)
	}
}
