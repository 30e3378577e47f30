package guard_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"tenks/bmc/guard"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func from(i int) guard.Suspect {
	return guard.Suspect{Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Name: "admin"}
}

func TestASourceThatFailsTooOftenIsBlockedForAWhile(t *testing.T) {
	g := guard.Guard{Most: 8}
	for i := range guard.MaxFailures {
		if blocked := g.Fail(from(1), begin); blocked != (i == guard.MaxFailures-1) {
			t.Errorf("failure %d: blocked %t", i+1, blocked)
		}
	}
	for _, c := range []struct {
		who   guard.Suspect
		after time.Duration
		want  bool
	}{{from(1), 0, true}, {from(1), guard.BlockFor - 1, true}, {from(1), guard.BlockFor, false}, {from(2), 0, false}, {guard.Suspect{Source: from(1).Source, Name: "other"}, 0, false}} {
		if got := g.Blocked(c.who, begin.Add(c.after)); got != c.want {
			t.Errorf("%v after %v: blocked %t", c.who, c.after, got)
		}
	}
}

func TestFailuresThatAreApartOrBeforeASuccessDoNotCount(t *testing.T) {
	g := guard.Guard{Most: 8}
	for i := range guard.MaxFailures - 1 {
		g.Fail(from(1), begin.Add(time.Duration(i)))
		g.Fail(from(2), begin)
	}
	g.Succeed(from(2))
	if g.Fail(from(1), begin.Add(guard.Within)) || g.Fail(from(2), begin) {
		t.Error("blocked")
	}
}

func TestTheOldestSuspectIsForgottenFirst(t *testing.T) {
	g := guard.Guard{Most: 3}
	for i := range 4 {
		for range guard.MaxFailures {
			g.Fail(from(i), begin.Add(time.Duration(i)))
		}
	}
	var blocked []string
	for i := range 4 {
		if g.Blocked(from(i), begin.Add(time.Second)) {
			blocked = append(blocked, fmt.Sprint(i))
		}
	}
	if fmt.Sprint(blocked) != "[1 2 3]" {
		t.Errorf("blocked %v", blocked)
	}
}
