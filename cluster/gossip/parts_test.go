package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tenks/cluster/gossip/gossiptest"
)

func TestWhatIsDue(t *testing.T) {
	base := Facts{Name: "a", FreeEighths: 3}
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	tests := []struct {
		name    string
		want    Facts
		left    time.Duration
		publish bool
		wait    time.Duration
	}{
		{"nothing changed", base, -time.Hour, false, -1},
		{"a name goes at once", with(base, func(f *Facts) { f.Name = "b" }), time.Minute, true, 0},
		{"a list goes at once", with(base, func(f *Facts) { f.Drivers = []string{"x"} }), time.Minute, true, 0},
		{"capacity waits", with(base, func(f *Facts) { f.FreeEighths = 4 }), time.Minute, false, time.Minute},
		{"capacity has waited", with(base, func(f *Facts) { f.FreeEighths = 4 }), 0, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if publish, wait := due(tt.want, base, tt.left); publish != tt.publish || wait != tt.wait {
				t.Errorf("got %v, %v, want %v, %v", publish, wait, tt.publish, tt.wait)
			}
		})
	}
}

func TestCapacityIsCoalesced(t *testing.T) {
	p := newPublisher(Facts{FreeEighths: 1})
	begin, first := p.last, p.edition().Revision
	for i := range 5 {
		p.set(Facts{FreeEighths: uint8(2 + i)})
		if publish, wait := p.next(begin.Add(10*time.Second), time.Minute); publish || wait != 50*time.Second {
			t.Fatalf("got %v, %v", publish, wait)
		}
	}
	if publish, _ := p.next(begin.Add(time.Minute), time.Minute); !publish {
		t.Fatal("it is time")
	}
	if e := p.edition(); e.Facts.FreeEighths != 6 || e.Revision != first+1 {
		t.Errorf("got %+v", e)
	}
}

func TestALeavingPeerSaysNothingMore(t *testing.T) {
	p := newPublisher(Facts{})
	if !p.leave() || p.leave() {
		t.Error("leave is new once")
	}
	p.set(Facts{Name: "x"})
	p.outdo(1 << 60)
	if publish, wait := p.next(time.Now().Add(time.Hour), 0); publish || wait >= 0 || p.edition().Revision >= 1<<60 {
		t.Errorf("got %v, %v, %+v", publish, wait, p.edition())
	}
}

func TestAFormerLifeIsOutdone(t *testing.T) {
	p := newPublisher(Facts{Name: "a"})
	p.outdo(p.edition().Revision) // this life's, which came back
	if publish, _ := p.next(p.last, time.Minute); publish {
		t.Error("published for nothing")
	}
	p.outdo(1 << 60)
	if publish, _ := p.next(p.last, time.Minute); !publish || p.edition().Revision != 1<<60+1 || p.edition().Facts.Name != "a" {
		t.Errorf("got %v, %+v", publish, p.edition())
	}
	if publish, _ := p.next(p.last, time.Minute); publish {
		t.Error("published again")
	}
}

func TestTheTableForgetsTheOldestDead(t *testing.T) {
	table := newTable("self")
	table.alive("self", "", edition{})
	for i := range maxGone + 2 {
		table.alive(fmt.Sprint("p", i), "", edition{})
		table.gone(fmt.Sprint("p", i))
	}
	peers := table.peers()
	if len(peers) != maxGone+1 || table.is("p0", Dead) || table.is("p1", Dead) || !table.is("p2", Dead) || !table.is("self", Alive) {
		t.Errorf("%d peers, p0 %v, p1 %v", len(peers), table.is("p0", Dead), table.is("p1", Dead))
	}
}

func TestTheTableTakesWhatIsNewer(t *testing.T) {
	facts := func(revision uint64, name string) edition {
		return edition{Revision: revision, Facts: wireFacts{Name: name, Truncated: name == "cut"}}
	}
	tests := []struct {
		name    string
		meta    edition
		records []edition
		want    string
	}{
		{"metadata alone", facts(2, "meta"), nil, "meta"},
		{"an exchange of the same time is whole", facts(2, "cut"), []edition{facts(2, "whole")}, "whole"},
		{"an older exchange", facts(3, "meta"), []edition{facts(2, "old")}, "meta"},
		{"a newer exchange", facts(3, "meta"), []edition{facts(4, "new"), facts(2, "old")}, "new"},
		{"whole after cut", facts(2, "cut"), []edition{facts(2, "cut"), facts(2, "whole")}, "whole"},
		{"cut after whole", facts(2, "cut"), []edition{facts(2, "whole"), facts(2, "cut")}, "whole"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := newTable("self")
			table.alive("p", "", tt.meta)
			for _, r := range tt.records {
				table.merge([]record{{"p", r}, {"stranger", r}})
			}
			if got := table.peers(); len(got) != 1 || got[0].Name != tt.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestALeaveThatCameLateCounts(t *testing.T) {
	table := newTable("self")
	table.alive("p", "", edition{Revision: 5})
	table.gone("p")
	table.merge([]record{{"p", edition{Revision: 4, Leaving: true}}})
	if !table.is("p", Dead) {
		t.Error("a leave of a former life counts")
	}
	changed := table.changes()
	table.merge([]record{{"p", edition{Revision: 6, Leaving: true}}})
	if !table.is("p", Left) {
		t.Error("it left")
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if r := table.records(); len(r) != 1 || r[0].ID != "p" || !r[0].Edition.Leaving {
		t.Errorf("passes on %+v", r)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[State]string{Alive: "alive", Dead: "dead", Left: "left", 9: "state 9"} {
		if s.String() != want {
			t.Errorf("got %q, want %q", s.String(), want)
		}
	}
}

func TestTheRingBecomesTheList(t *testing.T) {
	pool := [][]byte{}
	for i := range 5 {
		pool = append(pool, bytes.Repeat([]byte{byte(i)}, keySize))
	}
	lists := rapid.Custom(func(t *rapid.T) [][]byte {
		return rapid.Permutation(pool).Draw(t, "order")[:rapid.IntRange(1, 5).Draw(t, "size")]
	})
	rapid.Check(t, func(t *rapid.T) {
		k, err := newKeys(lists.Draw(t, "first"))
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range rapid.SliceOfN(lists, 1, 4).Draw(t, "next") {
			if err := k.set(list); err != nil {
				t.Fatal(err)
			}
			have := k.ring.GetKeys()
			if !bytes.Equal(have[0], list[0]) || len(have) != len(list) {
				t.Fatalf("ring %v, want %v", have, list)
			}
			for _, key := range list {
				if !contains(have, key) {
					t.Fatalf("ring %v lacks %v", have, key)
				}
			}
		}
	})
}

// With -race: memberlist reads the keys without a lock.
func TestKeysChangeWhileTheyAreRead(t *testing.T) {
	k, err := newKeys([][]byte{key1})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, key := range k.ring.GetKeys() {
				if len(key) != keySize {
					t.Error("half a key")
				}
			}
		}
	})
	for range 500 {
		for _, list := range [][][]byte{{key1, key2}, {key2, key1}, {key2}, {key2, key1}, {key1}} {
			if err := k.set(list); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	wg.Wait()
}

func TestSetKeysRefuses(t *testing.T) {
	g := &Gossip{}
	for _, list := range [][][]byte{nil, {key1[:16]}, {key1, nil}} {
		if err := g.SetKeys(list); err == nil {
			t.Errorf("%d keys: no error", len(list))
		}
	}
}

func TestLinesBecomeRecords(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"information is detail", "2026/11/27 01:02:03 [INFO] memberlist: Marking p as failed", "level=DEBUG msg=\"memberlist says\" text=\"Marking p as failed\""},
		{"debugging, too", "2026/11/27 01:02:03 [DEBUG] memberlist: x", "level=DEBUG msg=\"memberlist says\" text=x"},
		{"a warning", "2026/11/27 01:02:03 [WARN] memberlist: x", "level=WARN msg=\"memberlist says\" text=x"},
		{"an error is a warning: it is tried again", "2026/11/27 01:02:03 [ERR] memberlist: x from=1.2.3.4:5", "level=WARN msg=\"memberlist says\" text=\"x from=1.2.3.4:5\""},
		{"what has no level", "Err: Could not set the deadline", "level=WARN msg=\"memberlist says\" text=\"Err: Could not set the deadline\""},
		{"several lines are one", "[ERR] a\nb", "level=WARN msg=\"memberlist says\" text=\"a b\""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, out := testLines()
			if n, err := l.Write([]byte(tt.line + "\n")); n != len(tt.line)+1 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			if got := strings.TrimSpace(out.String()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func testLines() (*lines, *bytes.Buffer) {
	var out bytes.Buffer
	return newLines(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))), &out
}

func TestTheSameWarningIsLoggedOnceAMinute(t *testing.T) {
	l, out := testLines()
	begin := time.Now()
	for i := range 30 {
		l.line(fmt.Sprintf("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=1.2.3.4:%d", i), begin.Add(time.Duration(i)*time.Second))
	}
	l.line("[ERR] memberlist: another", begin)
	l.line("[WARN] memberlist: Was able to connect to p over TCP but UDP probes failed, network may be misconfigured", begin)
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines:\n%s", got, out)
	}
	out.Reset()
	l.line("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=1.2.3.4:99", begin.Add(repeatAfter))
	if !strings.Contains(out.String(), "more=29") {
		t.Errorf("got %s", out)
	}
	if l.undecrypted.Load() != 31 || l.udpBlocked.Load() != 1 {
		t.Errorf("counted %d, %d", l.undecrypted.Load(), l.udpBlocked.Load())
	}
	for i := range 3 * maxLines {
		l.line(fmt.Sprint("[ERR] memberlist: ", i), begin)
	}
	if len(l.seen) > maxLines {
		t.Errorf("%d texts remembered", len(l.seen))
	}
	out.Reset()
	l.close()
	if _, _ = l.Write([]byte("[ERR] x")); out.Len() > 0 {
		t.Errorf("after the end: %s", out)
	}
}

func TestAdvertised(t *testing.T) {
	tests := []struct{ advertise, bound, want string }{
		{"", "127.0.0.1:7741", "127.0.0.1:7741"},
		{"192.0.2.7", "0.0.0.0:7741", "192.0.2.7:7741"},
		{"192.0.2.7:99", "0.0.0.0:7741", "192.0.2.7:99"},
		{"2001:db8::1", "[::]:7741", "[2001:db8::1]:7741"},
		{"[2001:db8::1]:99", "[::]:7741", "[2001:db8::1]:99"},
		{"::ffff:192.0.2.7", "[::]:7741", "192.0.2.7:7741"},
		{"localhost", "[::]:7741", "127.0.0.1:7741"},
	}
	for _, tt := range tests {
		if got, err := advertised(t.Context(), tt.advertise, tt.bound); err != nil || got.String() != tt.want {
			t.Errorf("%q, %q: got %v, %v, want %s", tt.advertise, tt.bound, got, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, bad := range []string{"host.invalid", "1.2.3.4:x", "1.2.3.4:99999"} {
		if got, err := advertised(ctx, bad, "0.0.0.0:1"); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestPrivateAddressesAndIPv4ComeFirst(t *testing.T) {
	order := []string{"10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"}
	var best netip.Addr
	for _, a := range slices.Backward(order) {
		ip := netip.MustParseAddr(a)
		if !better(ip, best) {
			t.Errorf("%s is not better than %s", ip, best)
		}
		if best.IsValid() && better(best, ip) {
			t.Errorf("%s is better than %s", best, ip)
		}
		best = ip
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	first, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(first.Packets.Close(), first.Streams.Close()) }()
	if first.Packets.LocalAddr().String() != first.Streams.Addr().String() {
		t.Errorf("UDP at %s, TCP at %s", first.Packets.LocalAddr(), first.Streams.Addr())
	}
	if _, err := listen(t.Context(), first.Streams.Addr().String()); err == nil {
		t.Error("no error")
	}
}

func TestDefaultsAreThoseOfALAN(t *testing.T) {
	got := Timing{Probe: time.Minute}.withDefaults()
	if got.Probe != time.Minute || got.Rejoin != 30*time.Second || got.Capacity != time.Minute || got.Stream != 10*time.Second {
		t.Errorf("got %+v", got)
	}
}

func TestSuspectsAreBounded(t *testing.T) {
	c := newClones()
	for i := range 3 * maxClones {
		c.suspect(clone{ID: fmt.Sprint(i)})
	}
	if n := len(c.take()); n != maxClones {
		t.Errorf("%d suspects", n)
	}
	if !c.confirm(clone{ID: "x"}) || c.confirm(clone{ID: "x"}) {
		t.Error("it is news once")
	}
	c.suspect(clone{ID: "x"})
	if len(c.take()) != 0 || len(c.list()) != 1 {
		t.Error("one that is known is suspected again")
	}
	if c.forget("x"); len(c.list()) != 0 {
		t.Error("its new life is suspected")
	}
}

// A connection whose other end is gone at once is let go of: Shutdown waits for all.
func TestAConnectionThatEndsAtOnceIsClosed(t *testing.T) {
	h, err := new(gossiptest.Network).Listen("10.0.0.1:7741")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(context.Context, string) (net.Conn, error) {
		here, there := net.Pipe()
		return here, there.Close()
	}
	tr, err := openTransport(t.Context(), Config{Transport: Transport{Packets: h.Packets, Streams: h.Streams, Dial: dial}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := tr.DialTimeout("10.0.0.2:7741", time.Minute); err == nil || c != nil {
		t.Errorf("dial: %v, %v, want an error", c, err)
	}
	done := make(chan error)
	go func() { done <- tr.Shutdown() }() // ends with the test, or has failed it
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for a connection that nobody has")
	}
}
