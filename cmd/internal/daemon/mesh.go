package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"tenks/cluster"
	"tenks/cluster/gossip"
	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// tokenTime is how long a join token can be used if nothing else is asked for, and
// tokenAddresses how many peers it names.
const (
	tokenTime      = 24 * time.Hour
	tokenAddresses = 5
)

func (a *agent) openMesh(ctx context.Context) (*cluster.Mesh, error) {
	c := a.opt.Config
	level := raftfsm.Level
	if a.opt.older {
		level = 0
	}
	listen := func(port int) string { return net.JoinHostPort(c.Advertise, strconv.Itoa(port)) }
	return cluster.Open(ctx, cluster.Config{Dir: a.paths.Mesh, FSM: a.fsm, Answers: raftfsm.Answers{},
		View: a.views.view, Feed: a.feed, Admit: a.admit, Roles: a.recordRoles,
		Listen: listen(c.Mesh.Port), Gossip: listen(c.Mesh.GossipPort), Advertise: c.Advertise,
		Facts: gossip.Facts{Name: c.Name, Zone: c.Zone, Version: a.opt.Version}, Level: level, Log: a.log})
}

// views turns the newest snapshot into what a mesh needs to know of it, once for all
// snapshots with the same peers, mesh and keys: nodes change much more often, and a mesh
// of a thousand peers is asked for in every handshake. It is safe for concurrent use.
type views struct {
	source interface {
		Snapshot() (*state.Snapshot, <-chan struct{})
	}

	mu sync.Mutex // guards what follows
	// same is closed once peers, mesh or keys are no longer as in last.
	same <-chan struct{}
	last cluster.View
	// snap is what last is of while a peer drains: its part in the log depends on nodes.
	snap *state.Snapshot
	// keys is the index of the keys that last was made of, secret whether the authority's
	// private key was one of them: a part of the state lacks it, at the same index.
	keys   uint64
	secret bool
}

func (v *views) view() cluster.View {
	snap, _ := v.source.Snapshot()
	v.mu.Lock()
	defer v.mu.Unlock()
	same := snap.WatchPeers()
	if same == v.same && (v.snap == nil || v.snap == snap) {
		return v.last
	}
	v.same, v.snap, v.last.Generation = same, nil, snap.Mesh().Generation
	v.last.Level = snap.Level().Number
	v.last.Peers, v.last.ByID = nil, map[string]cluster.Peer{}
	for _, p := range snap.Peers() {
		if p.Draining {
			v.snap = snap
		}
		v.last.Peers = append(v.last.Peers, cluster.Peer{ID: p.ID, Name: p.Name, Address: p.Address, Gossip: p.Gossip,
			Zone: p.Zone, Role: cluster.Role(p.Role), Removed: p.Removed, Barred: barred(snap, p)})
	}
	for _, p := range v.last.Peers {
		v.last.ByID[p.ID] = p
	}
	if k, ok := snap.Keys(); ok {
		secret := len(k.Authorities) > 0 && !k.Authorities[0].KeyPEM.IsZero()
		if k.ModifyIndex != v.keys || secret != v.secret {
			v.keys, v.secret = k.ModifyIndex, secret
			v.setKeys(k)
		}
	}
	return v.last
}

// barred reports whether a peer is to have no part in the log. One that drains has
// until its nodes are gone: a mesh of three should not stand on one vote for all the
// time that disks are copied.
func barred(snap *state.Snapshot, p *state.Peer) bool {
	return p.Leaving || p.Draining && len(snap.NodesOn(p.ID)) == 0
}

// setKeys leaves out what cannot be read: the peer then goes on with what it had.
func (v *views) setKeys(k state.Keys) {
	v.last.Roots, v.last.Cross, v.last.Gossip, v.last.Authority = nil, nil, nil, nil
	for i, row := range k.Authorities {
		if cross, err := pki.ParseBundle(row.Cross); err == nil {
			v.last.Cross = append(v.last.Cross, cross...)
		}
		if row.KeyPEM.IsZero() { // it is only trusted here
			if roots, err := pki.ParseBundle(row.CertPEM); err == nil {
				v.last.Roots = append(v.last.Roots, roots...)
			}
			continue
		}
		authority, err := pki.LoadAuthority(row.CertPEM, []byte(row.KeyPEM.Reveal()))
		if err != nil {
			continue
		}
		v.last.Roots = append(v.last.Roots, authority.Certificate())
		if i == 0 {
			v.last.Authority = authority
		}
	}
	for _, g := range k.Gossip {
		v.last.Gossip = append(v.last.Gossip, []byte(g.Key.Reveal()))
	}
}

// admit lets a peer in that shows a token.
func (a *agent) admit(ctx context.Context, ad cluster.Admission) error {
	p := ad.Peer
	_, err := a.propose(ctx, "", state.AdmitPeer{Token: ad.Token, Hash: ad.Hash[:],
		Peer: state.Peer{ID: p.ID, Name: p.Name, Address: p.Address, Gossip: p.Gossip, Zone: p.Zone}})
	if errors.Is(err, state.ErrRefused) {
		return fmt.Errorf("%w: %w", cluster.ErrRefused, err)
	}
	return err
}

func (a *agent) recordRoles(ctx context.Context, roles map[string]cluster.Role) error {
	var c state.SetRoles
	for id, role := range roles {
		c.Roles = append(c.Roles, state.PeerRoleChange{ID: id, Role: state.PeerRole(role)})
	}
	slices.SortFunc(c.Roles, func(x, y state.PeerRoleChange) int {
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
	_, err := a.propose(ctx, "", c)
	return err
}

// publishPeer keeps the mesh told of how this peer is reached.
func (a *agent) publishPeer(ctx context.Context, snap *state.Snapshot) error {
	if a.mesh.Transport() == nil {
		return nil
	}
	c := a.opt.Config
	want := state.Peer{ID: a.mesh.ID(), Name: c.Name, Address: a.mesh.Address(), Gossip: a.mesh.GossipAddress(),
		Zone: c.Zone, Version: a.opt.Version}
	if p, ok := snap.Peer(want.ID); ok && p.Name == want.Name && p.Address == want.Address &&
		p.Gossip == want.Gossip && p.Zone == want.Zone && p.Version == want.Version {
		return nil
	}
	_, err := a.propose(ctx, "", state.PutPeer{Peer: want})
	return err
}

// MakeToken implements api.Mesh.
func (a *agent) MakeToken(ctx context.Context, r api.TokenRequest) (api.Token, error) {
	if a.mesh.Transport() == nil {
		return api.Token{}, errors.New("this peer does not listen for others: see its log")
	}
	snap, _ := a.source.Snapshot()
	view := a.views.view()
	if len(view.Roots) == 0 {
		return api.Token{}, errors.New("this peer does not know the mesh's authority yet")
	}
	id, secret, err := pki.NewSecret(rand.Reader)
	if err != nil {
		return api.Token{}, err
	}
	now, life := time.Now(), tokenTime
	if r.TTLSeconds > 0 {
		life = time.Duration(min(r.TTLSeconds, math.MaxInt64/int64(time.Second))) * time.Second
	}
	uses := r.Uses
	if uses == 0 {
		uses = 1
	}
	hash := pki.HashSecret(secret)
	row := state.Token{ID: id, Hash: hash[:], ExpiresMilli: now.Add(life).UnixMilli(), Uses: uses, Name: r.Name,
		Zone: r.Zone, CreatedMilli: now.UnixMilli()}
	t := pki.Token{Mesh: snap.Mesh().ID, ID: id, Secret: secret, Addresses: a.tokenAddresses(snap), Expires: now.Add(life)}
	for _, root := range view.Roots[:min(len(view.Roots), 2)] {
		t.Pins = append(t.Pins, pki.PinOf(root))
	}
	text, err := t.Encode()
	if err != nil {
		return api.Token{}, err
	}
	if _, err := a.propose(ctx, "", state.PutToken{Token: row}); err != nil {
		return api.Token{}, err
	}
	v := api.TokenView(&row, now)
	v.Token = text
	if v.Bootstrap, err = a.bootstrap.line(a.mesh, id, text); err != nil {
		a.log.WarnContext(ctx, "no line for hosts without Tenks", "err", err)
	}
	return v, nil
}

// tokenAddresses are this peer's address, and those of others that can admit.
func (a *agent) tokenAddresses(snap *state.Snapshot) []string {
	out := []string{a.mesh.Address()}
	for _, p := range snap.Peers() {
		usable := p.ID != a.mesh.ID() && !p.Removed && !p.Lost && !p.Leaving && p.Address != "" && p.Role != state.RoleClient
		if usable && len(out) < tokenAddresses {
			out = append(out, p.Address)
		}
	}
	return out
}

// Whole implements api.Mesh. A peer that has just begun to follow the log may not have
// yet what it was told by those who answered for it.
func (a *agent) Whole() bool {
	if !a.newest.isWhole() {
		return false
	}
	snap, _ := a.source.Snapshot()
	told := a.toldOf.Load()
	return told == nil || !api.SeenBy(snap).Before(*told)
}

// Raft implements api.Mesh.
func (a *agent) Raft() []api.RaftPeer {
	snap, _ := a.source.Snapshot()
	out := []api.RaftPeer{}
	for _, m := range a.mesh.Members() {
		p := api.RaftPeer{ID: m.ID, Name: m.ID, Role: string(m.Role), Leader: m.Leader, Healthy: m.Healthy || m.Leader}
		if row, ok := snap.Peer(m.ID); ok {
			p.Name = row.Name
		}
		out = append(out, p)
	}
	return out
}

// Transfer implements api.Mesh.
func (a *agent) Transfer(ctx context.Context, peer string) error { return a.mesh.Transfer(ctx, peer) }

// Current implements api.Mesh.
func (a *agent) Current(ctx context.Context) error {
	index, err := a.mesh.ReadIndex(ctx)
	if err != nil {
		return err
	}
	_, err = raftfsm.WaitIndex(ctx, a.fsm.Source(), index)
	a.newest.look()
	return err
}
