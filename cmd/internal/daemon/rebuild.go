package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

const (
	// declaredAfter is how long a host that was declared to be powered off must have been
	// without a lease: one that has one is not off.
	declaredAfter = 20 * time.Second
	// rebuildBatch bounds how many nodes one command takes off a host.
	rebuildBatch = 256
)

// displaced is a lost host and those of its nodes that are to be made anew elsewhere.
type displaced struct {
	peer *state.Peer
	// last is when it last renewed its lease with this leader; zero: never.
	last  time.Time
	nodes []state.NodeUnplacement
}

// overdue decides which nodes of lost hosts are fenced and made anew, by when peers last
// renewed their leases with a leader that leads since a time. A host that this leader never
// heard of may have had a lease of another until then; state.FenceMargin says why not later.
func overdue(snap *state.Snapshot, last map[string]time.Time, since, now time.Time) []displaced {
	var out []displaced
	for _, p := range snap.Peers() {
		if !p.Lost || p.Removed {
			continue
		}
		from := last[p.ID]
		if from.Before(since) {
			from = since
		}
		d := displaced{peer: p, last: last[p.ID]}
		for _, n := range snap.NodesOn(p.ID) {
			if why, due := whyDisplaced(p, n, from, now); due && len(d.nodes) < rebuildBatch {
				d.nodes = append(d.nodes, state.NodeUnplacement{UUID: n.UUID, Epoch: n.Placement.Epoch, LostIndex: p.LostIndex, Reason: why})
			}
		}
		if len(d.nodes) > 0 {
			out = append(out, d)
		}
	}
	return out
}

// whyDisplaced says why a node of a host that has had no lease since a time is taken off
// it; false: it is not, or not yet.
func whyDisplaced(p *state.Peer, n *state.Node, from, now time.Time) (string, bool) {
	if n.OnHostLoss != state.LossRebuild {
		return "", false
	}
	silent := now.Sub(from)
	if p.Fenced && silent >= declaredAfter {
		return fmt.Sprintf("hypervisor %s was declared to be powered off: the node is made anew elsewhere", p.Name), true
	}
	after, promised := n.FencedAfter()
	if !promised || silent < after {
		return "", false
	}
	return fmt.Sprintf("hypervisor %s had its last lease by %s, stopped the node by itself %s later, and is taken to be fenced since %s: the node is made anew elsewhere",
		p.Name, clock(from), n.StopAfter(), clock(from.Add(after))), true
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.0Z") }

// rebuild takes nodes that are fenced off their hosts, so that they are placed anew.
func (a *agent) rebuild(ctx context.Context, due []displaced) {
	for _, d := range due {
		c := state.UnplaceNodes{Nodes: d.nodes}
		displaced := false
		answer, err := a.mesh.Displace(ctx, map[string]time.Time{d.peer.ID: d.last}, func(peers []string) ([]byte, error) {
			if displaced = len(peers) > 0; !displaced {
				return nil, nil // it is back
			}
			return raftfsm.Encode(state.Envelope{Request: uuid.NewString(), UnixMilli: time.Now().UnixMilli(), Command: c})
		})
		if r, ok := answer.(raftfsm.Result); ok && err == nil {
			err = r.Err
		}
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, cluster.ErrNotLeader):
			a.log.WarnContext(ctx, "nodes of a lost hypervisor not taken off it; will retry", "hypervisor", d.peer.Name, "err", err)
		case err == nil && displaced:
			a.log.InfoContext(ctx, "nodes of a lost hypervisor are made anew elsewhere", "hypervisor", d.peer.Name, "nodes", len(d.nodes))
		}
	}
}

// withdrawTime bounds the report of an agent that ends.
const withdrawTime = 3 * time.Second

// withdraw takes back what this host promised about nodes that run: an agent that was told to
// end stops none for want of a lease. It is the last that this host reports.
func (a *agent) withdraw(ctx context.Context) {
	if a.host == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	snap, _ := a.source.Snapshot()
	c := withdrawn(snap, a.mesh.ID(), a.host.Powers())
	if len(c.Nodes) == 0 {
		return
	}
	entry, err := raftfsm.Encode(state.Envelope{Request: uuid.NewString(), UnixMilli: time.Now().UnixMilli(), Command: c})
	if err == nil {
		_, err = a.mesh.Propose(ctx, entry)
	}
	if err != nil {
		a.log.ErrorContext(ctx, "the mesh does not know that this agent ends: nodes that run here may be made anew elsewhere; start it again, or switch them off", "nodes", len(c.Nodes), "err", err)
	}
}

// withdrawn are the statuses of a host's nodes that run, without its promises.
func withdrawn(snap *state.Snapshot, hypervisor string, powers map[string]state.Power) state.ReportHost {
	c := state.ReportHost{Hypervisor: hypervisor}
	for _, n := range snap.NodesOn(hypervisor) {
		if n.Host.StopAfterMilli > 0 && powers[n.UUID] != state.PowerOff {
			status := n.Host
			status.StopAfterMilli = 0
			c.Nodes = append(c.Nodes, state.NodeHostReport{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: status})
		}
	}
	return c
}

// confirmTime is how long the log may take to bring this peer up to date before its part
// of the state is asked for.
const confirmTime = 3 * time.Second

// confirm returns once this host reads a state that has all that was acknowledged before.
func (a *agent) confirm(ctx context.Context) error {
	if a.hasAll() {
		bounded, cancel := context.WithTimeout(ctx, confirmTime)
		defer cancel()
		if err := a.Current(bounded); err == nil {
			return nil
		}
	}
	// Of a part, the index says nothing of what did not change in it. A command about this
	// host changes it, and comes after everything that was acknowledged.
	snap, _ := a.source.Snapshot()
	h, ok := snap.Hypervisor(a.mesh.ID())
	if !ok {
		return errors.New("this host is not in the state yet")
	}
	index, err := a.propose(ctx, "", state.PutHypervisor{Hypervisor: *h})
	if err != nil {
		return err
	}
	_, err = raftfsm.WaitIndex(ctx, a.source, index)
	return err
}
