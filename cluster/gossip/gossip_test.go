package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenks/cluster/gossip/gossiptest"
)

// memberlist's probe ends up to some intervals after its list, without anybody who
// waits for it: goleak alone gives up sooner.
func TestMain(m *testing.M) {
	code := m.Run()
	for try := 0; code == 0; try++ {
		err := goleak.Find()
		if err == nil {
			break
		}
		if try == 20 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var key1, key2 = bytes.Repeat([]byte{1}, keySize), bytes.Repeat([]byte{2}, keySize)

// quick is fast enough for a test and slow enough for a busy host.
var quick = Timing{Probe: 200 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, Gossip: 20 * time.Millisecond,
	PushPull: 500 * time.Millisecond, Dead: time.Second, Reclaim: 300 * time.Millisecond,
	Rejoin: 300 * time.Millisecond, Capacity: 200 * time.Millisecond, Stream: time.Second}

// patience is how long a condition may take on a busy host.
const patience = 60 * time.Second

// until waits for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("in vain waited until %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// at is the address of peer i in a network in memory.
func at(i int) string { return fmt.Sprintf("10.0.%d.%d:7741", i/250, i%250+1) }

func id(i int) string { return fmt.Sprintf("p%03d", i) }

// peer opens a peer in a network; change may change what it is opened with.
func peer(t testing.TB, n *gossiptest.Network, i int, change ...func(*Config)) *Gossip {
	t.Helper()
	c := Config{ID: id(i), Mesh: "mesh", Bind: at(i), Keys: [][]byte{key1}, Timing: quick,
		Facts: Facts{Name: "host" + id(i), Zone: "z", APIAddress: "10.0.0.1:7740"}}
	for _, f := range change {
		f(&c)
	}
	if n != nil {
		h, err := n.Listen(c.Bind)
		if err != nil {
			t.Fatal(err)
		}
		c.Transport = Transport{h.Packets, h.Streams, h.Dial}
	}
	g, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// mesh opens peers that all join the first one.
func mesh(t testing.TB, n *gossiptest.Network, count int, change ...func(*Config)) []*Gossip {
	t.Helper()
	var all []*Gossip
	for i := range count {
		g := peer(t, n, i, change...)
		if i > 0 {
			join(t, g, all[0])
		}
		all = append(all, g)
	}
	return all
}

// join tries until it works: a busy host may be too slow for quick.
func join(t testing.TB, g, other *Gossip) {
	t.Helper()
	until(t, g.config.ID+" joins "+other.config.ID, func() bool {
		n, err := g.Join(t.Context(), []string{other.Addr()})
		return n == 1 && err == nil
	})
}

// find returns what g knows of a peer.
func find(g *Gossip, id string) Peer {
	for _, p := range g.Peers() {
		if p.ID == id {
			return p
		}
	}
	return Peer{}
}

// allSee says whether each of all has so many peers in a state.
func allSee(all []*Gossip, s State, count int) bool {
	return !slices.ContainsFunc(all, func(g *Gossip) bool { return g.table.count()[s] != count })
}

// each says whether each of all sees a peer in a state.
func each(all []*Gossip, id string, s State) bool {
	return !slices.ContainsFunc(all, func(g *Gossip) bool { return find(g, id).State != s })
}

func TestThreePeersOnLoopback(t *testing.T) {
	all := mesh(t, nil, 3, func(c *Config) { c.Bind = "127.0.0.1:0" })
	until(t, "all see all", func() bool { return allSee(all, Alive, 3) })
	p := find(all[2], id(0))
	if p.Address != all[0].Addr() || p.Name != "hostp000" || p.APIAddress != "10.0.0.1:7740" || p.Since.IsZero() {
		t.Errorf("got %+v", p)
	}
	changed := all[0].Changed()
	all[2].SetFacts(Facts{Name: "new", Drivers: []string{"fake"}})
	until(t, "the change is seen", func() bool {
		return find(all[0], id(2)).Name == "new" && find(all[1], id(2)).Name == "new"
	})
	select {
	case <-changed:
	default:
		t.Error("Changed was not closed")
	}
}

func TestTwentyPeersOfALossyNetwork(t *testing.T) {
	var n gossiptest.Network
	n.SetLoss(0.05)
	all := mesh(t, &n, 20)
	until(t, "all see all", func() bool { return allSee(all, Alive, 20) })
	for i, g := range all {
		g.SetFacts(Facts{Name: fmt.Sprint("renamed", i)})
	}
	until(t, "all changes are seen", func() bool {
		for _, g := range all {
			for i := range all {
				if find(g, id(i)).Name != fmt.Sprint("renamed", i) {
					return false
				}
			}
		}
		return true
	})
}

func TestDeathAndLeaveAreToldApart(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 5)
	until(t, "all see all", func() bool { return allSee(all, Alive, 5) })
	if err := all[4].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := all[4].Leave(t.Context()); err != nil {
		t.Errorf("leave again: %v", err)
	}
	all[4].SetFacts(Facts{Name: "too late"})
	if err := all[3].Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the leave is seen", func() bool { return each(all[:3], id(4), Left) })
	until(t, "the death is seen", func() bool { return each(all[:3], id(3), Dead) })
	if s := all[0].Stats(); s.Alive != 3 || s.Dead != 1 || s.Left != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestAPeerThatLeftMayComeBack(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 3)
	until(t, "all see all", func() bool { return allSee(all, Alive, 3) })
	if err := errors.Join(all[2].Leave(t.Context()), all[2].Close()); err != nil {
		t.Fatal(err)
	}
	until(t, "the leave is seen", func() bool { return each(all[:2], id(2), Left) })
	back := peer(t, &n, 2, func(c *Config) { c.Facts.Name = "back" })
	join(t, back, all[0])
	until(t, "it is back", func() bool {
		return each(all[:2], id(2), Alive) && find(all[1], id(2)).Name == "back"
	})
}

func TestALongPartitionHeals(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 6)
	until(t, "all see all", func() bool { return allSee(all, Alive, 6) })
	n.Part(at(0), at(1), at(2))
	until(t, "both halves think the other dead", func() bool { return allSee(all, Dead, 3) })
	until(t, "memberlist has forgotten the dead", func() bool {
		return !slices.ContainsFunc(all, func(g *Gossip) bool {
			e := find(g, g.config.ID)
			for _, p := range g.Peers() {
				if p.State == Dead && time.Since(p.Since) < 3*quick.Dead {
					return true
				}
			}
			return e.State != Alive
		})
	})
	n.Heal()
	until(t, "it is one mesh", func() bool { return allSee(all, Alive, 6) })
}

func TestPeersThatAreKnownAreTriedUntilTheyAreThere(t *testing.T) {
	var n gossiptest.Network
	g := peer(t, &n, 0, func(c *Config) { c.Known = func() []string { return []string{at(0), at(1), at(1)} } })
	if got := g.missing(); !slices.Equal(got, []string{at(1)}) {
		t.Errorf("missing: got %v", got)
	}
	other := peer(t, &n, 1)
	until(t, "they found each other", func() bool { return allSee([]*Gossip{g, other}, Alive, 2) })
	if got := g.missing(); len(got) != 0 {
		t.Errorf("missing: got %v, want none", got)
	}
}

func TestAWrongKeyIsRefusedAndCounted(t *testing.T) {
	var n gossiptest.Network
	g := peer(t, &n, 0)
	stranger := peer(t, &n, 1, func(c *Config) { c.Keys = [][]byte{key2} })
	if reached, err := stranger.Join(t.Context(), []string{at(0)}); reached != 0 || !errors.Is(err, ErrKey) {
		t.Errorf("join: got %d, %v, want ErrKey", reached, err)
	}
	if s := g.Stats(); s.Undecrypted == 0 || s.Alive != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestAnotherMeshIsNotHeard(t *testing.T) {
	var n gossiptest.Network
	g := peer(t, &n, 0)
	stranger := peer(t, &n, 1, func(c *Config) { c.Mesh = "other" })
	if reached, err := stranger.Join(t.Context(), []string{at(0)}); reached != 0 || err == nil {
		t.Errorf("join: got %d, %v", reached, err)
	}
	if len(g.Peers()) != 1 || len(stranger.Peers()) != 1 {
		t.Errorf("got %v and %v", g.Peers(), stranger.Peers())
	}
}

func TestKeysRotateWithoutLosingAPeer(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 4)
	until(t, "all see all", func() bool { return allSee(all, Alive, 4) })
	for step, keys := range [][][]byte{{key1, key2}, {key2, key1}, {key2}} {
		for _, g := range all {
			if err := g.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
		all[step].SetFacts(Facts{Name: fmt.Sprint("step", step)})
		until(t, "news arrive", func() bool {
			return !slices.ContainsFunc(all, func(g *Gossip) bool { return find(g, id(step)).Name != fmt.Sprint("step", step) })
		})
	}
	if !allSee(all, Alive, 4) {
		t.Error("a peer is lost")
	}
	for _, g := range all {
		if s := g.Stats(); s.Undecrypted > 0 {
			t.Errorf("stats %+v", s)
		}
	}
	late := peer(t, &n, 9, func(c *Config) { c.Keys = [][]byte{key2} })
	join(t, late, all[0])
}

func TestAChangedAddressIsAccepted(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 3)
	until(t, "all see all", func() bool { return allSee(all, Alive, 3) })
	if err := all[2].Close(); err != nil {
		t.Fatal(err)
	}
	moved := peer(t, &n, 2, func(c *Config) { c.Bind = at(77) })
	join(t, moved, all[0])
	until(t, "the new address is known", func() bool {
		p, q := find(all[0], id(2)), find(all[1], id(2))
		return p.State == Alive && p.Address == at(77) && q.State == Alive && q.Address == at(77)
	})
	for _, g := range append(all[:2:2], moved) {
		if s := g.Stats(); len(s.Clones) > 0 {
			t.Errorf("a peer that moved is taken for a clone: %+v", s.Clones)
		}
	}
}

func TestAClonedHostIsFound(t *testing.T) {
	var n gossiptest.Network
	var log syncBuffer
	all := mesh(t, &n, 3, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	until(t, "all see all", func() bool { return allSee(all, Alive, 3) })
	clone := peer(t, &n, 2, func(c *Config) { c.Bind = at(77) })
	join(t, clone, all[0])
	for _, g := range []*Gossip{all[0], clone} {
		until(t, "the clone is found", func() bool { return len(g.Stats().Clones) == 1 })
	}
	if c := all[0].Stats().Clones[0]; c.ID != id(2) || c.Address != at(2) || c.Other != at(77) || c.Since.IsZero() {
		t.Errorf("got %+v", c)
	}
	join(t, clone, all[0])
	if got := strings.Count(log.String(), "a cloned host"); got < 1 || got > 3 {
		t.Errorf("logged %d times by three peers:\n%s", got, log.String())
	}
}

func TestARemovedPeerIsRefused(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 3, func(c *Config) { c.Allowed = func(other string) bool { return other != id(8) } })
	until(t, "all see all", func() bool { return allSee(all, Alive, 3) })
	removed := peer(t, &n, 8)
	_, _ = removed.Join(t.Context(), []string{at(0)}) // it may well think that it is in
	until(t, "it is refused", func() bool { return all[0].Stats().Refused > 0 })
	later := peer(t, &n, 3)
	join(t, later, removed) // who knows the others
	for _, g := range all {
		if p := find(g, id(8)); p.ID != "" {
			t.Errorf("peer %s has %+v", g.config.ID, p)
		}
	}
}

func TestAnotherGenerationIsRefusedAndSeen(t *testing.T) {
	var n gossiptest.Network
	g := peer(t, &n, 0, func(c *Config) { c.Facts.Generation = 1 })
	unknown := peer(t, &n, 1)
	join(t, unknown, g)
	recovered := peer(t, &n, 2, func(c *Config) { c.Facts.Generation = 2 })
	_, _ = recovered.Join(t.Context(), []string{at(0)})
	until(t, "it is refused", func() bool { return g.Stats().Generation == 2 })
	until(t, "the one that knows no generation is heard", func() bool { return find(g, id(1)).State == Alive })
	if p := find(g, id(2)); p.ID != "" {
		t.Errorf("got %+v", p)
	}
	g.SetFacts(Facts{Generation: 2})
	until(t, "they find each other", func() bool {
		_, _ = recovered.Join(t.Context(), []string{at(0)})
		return find(g, id(2)).State == Alive && find(recovered, id(0)).State == Alive
	})
}

func TestBlockedUDPIsCounted(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 2)
	until(t, "all see all", func() bool { return allSee(all, Alive, 2) })
	n.SetLoss(1)
	until(t, "it is noticed", func() bool { return all[0].Stats().UDPBlocked > 0 })
	if !allSee(all, Alive, 2) {
		t.Error("TCP was not enough")
	}
}

func TestFactsThatAreTooLargeArriveWhole(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 3)
	until(t, "all see all", func() bool { return allSee(all, Alive, 3) })
	big := Facts{Name: "big"}
	for i := range 200 {
		big.Physnets = append(big.Physnets, fmt.Sprint("physnet-number-", i))
	}
	all[0].SetFacts(big)
	until(t, "others see them", func() bool {
		p, q := find(all[1], id(0)), find(all[2], id(0))
		return slices.Equal(p.Physnets, big.Physnets) && slices.Equal(q.Physnets, big.Physnets) && !p.Truncated
	})
}

func TestFactsOfALifeWithAClockAheadAreOutdone(t *testing.T) {
	var n gossiptest.Network
	all := mesh(t, &n, 2)
	until(t, "all see all", func() bool { return allSee(all, Alive, 2) })
	future := all[1].published.edition()
	future.Revision += 1 << 40
	future.Facts.Name = "from the future"
	all[0].table.merge([]record{{id(1), future}})
	if got := find(all[0], id(1)).Name; got != "from the future" {
		t.Fatalf("got %q", got)
	}
	// Nobody passes on what the metadata says, but it could be a former life's.
	all[1].published.outdo(future.Revision)
	until(t, "the present is back", func() bool { return find(all[0], id(1)).Name == "host"+id(1) })
}

func TestJoinSaysWhy(t *testing.T) {
	var n gossiptest.Network
	g := peer(t, &n, 0)
	if _, err := g.Join(t.Context(), []string{at(0), " ", ""}); err == nil {
		t.Error("join with itself: no error")
	}
	for _, address := range []string{at(5), "10.0.0.1:port"} {
		if _, err := g.Join(t.Context(), []string{address}); err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("join %s: got %v", address, err)
		}
	}
	n.Part(at(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Join(ctx, []string{at(6)}); !errors.Is(err, context.Canceled) {
		t.Errorf("join of a cancelled context: got %v", err)
	}
}

func TestJoinGoesOnUntilOneAnswers(t *testing.T) {
	var n gossiptest.Network
	g, other := peer(t, &n, 0), peer(t, &n, 1)
	list := []string{other.Addr()}
	for i := range 12 {
		list = append(list, at(20+i))
	}
	if reached, err := g.Join(t.Context(), list); reached != 1 || err != nil {
		t.Errorf("got %d, %v", reached, err)
	}
}

func TestNothingWorksAfterClose(t *testing.T) {
	var n gossiptest.Network
	g := peer(t, &n, 0)
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	if err := g.Leave(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("leave: got %v", err)
	}
	if _, err := g.Join(t.Context(), []string{at(1)}); !errors.Is(err, ErrClosed) {
		t.Errorf("join: got %v", err)
	}
	g.SetFacts(Facts{Name: "x"})
	if got := g.Peers(); len(got) != 1 {
		t.Errorf("peers: got %v", got)
	}
}

func TestCloseDoesNotWaitForPeersThatHang(t *testing.T) {
	var n gossiptest.Network
	h, err := n.Listen(at(0))
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan struct{})
	c := Config{ID: id(0), Keys: [][]byte{key1}, Timing: Timing{Stream: time.Hour}}
	c.Transport = Transport{h.Packets, h.Streams, func(ctx context.Context, address string) (net.Conn, error) {
		close(dialled)
		return h.Dial(ctx, address)
	}}
	g, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Part(at(0))
	joined := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := g.Join(t.Context(), []string{at(1)})
		joined <- err
	})
	<-dialled
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := <-joined; err == nil {
		t.Error("join: no error")
	}
}

func TestOpenRefuses(t *testing.T) {
	ok := Config{ID: "a", Bind: "127.0.0.1:0", Keys: [][]byte{key1}}
	tests := map[string]func(*Config){
		"no ID":           func(c *Config) { c.ID = "" },
		"a long ID":       func(c *Config) { c.ID = strings.Repeat("x", maxID+1) },
		"no address":      func(c *Config) { c.Bind = "" },
		"no key":          func(c *Config) { c.Keys = nil },
		"a short key":     func(c *Config) { c.Keys = [][]byte{key1, {1}} },
		"a foreign bind":  func(c *Config) { c.Bind = "192.0.2.1:0" },
		"a bad advertise": func(c *Config) { c.Advertise = "127.0.0.1:x" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := ok
			change(&c)
			if g, err := Open(c); err == nil {
				_ = g.Close()
				t.Error("no error")
			}
		})
	}
}

func TestALongMeshIDIsCut(t *testing.T) {
	var n gossiptest.Network
	peer(t, &n, 0, func(c *Config) { c.Mesh = strings.Repeat("m", 400) })
}

// BenchmarkConverge is no test: where the race detector and others take the cores, a
// hundred peers suspect each other faster than they can deny it.
func BenchmarkConverge(b *testing.B) {
	calm := Timing{Gossip: 100 * time.Millisecond, PushPull: 2 * time.Second}
	for _, count := range []int{100, 300} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				var n gossiptest.Network
				all := mesh(b, &n, count, func(c *Config) { c.Timing = calm })
				until(b, "all see all", func() bool { return allSee(all, Alive, count) })
				b.StopTimer()
				for _, g := range all {
					if err := g.Close(); err != nil {
						b.Error(err)
					}
				}
				b.StartTimer()
			}
		})
	}
}

// syncBuffer is a buffer that several log to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
