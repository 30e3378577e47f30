package state

import (
	"slices"
	"strings"
)

// KeepEnded is how long a token that has ended is kept, in milliseconds: for who asks
// why it no longer works, and for peers that repeat a join whose answer they lost.
const KeepEnded = 7 * 24 * 3600 * 1000

// DropTokens forgets tokens that ended KeepEnded before the envelope's time. Others are
// skipped, as are those that there are not.
type DropTokens struct{ IDs []string }

func (DropTokens) kind() string { return "drop-tokens" }

func (c DropTokens) apply(t *tx) error {
	var dropped []string
	for _, id := range c.IDs {
		k, ok := first[*Token](t.Txn, tableTokens, "id", id)
		if !ok || !k.endedBefore(t.now-KeepEnded) || namesZone(k, all[*Peer](t.Txn, tablePeers, "id")) {
			continue
		}
		must(t.Delete(tableTokens, k))
		dropped = append(dropped, id)
	}
	if len(dropped) > 0 {
		t.event(EventTokensDropped, "", "", "%s", strings.Join(dropped, ", "))
	}
	return nil
}

// EndedTokens are the IDs of the tokens that DropTokens forgets at a time (Unix
// milliseconds).
func (s *Snapshot) EndedTokens(now int64) []string {
	peers := s.Peers()
	var out []string
	for _, k := range s.Tokens() {
		if k.endedBefore(now-KeepEnded) && !namesZone(k, peers) {
			out = append(out, k.ID)
		}
	}
	return out
}

// Usable says why nobody new can come by the token at a time (Unix milliseconds);
// empty: somebody can.
func (k *Token) Usable(now int64) string {
	switch {
	case k.Revoked:
		return "it was revoked"
	case k.ExpiresMilli != 0 && now >= k.ExpiresMilli:
		return "it expired at " + utc(k.ExpiresMilli)
	case k.Uses == 0:
		return k.usedUp(now)
	}
	return ""
}

// endedBefore reports whether the token ended at or before a time. When one was revoked
// is not known: it counts as having gone on until its time was over.
func (k *Token) endedBefore(milli int64) bool {
	end := k.ExpiresMilli
	if k.Uses == 0 {
		used := k.CreatedMilli
		if n := len(k.UsedBy); n > 0 {
			used = k.UsedBy[n-1].UnixMilli
		}
		if end == 0 || used < end {
			end = used
		}
	}
	if end == 0 && k.Revoked {
		end = k.CreatedMilli
	}
	return end != 0 && end <= milli
}

// namesZone reports whether a peer has its zone from the token.
func namesZone(k *Token, peers []*Peer) bool {
	return k.Zone != "" && slices.ContainsFunc(peers, func(p *Peer) bool { return p.Token == k.ID && !p.Removed })
}
