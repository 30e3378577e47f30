package scale

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// size is how large a measurement is; TENKS_SCALE_… change it.
type size struct {
	// agents follow the log. They are among peers.
	agents, peers, nodes int
	// rest is for how long the mesh is watched at rest.
	rest time.Duration
	// away is how many log entries a peer misses.
	away int
	// kills is how often the leader is killed.
	kills int
}

func sizes(tb testing.TB) size {
	tb.Helper()
	number := func(name string, usual int) int {
		text := os.Getenv("TENKS_SCALE_" + name)
		if text == "" {
			return usual
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			tb.Fatalf("TENKS_SCALE_%s=%s: want a number from 1", name, text)
		}
		return n
	}
	s := size{agents: number("AGENTS", 3), peers: number("PEERS", 50), nodes: number("NODES", 500),
		rest: time.Duration(number("REST", 3)) * time.Second, away: number("AWAY", 500), kills: number("KILLS", 1)}
	if s.agents < 3 || s.peers <= s.agents {
		tb.Fatal("want 3 agents or more, and more peers than agents")
	}
	return s
}

// atOnce bounds how many peers join, register or report at a time, so that the time it
// takes is the mesh's and not a queue's.
const atOnce = 16

// BenchmarkMesh measures a mesh of so many peers and nodes: an apply of all nodes beside
// the same on a mesh of one, what it costs at rest, what a peer that was away needs, and
// the loss of the leader.
func BenchmarkMesh(b *testing.B) {
	s := sizes(b)
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // this process is not what is measured
	for b.Loop() {
		t := &table{b: b}
		t.note("%d peers, %d of them agents that follow the log; %d nodes", s.peers, s.agents, s.nodes)
		alone := measureAlone(b, s)
		m := grown(b, s, t)
		rest(m, s, t)
		apply := m.apply(s)
		t.row("apply, answered (parse, plan, commit)", "apply-s", apply.answered.Seconds(), "s", "alone: %.2f s", alone.answered.Seconds())
		t.row("apply, all placed and committed", "placed-s", apply.placed.Seconds(), "s", "alone: %.2f s, ratio %.2f; %s", alone.placed.Seconds(),
			apply.placed.Seconds()/alone.placed.Seconds(), alone.spent)
		b.ReportMetric(apply.placed.Seconds()/alone.placed.Seconds(), "placed-ratio")
		t.row("apply, every peer has its nodes", "everywhere-s", apply.everywhere.Seconds(), "s", "%s", apply.spent)
		t.row("apply, traffic per peer", "apply-B/peer", apply.bytes/float64(len(m.peers)), "B", "")
		reports(m, s, t)
		catchUp(m, s, t)
		failover(m, s, t)
		t.print()
	}
	b.ReportMetric(0, "ns/op")
}

// table is what is printed at the end.
type table struct {
	b     *testing.B
	began time.Time
	lines []string
}

// row notes a measurement, also as a metric of the benchmark.
func (t *table) row(what, metric string, value float64, unit, format string, args ...any) {
	t.b.ReportMetric(value, metric)
	t.note("%s\t%.4g %s\t%s", what, value, unit, fmt.Sprintf(format, args...))
}

func (t *table) note(format string, args ...any) {
	if t.began.IsZero() {
		t.began = time.Now()
	}
	line := fmt.Sprintf(format, args...)
	fmt.Fprintf(os.Stderr, "# %5.1fs %s\n", time.Since(t.began).Seconds(), line)
	t.lines = append(t.lines, line)
}

func (t *table) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, line := range t.lines {
		fmt.Fprintln(w, line)
	}
	_ = w.Flush()
}

// physnet is a network that only light peers offer.
const physnet = "scale"

func file(nodes int) string {
	return fmt.Sprintf(`cluster: scale
node_types:
  small: {memory_mb: 512, vcpus: 1, driver: fake, volumes: [{capacity: 1GiB}], physical_networks: [%s]}
specs:
  - {type: small, count: %d}
`, physnet, nodes)
}

// offer is what a light peer offers: twice the room that it needs for its share.
func (s size) offer() state.Hypervisor {
	share := 2 * (s.nodes/(s.peers-s.agents) + 1)
	return state.Hypervisor{Address: "127.0.0.1", Version: "scale", Physnets: []string{physnet}, Drivers: []string{"fake"},
		Capacity:   state.Resources{VCPUs: share, MemoryMB: uint64(share) * 512, DiskGB: uint64(share)},
		Overcommit: state.Overcommit{VCPUs: 1, Memory: 1, Disk: 1},
		BMC:        state.PortRange{Address: "127.0.0.1", First: 6230, Last: 16229}}
}

// each does something for all of a list, atOnce at a time.
func each[T any](m *mesh, list []T, do func(ctx context.Context, i int, x T) error) {
	m.Helper()
	g, ctx := errgroup.WithContext(m.Context())
	g.SetLimit(atOnce)
	for i, x := range list {
		g.Go(func() error { return do(ctx, i, x) })
	}
	if err := g.Wait(); err != nil {
		m.Fatal(err)
	}
}

// join makes so many light peers, and returns once all of them have their part of the
// state and a lease.
func (m *mesh) join(count int, offers state.Hypervisor, t *table) {
	m.Helper()
	began := time.Now()
	m.peers = make([]*peer, count)
	each(m, m.peers, func(ctx context.Context, i int, _ *peer) (err error) {
		m.peers[i], err = m.newPeer(ctx, fmt.Sprintf("p%04d", i))
		return err
	})
	m.Cleanup(func() {
		var all sync.WaitGroup
		for _, p := range m.peers {
			all.Go(p.close)
		}
		all.Wait()
	})
	joined := time.Now()
	each(m, m.peers, func(ctx context.Context, _ int, p *peer) error { return p.register(ctx, offers) })
	registered, before := time.Now(), m.traffic.sum()
	for _, p := range m.peers {
		p.live(m.Context())
		p.attach(m.Context())
	}
	m.eventually(2*time.Minute, "every peer with a feed", func() bool {
		return !slices.ContainsFunc(m.peers, func(p *peer) bool { by, _ := p.fedBy(); return by == "" })
	})
	attached, bytes := time.Now(), m.traffic.sum()-before
	m.eventually(time.Minute, "every peer with a lease", func() bool {
		return !slices.ContainsFunc(m.peers, func(p *peer) bool { at, _ := p.lease(); return at.IsZero() })
	})
	if t == nil {
		return
	}
	t.row("join, one peer after another", "joins/s", float64(count)/joined.Sub(began).Seconds(), "/s", "%d at once, with a disk each", atOnce)
	t.row("register, two log entries each", "register/s", float64(2*count)/registered.Sub(joined).Seconds(), "/s", "")
	t.row("all peers ask for their part at once", "attach-s", attached.Sub(registered).Seconds(), "s", "%.0f B each", float64(bytes)/float64(count))
}

// grown is a mesh of its full size at rest.
func grown(b *testing.B, s size, t *table) *mesh {
	b.Helper()
	m := newMesh(b, s.agents)
	m.join(s.peers-s.agents, s.offer(), t)
	// From 21 peers on, five vote.
	want := min(s.agents, 3)
	if s.peers >= 21 && s.agents >= 5 {
		want = 5
	}
	m.eventually(2*time.Minute, "all voters", func() bool {
		st, err := m.agents[0].Status(b.Context())
		return err == nil && len(st.Voters) == want
	})
	t.note("%d voters", want)
	return m
}

// measureAlone applies the same nodes to a mesh of one with as many hypervisors. One
// light peer looks.
func measureAlone(b *testing.B, s size) applied {
	b.Helper()
	m := newMesh(b, 1)
	m.join(1, s.offer(), nil)
	ghosts := make([]state.Hypervisor, s.peers-s.agents-1)
	each(m, ghosts, func(ctx context.Context, i int, _ state.Hypervisor) error {
		h := s.offer()
		h.ID, h.Name = fmt.Sprintf("ghost%04d", i), fmt.Sprintf("ghost%04d", i)
		_, err := m.peers[0].propose(ctx, state.PutHypervisor{Hypervisor: h})
		return err
	})
	defer m.end()
	return m.apply(s)
}

// end ends what runs, before the test does.
func (m *mesh) end() {
	for _, p := range m.peers {
		p.close()
	}
	m.peers = nil
	for _, a := range m.agents {
		a.kill()
	}
}

// rest measures a mesh in which nothing changes.
func rest(m *mesh, s size, t *table) {
	m.Helper()
	leader := m.leader()
	pause(m.Context(), 3*time.Second)
	before := m.traffic.sum()
	used := make([]time.Duration, len(m.agents))
	for i, a := range m.agents {
		used[i] = a.cpu()
	}
	began, then := time.Now(), m.clock(leader)
	profiled := leader.profile("rest", s.rest)
	pause(m.Context(), s.rest)
	took := time.Since(began)
	profiled()
	spent := m.clock(leader).since(then)
	var others, most float64
	for i, a := range m.agents {
		share := 100 * (a.cpu() - used[i]).Seconds() / took.Seconds()
		if a == leader {
			feeds := 0
			for _, p := range m.peers {
				if by, _ := p.fedBy(); by == a.id {
					feeds++
				}
			}
			t.row("at rest, leader", "leader-cpu%", share, "% of a core", "%d leases, %d feeds", len(m.peers), feeds)
			t.row("at rest, leader's memory", "leader-MB", a.rss()/1e6, "MB", "%s", spent)
			continue
		}
		others, most = others+share, max(most, share)
	}
	t.row("at rest, other agents", "other-cpu%", others/float64(len(m.agents)-1), "% of a core", "at most %.1f", most)
	t.row("at rest, traffic", "rest-B/s/peer", float64(m.traffic.sum()-before)/took.Seconds()/float64(len(m.peers)), "B/s per peer", "leases and feeds, without gossip")
}

// applied is how an apply went, counted from when it was asked for.
type applied struct {
	// answered, placed and committed, and there at every peer that it is for.
	answered, placed, everywhere time.Duration
	bytes                        float64
	// spent is what processors did meanwhile, in words.
	spent string
}

// apply declares all nodes, and returns once every light peer knows its own.
func (m *mesh) apply(s size) applied {
	m.Helper()
	leader := m.leader()
	before := m.traffic.sum()
	ctx, cancel := context.WithTimeout(m.Context(), 2*time.Minute)
	defer cancel()
	type arrival struct {
		at    time.Time
		nodes int
		index uint64
	}
	seen := make([]arrival, len(m.peers))
	var watch sync.WaitGroup
	for i, p := range m.peers {
		watch.Go(func() {
			for ctx.Err() == nil {
				snap, changed := p.replica.Snapshot()
				if nodes := snap.NodesOn(p.id); len(nodes) > 0 {
					newest := slices.MaxFunc(nodes, func(a, b *state.Node) int { return int(a.ModifyIndex) - int(b.ModifyIndex) })
					seen[i] = arrival{time.Now(), len(nodes), newest.ModifyIndex}
					return
				}
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
		})
	}
	profiled := leader.profile("apply", 5*time.Second)
	began, then := time.Now(), m.clock(leader)
	if _, err := leader.Apply(ctx, api.ApplyRequest{File: file(s.nodes)}); err != nil {
		m.Fatal(err)
	}
	r := applied{answered: time.Since(began)}
	watch.Wait()
	r.bytes, r.spent = float64(m.traffic.sum()-before), m.clock(leader).since(then)
	if m.leader() != leader {
		r.spent += "; the leader was replaced meanwhile"
	}
	nodes, index := 0, seen[0].index
	first := time.Time{}
	for _, a := range seen {
		nodes += a.nodes
		if a.index != index {
			m.Errorf("nodes were placed at index %d and %d: not by one entry", index, a.index)
		}
		if first.IsZero() || a.at.Before(first) {
			first = a.at
		}
		r.everywhere = max(r.everywhere, a.at.Sub(began))
	}
	// All are placed by one entry, so that whoever has one first says that all are.
	r.placed = first.Sub(began)
	profiled()
	st, err := leader.Status(m.Context())
	if err != nil || st.Nodes.Total != s.nodes || st.Nodes.ByPhase[string(state.PhasePending)] > 0 || (len(m.peers) > 1 && nodes != s.nodes) {
		m.Fatalf("nodes %+v, the peers have %d; want %d (%v)", st.Nodes, nodes, s.nodes, err)
	}
	return r
}
