package state

import (
	"slices"
	"strings"
	"testing"
)

func TestEndedTokensAreForgottenAWeekLater(t *testing.T) {
	const made, day = 1795250000000, 24 * 3600 * 1000
	hash := []byte(strings.Repeat("h", 32))
	token := func(id string, set func(*Token)) Token {
		k := Token{ID: id, Hash: hash, CreatedMilli: made, ExpiresMilli: made + day, Uses: 1}
		if set != nil {
			set(&k)
		}
		return k
	}
	tests := map[string]struct {
		token   Token
		use     bool
		revoke  bool
		dropsAt int64 // 0: never
	}{
		"expired":                          {token: token("t1", nil), dropsAt: made + 8*day},
		"used up before its end":           {token: token("t1", func(k *Token) { k.ExpiresMilli = made + 30*day }), use: true, dropsAt: made + 8*day - 1},
		"of any number of uses":            {token: token("t1", func(k *Token) { k.Uses = -1 }), use: true, dropsAt: made + 8*day},
		"revoked: when is not known":       {token: token("t1", nil), revoke: true, dropsAt: made + 8*day},
		"revoked and without an end":       {token: token("t1", func(k *Token) { k.ExpiresMilli = 0 }), revoke: true, dropsAt: made + 7*day},
		"without an end":                   {token: token("t1", func(k *Token) { k.ExpiresMilli = 0; k.Uses = -1 })},
		"that a peer has its zone from":    {token: token("t1", func(k *Token) { k.Zone = "z" }), use: true},
		"with a zone that nobody has used": {token: token("t1", func(k *Token) { k.Zone = "z" }), dropsAt: made + 8*day},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.must(PutPeer{Peer{ID: "p0", Name: "hv0"}}, PutToken{tt.token})
			if tt.use {
				if err := l.at(made+day-1, AdmitPeer{Peer: Peer{ID: "p1", Name: "hv1"}, Token: "t1", Hash: hash}); err != nil {
					t.Fatal(err)
				}
			}
			if tt.revoke {
				l.must(RevokeToken{"t1"})
			}
			end := tt.dropsAt
			if end == 0 {
				end = made + 1000*day
			}
			there := func(at int64) bool {
				if err := l.at(at, DropTokens{IDs: []string{"t1", "t9"}}); err != nil {
					t.Fatal(err)
				}
				_, ok := l.snap().Token("t1")
				return ok
			}
			if got := l.snap().EndedTokens(end - 1); len(got) > 0 || !there(end-1) {
				t.Errorf("forgotten before its time: %v", got)
			}
			if got := slices.Contains(l.snap().EndedTokens(end), "t1"); got != (tt.dropsAt != 0) {
				t.Errorf("EndedTokens has it: %v", got)
			}
			if got := there(end); got != (tt.dropsAt == 0) {
				t.Errorf("after its time it is there: %v", got)
			}
		})
	}
}
