package state

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

func (PutKeys) kind() string { return "put-keys" }

func (c PutKeys) apply(t *tx) error {
	k := c.Keys
	k.CreateIndex, k.ModifyIndex = t.index, t.index
	old, exists := first[*keysRow](t.Txn, tableKeys, "id", keysKey)
	switch {
	case exists && old.Keys.ModifyIndex != c.Expect, !exists && c.Expect != 0:
		return fmt.Errorf("keys of the mesh: %w", ErrConflict)
	case exists:
		k.CreateIndex = old.Keys.CreateIndex
	}
	ids := make([]string, len(k.Gossip))
	for i, g := range k.Gossip {
		if len(g.Key.Reveal()) != keySize {
			return fmt.Errorf("gossip key %q: %d bytes, want %d", g.ID, len(g.Key.Reveal()), keySize)
		}
		ids[i] = g.ID
	}
	t.put(tableKeys, &keysRow{Key: keysKey, Keys: k})
	t.touch(peersView) // keys are in every part
	t.event(EventKeys, "", "", "%d authorities, gossip keys %q", len(k.Authorities), ids)
	return nil
}

func (PutToken) kind() string { return "put-token" }

func (c PutToken) apply(t *tx) error {
	k := c.Token
	if err := checkKey("token ID", k.ID); err != nil {
		return err
	}
	if len(k.Hash) != hashSize {
		return fmt.Errorf("token %s: hash of %d bytes, want %d", k.ID, len(k.Hash), hashSize)
	}
	if _, taken := first[*Token](t.Txn, tableTokens, "id", k.ID); taken {
		return fmt.Errorf("token %s: there is one already: %w", k.ID, ErrConflict)
	}
	k.UsedBy, k.Revoked = nil, false
	k.CreateIndex = t.index
	t.putToken(&k)
	t.event(EventTokenCreated, "", "", "token %s: %s", k.ID, k.terms())
	return nil
}

// terms is what a token allows, in words.
func (k *Token) terms() string {
	s := "any number of uses"
	if k.Uses >= 0 {
		s = plural(k.Uses, "use")
	}
	if k.Name != "" {
		s += ", for " + k.Name
	}
	if k.ExpiresMilli != 0 {
		s += ", until " + utc(k.ExpiresMilli)
	}
	return s
}

func (t *tx) putToken(k *Token) {
	k.ModifyIndex = t.index
	t.put(tableTokens, k)
}

func (RevokeToken) kind() string { return "revoke-token" }

func (c RevokeToken) apply(t *tx) error {
	old, ok := first[*Token](t.Txn, tableTokens, "id", c.ID)
	if !ok {
		return fmt.Errorf("token %s: %w", c.ID, ErrNotFound)
	}
	if old.Revoked {
		return nil
	}
	k := *old
	k.Revoked = true
	t.putToken(&k)
	t.event(EventTokenRevoked, "", "", "token %s", k.ID)
	return nil
}

func (AdmitPeer) kind() string { return "admit-peer" }

func (c AdmitPeer) apply(t *tx) error {
	if err := checkPeer(&c.Peer); err != nil {
		return err
	}
	old, known := first[*Peer](t.Txn, tablePeers, "id", c.Peer.ID)
	if known && old.Removed {
		return errRemoved(old)
	}
	token, err := t.accept(c)
	if err != nil {
		return err
	}
	if other, taken := t.nameTaken(&c.Peer); taken {
		return fmt.Errorf("name %s is taken by peer %s at %s: %w", other.Name, other.ID, other.Address, ErrRefused)
	}
	p := Peer{ID: c.Peer.ID, Role: RoleClient, CreateIndex: t.index}
	if known {
		p = *old
	}
	p.Token, p.Leaving = token.ID, false
	t.selfReport(&p, &c.Peer)
	t.putPeer(&p)
	if !token.usedBy(p.ID) {
		t.useToken(token, &p)
	}
	if !known {
		t.event(EventPeerJoined, "", "", "peer %s at %s, by token %s", p.Name, p.Address, token.ID)
	}
	return nil
}

// accept returns the token of an admission, or why it does not admit the peer. What
// a token was used for is told only to who knows its secret.
func (t *tx) accept(c AdmitPeer) (*Token, error) {
	k, ok := first[*Token](t.Txn, tableTokens, "id", c.Token)
	var why string
	switch {
	case !ok:
		why = "this mesh has no such token"
	case !bytes.Equal(k.Hash, c.Hash):
		why = "wrong secret"
	case k.Name != "" && k.Name != c.Peer.Name:
		why = fmt.Sprintf("it is for %s only, this peer is called %s", k.Name, c.Peer.Name)
	case k.usedBy(c.Peer.ID):
	default:
		why = k.Usable(t.now)
	}
	if why != "" {
		return nil, fmt.Errorf("token %s: %s: %w", c.Token, why, ErrRefused)
	}
	return k, nil
}

func (k *Token) usedBy(peer string) bool {
	return slices.ContainsFunc(k.UsedBy, func(u TokenUse) bool { return u.Peer == peer })
}

// usedUp says who used a token up; with the date unless that was today.
func (k *Token) usedUp(now int64) string {
	if len(k.UsedBy) == 0 {
		return "it has no uses"
	}
	last := k.UsedBy[len(k.UsedBy)-1]
	at := utc(last.UnixMilli)
	if day := len(time.DateOnly); at[:day] == utc(now)[:day] {
		at = at[day+1:]
	}
	if n := len(k.UsedBy); n > 1 {
		return fmt.Sprintf("already used %d times, last by %s at %s", n, last.Name, at)
	}
	return fmt.Sprintf("already used by %s at %s", last.Name, at)
}

func (t *tx) useToken(old *Token, p *Peer) {
	k := *old
	if k.Uses > 0 {
		k.Uses--
	}
	// A copy, because snapshots share the old slice.
	k.UsedBy = append(slices.Clone(k.UsedBy), TokenUse{Peer: p.ID, Name: p.Name, UnixMilli: t.now})
	t.putToken(&k)
}

// utc is a time as people read it, to the second.
func utc(milli int64) string { return time.UnixMilli(milli).UTC().Format("2006-01-02T15:04:05Z") }

// plural is n of what a noun names: "1 use", "2 uses".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
