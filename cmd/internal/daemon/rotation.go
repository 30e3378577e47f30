package daemon

import (
	"slices"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// rotation is what the next step of a rotation of keys is decided by. The list of keys
// itself says how far it is: a key that is not retired, behind the first, is to be used
// once every peer that is there accepts it; a retired one goes once every peer, also
// those that are lost, goes by the first.
type rotation struct {
	keys state.Keys
	// peers are those that are not removed.
	peers  []*state.Peer
	trusts map[string]cluster.Trust
	// now is in Unix milliseconds.
	now int64
}

// rotating reports whether there is more than one key of a kind.
func rotating(k state.Keys) bool { return len(k.Gossip) > 1 || len(k.Authorities) > 1 }

// nextGossip is the place of the key that is to be used next; 0: there is none.
func nextGossip(list []state.GossipKey) int {
	return max(0, slices.IndexFunc(list[1:], func(k state.GossipKey) bool { return !k.Retired })+1)
}

// nextAuthority is the same for authorities.
func nextAuthority(list []state.Authority) int {
	return max(0, slices.IndexFunc(list[1:], func(c state.Authority) bool { return !c.Retired })+1)
}

// next returns the keys after the next step, and which it is; empty: there is none now.
func (r rotation) next() (state.Keys, string) {
	next := r.keys
	if i := nextGossip(r.keys.Gossip); i > 0 && len(r.lackGossip(r.keys.Gossip[i])) == 0 {
		next.Gossip = slices.Clone(r.keys.Gossip)
		next.Gossip[0].Retired = true
		chosen := next.Gossip[i]
		next.Gossip = slices.Insert(slices.Delete(next.Gossip, i, i+1), 0, chosen)
		return next, "gossip key " + chosen.ID + " encrypts"
	}
	if i := nextAuthority(r.keys.Authorities); i > 0 && len(r.lackRoot(r.keys.Authorities[i])) == 0 {
		next.Authorities = slices.Clone(r.keys.Authorities)
		old := &next.Authorities[0]
		old.Retired, old.RetiredMilli, old.KeyPEM = true, r.now, state.Secret{}
		chosen := next.Authorities[i]
		next.Authorities = slices.Insert(slices.Delete(next.Authorities, i, i+1), 0, chosen)
		return next, "authority " + pinOf(chosen) + " signs"
	}
	for i, k := range r.keys.Gossip {
		if i > 0 && k.Retired && len(r.needGossip(k)) == 0 {
			next.Gossip = slices.Delete(slices.Clone(r.keys.Gossip), i, i+1)
			return next, "gossip key " + k.ID + " is accepted no longer"
		}
	}
	for i, c := range r.keys.Authorities {
		if i > 0 && c.Retired && len(r.needAuthority(c)) == 0 {
			next.Authorities = slices.Delete(slices.Clone(r.keys.Authorities), i, i+1)
			return next, "authority " + pinOf(c) + " is trusted no longer"
		}
	}
	return r.keys, ""
}

// waiting are the peers of which is does not hold, by name; lost ones only if asked for.
// Who did not say what it trusts is waited for.
func (r rotation) waiting(lost bool, is func(cluster.Trust) bool) []string {
	out := []string{}
	for _, p := range r.peers {
		t, answered := r.trusts[p.ID]
		if answered && is(t) || p.Lost && !lost {
			continue
		}
		out = append(out, p.Name)
	}
	return out
}

// lackGossip are the peers that do not accept a key yet. Lost ones are told by the log
// when they are back.
func (r rotation) lackGossip(k state.GossipKey) []string {
	id := keyID(k)
	return r.waiting(false, func(t cluster.Trust) bool { return slices.Contains(t.Gossip, id) })
}

// needGossip are the peers that may still encrypt with a retired key.
func (r rotation) needGossip(k state.GossipKey) []string {
	first := keyID(r.keys.Gossip[0])
	return r.waiting(!k.Forced, func(t cluster.Trust) bool { return len(t.Gossip) > 0 && t.Gossip[0] == first })
}

func (r rotation) lackRoot(c state.Authority) []string {
	pin := pinOf(c)
	return r.waiting(false, func(t cluster.Trust) bool { return slices.Contains(t.Roots, pin) })
}

// needAuthority are the peers whose certificate a retired authority may have signed.
// Those of lost peers are over when the life of one has passed.
func (r rotation) needAuthority(c state.Authority) []string {
	over := c.RetiredMilli != 0 && r.now-c.RetiredMilli > (pki.Life+pki.Backdate).Milliseconds()
	first := pinOf(r.keys.Authorities[0])
	return r.waiting(!c.Forced && !over, func(t cluster.Trust) bool { return t.Signer == first })
}

func keyID(k state.GossipKey) string { return cluster.KeyID([]byte(k.Key.Reveal())) }

// pinOf is the pin of an authority; empty where its certificate cannot be read.
func pinOf(c state.Authority) string {
	certs, err := pki.ParseBundle(c.CertPEM)
	if err != nil {
		return ""
	}
	return pki.PinOf(certs[0]).String()
}

// view is what people see of the keys.
func (r rotation) view() api.Keys {
	v := api.Keys{Gossip: []api.GossipKey{}, Authorities: []api.Authority{}}
	for i, k := range r.keys.Gossip {
		row := api.GossipKey{ID: keyID(k), State: keyState(i, k.Retired), Added: when(k.AddedMilli), Waiting: []string{}}
		switch row.State {
		case api.KeyComing:
			row.Waiting = r.lackGossip(k)
		case api.KeyGoing:
			row.Waiting = r.needGossip(k)
		}
		v.Gossip = append(v.Gossip, row)
	}
	for i, c := range r.keys.Authorities {
		row := api.Authority{Pin: pinOf(c), State: keyState(i, c.Retired), Added: when(c.AddedMilli), Waiting: []string{}}
		if certs, err := pki.ParseBundle(c.CertPEM); err == nil {
			row.Expires = certs[0].NotAfter.UTC().Format(time.RFC3339)
		}
		switch row.State {
		case api.KeyComing:
			row.Waiting = r.lackRoot(c)
		case api.KeyGoing:
			row.Waiting = r.needAuthority(c)
		}
		v.Authorities = append(v.Authorities, row)
	}
	for _, p := range r.peers {
		if p.Lost {
			v.Lost = append(v.Lost, p.Name)
		}
	}
	return v
}

func keyState(place int, retired bool) string {
	switch {
	case place == 0:
		return api.KeyInUse
	case !retired:
		return api.KeyComing
	}
	return api.KeyGoing
}

// when is a time for people; empty: it is not known.
func when(milli int64) string {
	if milli == 0 {
		return ""
	}
	return time.UnixMilli(milli).UTC().Format(time.RFC3339)
}
