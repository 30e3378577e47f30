package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestSourcesAreAddressesOfIPv4AndNetworksOfIPv6(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:40000":          "192.0.2.7",
		"[::ffff:192.0.2.7]:1":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64",
		"[2001:db8:1:2::9]:1":      "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":         "fe80::/64",
		"@":                        "@",
	} {
		if got := sourceOf(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func TestWhoIsRefusedOftenWaitsAndOthersDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(slog.New(slog.DiscardHandler))
		looked := func(remote string, times int, refused bool) (n int) {
			for range times {
				leave, err := g.enter(t.Context(), remote)
				if err == nil {
					leave(refused)
					n++
				} else if !errors.Is(err, ErrTooMany) {
					t.Fatal(err)
				}
			}
			return n
		}
		if n := looked("192.0.2.1:1", 200, false); n != 200 {
			t.Errorf("%d of 200 that are let in are looked at", n)
		}
		if n := looked("192.0.2.1:2", 200, true); n != gateBurst {
			t.Errorf("%d of 200 guesses are looked at, want %d", n, gateBurst)
		}
		if n := looked("192.0.2.1:3", 1, false); n != 0 {
			t.Error("who guessed is looked at")
		}
		if n := looked("192.0.2.2:1", 200, true); n != gateBurst {
			t.Errorf("%d guesses of somebody else are looked at, want %d", n, gateBurst)
		}
		<-time.After(5 * gateEvery)
		if n := looked("192.0.2.1:4", 200, true); n != 5 {
			t.Errorf("%d guesses are looked at after a while, want 5", n)
		}
	})
}

func TestManySourcesAreRememberedWithinBoundsTheWorstLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(slog.New(slog.DiscardHandler))
		guess := func(remote string) error {
			leave, err := g.enter(t.Context(), remote)
			if err == nil {
				leave(true)
			}
			return err
		}
		for range gateBurst {
			if err := guess("192.0.2.1:1"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 * gateSources {
			if err := guess(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)); err != nil {
				t.Fatal(err)
			}
		}
		if len(g.sources) > gateSources {
			t.Errorf("%d sources are remembered", len(g.sources))
		}
		if err := guess("192.0.2.1:2"); !errors.Is(err, ErrTooMany) {
			t.Errorf("who guessed most: %v, want %v", err, ErrTooMany)
		}
	})
}
