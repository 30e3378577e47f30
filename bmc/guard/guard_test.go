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

// fail notes so many failures, and says whether the last one led to a block.
func fail(g *guard.Guard, s guard.Suspect, times int, at time.Time) (blocked bool) {
	for range times {
		blocked = g.Fail(s, at)
	}
	return blocked
}

func TestWhoFailedLeastIsForgottenFirst(t *testing.T) {
	g := guard.Guard{Most: 3}
	fail(&g, from(1), guard.MaxFailures, begin) // blocked
	fail(&g, from(2), guard.MaxFailures-1, begin)
	for i := range 1000 { // one failure each
		g.Fail(guard.Suspect{Source: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), Name: fmt.Sprint(i)}, begin.Add(time.Duration(i)))
	}
	if !g.Blocked(from(1), begin.Add(time.Second)) {
		t.Error("a block was forgotten")
	}
	if !g.Fail(from(2), begin.Add(time.Second)) {
		t.Error("nine failures were forgotten")
	}
}

func TestANetworkThatFailsWithManyNamesIsBlockedForAll(t *testing.T) {
	six := func(text, name string) guard.Suspect {
		return guard.Suspect{Source: netip.MustParseAddr(text), Name: name}
	}
	g := guard.Guard{Most: 64}
	g.Succeed(six("2001:db8::9", "admin"))
	for i := range guard.MaxOfNetwork {
		s := six(fmt.Sprintf("2001:db8::%x", i+16), "admin") // an address for each guess
		if blocked := g.Fail(s, begin); blocked != (i == guard.MaxOfNetwork-1) {
			t.Errorf("failure %d: blocked %t", i+1, blocked)
		}
	}
	for _, c := range []struct {
		who  guard.Suspect
		want bool
	}{
		{six("2001:db8::1234", "anybody"), true}, {six("2001:db8:0:1::10", "admin"), false}, {from(1), false},
		{six("2001:db8::9", "admin"), false}, // it has logged in before
		{six("2001:db8::9", "other"), true},
	} {
		if got := g.Blocked(c.who, begin); got != c.want {
			t.Errorf("%v: blocked %t", c.who, got)
		}
		if g.Blocked(c.who, begin.Add(guard.BlockFor)) {
			t.Errorf("%v: still blocked", c.who)
		}
	}
}

func TestAFailureThatWasNoneIsTakenBack(t *testing.T) {
	g := guard.Guard{Most: 8}
	for range 2 * guard.MaxOfNetwork {
		if g.Fail(from(1), begin) {
			t.Fatal("blocked")
		}
		g.Forgive(from(1))
	}
}

func TestTrustIsBounded(t *testing.T) {
	g := guard.Guard{Most: 3}
	c := guard.Credentials{Suspect: from(1), Hash: [32]byte{1}}
	if g.Trust(c); !g.Trusted(c) {
		t.Error("not trusted")
	}
	if g.Trusted(guard.Credentials{Suspect: from(1), Hash: [32]byte{2}}) || g.Trusted(guard.Credentials{Suspect: from(2), Hash: [32]byte{1}}) {
		t.Error("another password, or source, is trusted")
	}
	if g.Distrust(c); g.Trusted(c) {
		t.Error("still trusted")
	}
	trusted := 0
	for i := range 10 {
		g.Trust(guard.Credentials{Suspect: from(i)})
	}
	for i := range 10 {
		if g.Trusted(guard.Credentials{Suspect: from(i)}) {
			trusted++
		}
	}
	if trusted != 3 {
		t.Errorf("%d are trusted, want 3", trusted)
	}
}
