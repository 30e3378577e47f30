package scale

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tenks/raftfsm/state"
)

// reports has every peer say that its nodes are ready, as hosts do after an apply.
func reports(m *mesh, _ size, t *table) {
	m.Helper()
	leader := m.leader()
	used, began := leader.cpu(), time.Now()
	each(m, m.peers, func(ctx context.Context, _ int, p *peer) error {
		c := state.ReportHost{Hypervisor: p.id}
		for _, n := range p.snapshot().NodesOn(p.id) {
			c.Nodes = append(c.Nodes, state.NodeHostReport{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: state.HostStatus{Phase: state.HostReady}})
		}
		_, err := p.propose(ctx, c)
		return err
	})
	took := time.Since(began)
	m.eventually(time.Minute, "ready nodes at every peer", func() bool {
		return !slices.ContainsFunc(m.peers, func(p *peer) bool {
			nodes := p.snapshot().NodesOn(p.id)
			return slices.ContainsFunc(nodes, func(n *state.Node) bool { return n.Host.Phase != state.HostReady })
		})
	})
	t.row("every peer reports its nodes ready, once", "report-s", took.Seconds(), "s", "%.0f entries/s, leader %.0f ms of CPU each",
		float64(len(m.peers))/took.Seconds(), (leader.cpu()-used).Seconds()*1e3/float64(len(m.peers)))
}

// catchUp measures how long a peer needs that was away for so many entries, and one that
// knows nothing.
func catchUp(m *mesh, s size, t *table) {
	m.Helper()
	gone, rest := m.peers[0], m.peers[1:]
	gone.detach()
	gone.forget()
	gone.attach(m.Context())
	m.eventually(time.Minute, "all of its part", func() bool { return gone.snapshot().Index() > 0 })
	gone.detach()
	// Reports of hosts, and now and then a peer that changes, which all are told.
	entries := make([]int, s.away)
	leader := m.leader()
	defer leader.profile("away", 8*time.Second)()
	began, used := time.Now(), leader.cpu()
	each(m, entries, func(ctx context.Context, i int, _ int) error {
		p := rest[i%len(rest)]
		var c state.Command
		if i%500 == 0 {
			c = state.PutPeer{Peer: state.Peer{ID: p.id, Name: p.name, Address: p.transport.Addr(), Version: fmt.Sprint("scale", i)}}
		} else {
			n := p.snapshot().NodesOn(p.id)[0]
			c = state.ReportHost{Hypervisor: p.id, Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch,
				Status: state.HostStatus{Phase: state.HostReady, Pending: []string{fmt.Sprint("change ", i)}}}}}
		}
		_, err := p.propose(ctx, c)
		return err
	})
	t.row("entries while one is away", "entries/s", float64(s.away)/time.Since(began).Seconds(), "/s", "leader %.2f ms of CPU each",
		(leader.cpu()-used).Seconds()*1e3/float64(s.away))
	back := func(what, metric string) {
		want, _ := rest[0].propose(m.Context(), state.PutPeer{Peer: state.Peer{ID: rest[0].id, Name: rest[0].name, Address: rest[0].transport.Addr(), Version: what}})
		pause(m.Context(), time.Second) // all others have it
		before, began := m.traffic.sum(), time.Now()
		gone.attach(m.Context())
		m.eventually(time.Minute, "caught up", func() bool { return gone.snapshot().Index() >= want })
		t.row(what, metric, time.Since(began).Seconds()*1e3, "ms", "%d B in all, with what others do meanwhile", m.traffic.sum()-before)
		gone.detach()
	}
	back(fmt.Sprintf("back after %d entries, by a delta", s.away), "delta-ms")
	gone.forget()
	back("back knowing nothing, by all of its part", "full-ms")
	gone.attach(m.Context())
}

// failover kills the leader's process.
func failover(m *mesh, s size, t *table) {
	m.Helper()
	var proposed, leased, fed []time.Duration
	for i := range s.kills {
		if i > 0 {
			pause(m.Context(), 15*time.Second) // who was killed catches up, and may vote
		}
		old := m.leader()
		began := time.Now()
		old.kill()
		p := m.peers[len(m.peers)/2]
		if _, err := p.propose(m.Context(), state.PutPeer{Peer: state.Peer{ID: p.id, Name: p.name, Address: p.transport.Addr(), Version: "after"}}); err != nil {
			m.Fatal(err)
		}
		proposed = append(proposed, time.Since(began))
		m.eventually(2*time.Minute, "leases by another leader", func() bool {
			return !slices.ContainsFunc(m.peers, func(p *peer) bool {
				at, by := p.lease()
				return at.Before(began) || by == old.id
			})
		})
		leased = append(leased, time.Since(began))
		m.eventually(time.Minute, "feeds by others", func() bool {
			return !slices.ContainsFunc(m.peers, func(p *peer) bool { by, _ := p.fedBy(); return by == old.id || by == "" })
		})
		fed = append(fed, time.Since(began))
		if i+1 < s.kills {
			old.start()
		}
	}
	t.row("leader killed, until a peer's proposal is committed", "failover-s", worst(proposed), "s", "worst of %s", list(proposed))
	t.row("leader killed, until all leases are renewed", "leases-s", worst(leased), "s", "worst of %s", list(leased))
	t.row("leader killed, until all have a feed", "feeds-s", worst(fed), "s", "worst of %s; not before the leases", list(fed))
}

func worst(d []time.Duration) float64 { return slices.Max(d).Seconds() }

func list(d []time.Duration) string {
	var out []string
	for _, x := range d {
		out = append(out, fmt.Sprintf("%.1f", x.Seconds()))
	}
	return fmt.Sprint(out)
}
