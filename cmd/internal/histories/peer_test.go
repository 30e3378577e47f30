package histories

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/raftfsm"
	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
	"tenks/sched"
)

// peer is what an agent does in the mesh, for as long as its process runs.
type peer struct {
	host   *host
	world  *world
	mesh   *cluster.Mesh
	fsm    *raftfsm.FSM
	source reconcile.Source

	ctx    context.Context
	cancel context.CancelFunc
	// die cuts the process off from the network.
	die  context.CancelFunc
	work sync.WaitGroup

	mu sync.Mutex // guards what follows
	// seen is the snapshot that last was made of.
	seen *state.Snapshot
	last cluster.View
}

func (p *peer) snap() *state.Snapshot {
	snap, _ := p.source.Snapshot()
	return snap
}

func (p *peer) start() {
	loop := func(name string, do func(context.Context, *state.Snapshot) error) *reconcile.Loop {
		return &reconcile.Loop{Name: name, Source: p.source, Do: do, Period: 10 * time.Second, Retry: time.Second,
			Log: p.world.log.With("on", p.host.name)}
	}
	p.work.Go(func() { p.world.watch.observe(p) })
	p.work.Go(func() { _ = loop("publish", p.publish).Run(p.ctx) })
	p.work.Go(func() { _ = loop("report", p.report).Run(p.ctx) })
	p.work.Go(func() { _ = p.mesh.WhileLeader(p.ctx, loop("sched", p.place).Run) })
}

func (p *peer) stop() error {
	p.cancel()
	p.work.Wait()
	return p.mesh.Close()
}

// view is what the mesh must know of the state.
func (p *peer) view() cluster.View {
	snap := p.snap()
	p.mu.Lock()
	defer p.mu.Unlock()
	if snap == p.seen {
		return p.last
	}
	v := cluster.View{Generation: snap.Mesh().Generation, Roots: p.last.Roots, Authority: p.last.Authority, Gossip: p.last.Gossip}
	for _, q := range snap.Peers() {
		v.Peers = append(v.Peers, cluster.Peer{ID: q.ID, Name: q.Name, Address: q.Address, Gossip: q.Gossip,
			Zone: q.Zone, Role: cluster.Role(q.Role), Removed: q.Removed, Barred: q.Leaving || q.Draining})
	}
	if k, ok := snap.Keys(); ok && v.Authority == nil {
		authority, err := pki.LoadAuthority(k.Authorities[0].CertPEM, []byte(k.Authorities[0].KeyPEM.Reveal()))
		if err != nil {
			panic(err) // it is what found wrote
		}
		v.Authority = authority
		v.Roots = append(v.Roots, authority.Certificate())
		v.Gossip = append(v.Gossip, []byte(k.Gossip[0].Key.Reveal()))
	}
	p.seen, p.last = snap, v
	return v
}

// propose makes a change that may be repeated whatever became of it.
func (p *peer) propose(ctx context.Context, c state.Command) (uint64, error) {
	r, outcome, err := propose(ctx, uuid.NewString(), c, func() *peer { return p })
	if outcome == done || outcome == refused {
		return r.Index, r.Err
	}
	return 0, err
}

func (p *peer) admit(ctx context.Context, a cluster.Admission) error {
	_, err := p.propose(ctx, state.AdmitPeer{Token: a.Token, Hash: a.Hash[:],
		Peer: state.Peer{ID: a.Peer.ID, Name: a.Peer.Name, Address: a.Peer.Address, Gossip: a.Peer.Gossip, Zone: a.Peer.Zone}})
	if errors.Is(err, state.ErrRefused) {
		return fmt.Errorf("%w: %w", cluster.ErrRefused, err)
	}
	return err
}

func (p *peer) recordRoles(ctx context.Context, roles map[string]cluster.Role) error {
	var c state.SetRoles
	for id, role := range roles {
		c.Roles = append(c.Roles, state.PeerRoleChange{ID: id, Role: state.PeerRole(role)})
	}
	_, err := p.propose(ctx, c)
	return err
}

// publish says where this peer is, and what it offers.
func (p *peer) publish(ctx context.Context, snap *state.Snapshot) error {
	if snap.Index() == 0 {
		return nil // it has heard nothing yet
	}
	id := p.mesh.ID()
	address, g := p.mesh.Address(), p.mesh.GossipAddress()
	if q, ok := snap.Peer(id); !ok || q.Address != address || q.Gossip != g || q.Zone != p.host.zone {
		if _, err := p.propose(ctx, state.PutPeer{Peer: state.Peer{ID: id, Name: p.host.name, Address: address,
			Gossip: g, Zone: p.host.zone}}); err != nil {
			return err
		}
	}
	if h, ok := snap.Hypervisor(id); ok && h.Address == p.host.at() {
		return nil
	}
	_, err := p.propose(ctx, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: id, Name: p.host.name, Address: p.host.at(),
		Zone: p.host.zone, Drivers: []string{"fake"}, Capacity: state.Resources{VCPUs: 64, MemoryMB: 1 << 20, DiskGB: 1 << 10},
		BMC: state.PortRange{Address: p.host.at(), First: 6230, Last: 6999}}})
	return err
}

// report says of each node that is placed here that it is ready, or gone.
func (p *peer) report(ctx context.Context, snap *state.Snapshot) error {
	c := state.ReportHost{Hypervisor: p.mesh.ID()}
	for _, n := range snap.NodesOn(c.Hypervisor) {
		phase := state.HostReady
		if n.Removing && n.IronicDone() {
			phase = state.HostGone
		}
		if n.Host.Phase != phase {
			c.Nodes = append(c.Nodes, state.NodeHostReport{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: state.HostStatus{Phase: phase}})
		}
	}
	if len(c.Nodes) == 0 {
		return nil
	}
	_, err := p.propose(ctx, c)
	return err
}

// place places what is not placed, while this peer leads.
func (p *peer) place(ctx context.Context, snap *state.Snapshot) error {
	result := sched.Place(snap, nil)
	c := state.PlaceNodes{Placements: result.Placements}
	for _, r := range result.Refusals {
		if n, ok := snap.Node(r.UUID); ok && n.Unplaced != r.Reason {
			c.Refusals = append(c.Refusals, r)
		}
	}
	if len(c.Placements) == 0 && len(c.Refusals) == 0 {
		return nil
	}
	p.world.placed.Add(int64(len(c.Placements)))
	_, err := p.propose(ctx, c)
	return err
}

// current returns a state that has all that was acknowledged before.
func (p *peer) current(ctx context.Context) (*state.Snapshot, error) {
	index, err := p.mesh.ReadIndex(ctx)
	if err != nil {
		return nil, err
	}
	return raftfsm.WaitIndex(ctx, p.source, index)
}
