package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

const (
	// rotateEvery is how often the next step is looked for, and rotatePeer how much time
	// there is for each peer that is asked.
	rotateEvery = 2 * time.Second
	rotatePeer  = 10 * time.Millisecond
	// removalSettle is how long a peer must have been removed, with no part in the log,
	// before a gossip key is made that it must not see: others end their connections with
	// it every few seconds.
	removalSettle = 15 * time.Second
	// dropEvery is how often tokens that ended long ago are looked for.
	dropEvery = time.Hour
)

// rotate moves keys on, one step at a time, for as long as this peer leads. How far a
// rotation is, is in the log: whoever leads next goes on.
func (a *agent) rotate(ctx context.Context) error {
	var settled settling
	var dropped time.Time
	for ctx.Err() == nil {
		now := time.Now()
		snap, _ := a.source.Snapshot()
		err := a.rotateOnce(ctx, snap, settled.since(snap, a.mesh.Members(), now), now)
		if err == nil && now.Sub(dropped) > dropEvery {
			if err = a.dropTokens(ctx, snap, now); err == nil {
				dropped = now
			}
		}
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "keys and tokens not looked after; will retry", "err", err)
		}
		sleep(ctx, max(rotateEvery, time.Duration(len(snap.Peers()))*rotatePeer))
	}
	return nil
}

func (a *agent) dropTokens(ctx context.Context, snap *state.Snapshot, now time.Time) error {
	ended := snap.EndedTokens(now.UnixMilli())
	if len(ended) == 0 {
		return nil
	}
	_, err := a.propose(ctx, "", state.DropTokens{IDs: ended})
	return err
}

// rotateOnce makes the next step, if one is due. removed is the log index of the last
// removal of a peer that is settled.
func (a *agent) rotateOnce(ctx context.Context, snap *state.Snapshot, removed uint64, now time.Time) error {
	keys, ok := snap.Keys()
	if !ok || len(keys.Gossip) == 0 || len(keys.Authorities) == 0 {
		return nil
	}
	r := a.rotation(ctx, snap, keys, now)
	next, step := r.next()
	if step == "" && removed > keys.Gossip[0].Since && len(keys.Gossip) == 1 {
		var err error
		if next.Gossip, err = withGossipKey(keys.Gossip, snap.Index(), r.now, false); err != nil {
			return err
		}
		next.Authorities, step = keys.Authorities, "a new gossip key, because a peer was removed"
	}
	if step == "" {
		return nil
	}
	if _, err := a.propose(ctx, "", state.PutKeys{Keys: next, Expect: keys.ModifyIndex}); err != nil {
		return fmt.Errorf("rotation of keys: %s: %w", step, err)
	}
	a.log.InfoContext(ctx, "rotation of keys", "step", step)
	return nil
}

// settling notes since when each removed peer has no part in the log.
type settling struct{ seen map[string]time.Time }

// since is the newest log index at which a peer was removed that is settled.
func (s *settling) since(snap *state.Snapshot, members []cluster.Member, now time.Time) uint64 {
	if s.seen == nil {
		s.seen = map[string]time.Time{}
	}
	follows := map[string]bool{}
	for _, m := range members {
		follows[m.ID] = true
	}
	var last uint64
	for _, p := range snap.Peers() {
		switch first, known := s.seen[p.ID]; {
		case !p.Removed || follows[p.ID]:
			delete(s.seen, p.ID)
		case !known:
			s.seen[p.ID] = now
		case now.Sub(first) >= removalSettle:
			last = max(last, p.ModifyIndex)
		}
	}
	return last
}

// present are the peers that are not removed.
func present(snap *state.Snapshot) []*state.Peer {
	var out []*state.Peer
	for _, p := range snap.Peers() {
		if !p.Removed {
			out = append(out, p)
		}
	}
	return out
}

// there are the IDs of the peers that are not lost: the others would only be waited for.
func there(peers []*state.Peer) []string {
	var out []string
	for _, p := range peers {
		if !p.Lost {
			out = append(out, p.ID)
		}
	}
	return out
}

// withGossipKey adds a key to a list that was read at a log index; force says that the
// one in use, once retired, need not wait for lost peers.
func withGossipKey(list []state.GossipKey, index uint64, now int64, force bool) ([]state.GossipKey, error) {
	key, err := cluster.NewGossipKey()
	if err != nil {
		return nil, err
	}
	out := append([]state.GossipKey{}, list...)
	out[0].Forced = out[0].Forced || force
	return append(out, state.GossipKey{ID: cluster.KeyID(key), Key: state.NewSecret(string(key)), Since: index, AddedMilli: now}), nil
}

// withAuthority is the same for a new authority, which the one that signs certifies.
func withAuthority(list []state.Authority, mesh string, now time.Time, force bool) ([]state.Authority, error) {
	old, err := pki.LoadAuthority(list[0].CertPEM, []byte(list[0].KeyPEM.Reveal()))
	if err != nil {
		return nil, err
	}
	made, err := pki.NewAuthority(mesh, now)
	if err != nil {
		return nil, err
	}
	cross, err := old.CrossSign(made, now)
	if err != nil {
		return nil, err
	}
	cert, key := made.PEM()
	out := append([]state.Authority{}, list...)
	out[0].Forced = out[0].Forced || force
	return append(out, state.Authority{CertPEM: cert, KeyPEM: state.NewSecret(string(key)), Cross: cross, AddedMilli: now.UnixMilli()}), nil
}

// RotateGossipKey implements api.KeyRing.
func (a *agent) RotateGossipKey(ctx context.Context, r api.RotateRequest) error {
	return a.changeKeys(ctx, func(snap *state.Snapshot, keys *state.Keys) (err error) {
		if len(keys.Gossip) > 1 {
			if !r.Force {
				return fmt.Errorf("a rotation of the gossip key is under way: tenks gossip-key list shows what it waits for: %w", state.ErrWrongState)
			}
			keys.Gossip = append([]state.GossipKey{}, keys.Gossip...)
			for i := range keys.Gossip {
				keys.Gossip[i].Forced = keys.Gossip[i].Forced || i == 0 && nextGossip(keys.Gossip) > 0 || keys.Gossip[i].Retired
			}
			return nil
		}
		keys.Gossip, err = withGossipKey(keys.Gossip, snap.Index(), time.Now().UnixMilli(), r.Force)
		return err
	})
}

// RotateAuthority implements api.KeyRing.
func (a *agent) RotateAuthority(ctx context.Context, r api.RotateRequest) error {
	return a.changeKeys(ctx, func(snap *state.Snapshot, keys *state.Keys) (err error) {
		if len(keys.Authorities) > 1 {
			if !r.Force {
				return fmt.Errorf("a rotation of the authority is under way: tenks ca list shows what it waits for: %w", state.ErrWrongState)
			}
			keys.Authorities = append([]state.Authority{}, keys.Authorities...)
			for i := range keys.Authorities {
				keys.Authorities[i].Forced = keys.Authorities[i].Forced || i == 0 && nextAuthority(keys.Authorities) > 0 || keys.Authorities[i].Retired
			}
			return nil
		}
		keys.Authorities, err = withAuthority(keys.Authorities, snap.Mesh().ID, time.Now(), r.Force)
		return err
	})
}

// changeTries is how often a change of keys is made anew when another came before it, as
// a step of a rotation may.
const changeTries = 5

func (a *agent) changeKeys(ctx context.Context, change func(*state.Snapshot, *state.Keys) error) error {
	for try := 1; ; try++ {
		snap, keys, err := a.knownKeys()
		if err != nil {
			return err
		}
		expect := keys.ModifyIndex
		if err := change(snap, &keys); err != nil {
			return err
		}
		_, err = a.propose(ctx, "", state.PutKeys{Keys: keys, Expect: expect})
		if !errors.Is(err, state.ErrConflict) || try == changeTries {
			return err
		}
		sleep(ctx, seenTime/changeTries)
	}
}

// knownKeys are the keys in the newest state here.
func (a *agent) knownKeys() (*state.Snapshot, state.Keys, error) {
	snap, _ := a.source.Snapshot()
	keys, ok := snap.Keys()
	if !ok || len(keys.Gossip) == 0 || len(keys.Authorities) == 0 {
		return nil, keys, fmt.Errorf("this peer does not know the keys of the mesh: ask another, or later: %w", state.ErrBusy)
	}
	return snap, keys, nil
}

// Keys implements api.KeyRing.
func (a *agent) Keys(ctx context.Context) (api.Keys, error) {
	snap, keys, err := a.knownKeys()
	if err != nil {
		return api.Keys{}, err
	}
	return a.rotation(ctx, snap, keys, time.Now()).view(), nil
}

// rotation is how far one is. Peers are asked only while there is one.
func (a *agent) rotation(ctx context.Context, snap *state.Snapshot, keys state.Keys, now time.Time) rotation {
	r := rotation{keys: keys, now: now.UnixMilli()}
	if rotating(keys) {
		r.peers = present(snap)
		r.trusts = a.mesh.Trusts(ctx, there(r.peers))
	}
	return r
}
