package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// authority makes a row of the state.
func authority(t *testing.T) state.Authority {
	t.Helper()
	a, err := pki.NewAuthority("0b54ab31-4a55-4a86-9b3b-7fd2a4b2a7c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key := a.PEM()
	return state.Authority{CertPEM: cert, KeyPEM: state.NewSecret(string(key))}
}

// describe is a list of keys in words, as "B A-" for A retired behind B.
func describe(k state.Keys, pins map[string]string) (gossip, authorities string) {
	mark := func(retired bool) string {
		if retired {
			return "-"
		}
		return ""
	}
	var g, c []string
	for _, key := range k.Gossip {
		g = append(g, key.ID+mark(key.Retired))
	}
	for _, a := range k.Authorities {
		c = append(c, pins[pinOf(a)]+mark(a.Retired))
	}
	return strings.Join(g, " "), strings.Join(c, " ")
}

func TestRotationStepsWaitForWhoIsThere(t *testing.T) {
	first, second := authority(t), authority(t)
	pins := map[string]string{pinOf(first): "A", pinOf(second): "B"}
	key := func(name string) state.GossipKey {
		return state.GossipKey{ID: name, Key: state.NewSecret(strings.Repeat(name, 32))}
	}
	trust := func(gossip, roots, signs string) cluster.Trust {
		var out cluster.Trust
		for _, name := range gossip {
			out.Gossip = append(out.Gossip, keyID(key(string(name))))
		}
		for pin, name := range pins {
			if strings.Contains(roots, name) {
				out.Roots = append(out.Roots, pin)
			}
			if signs == name {
				out.Signer = pin
			}
		}
		return out
	}
	retired := func(c state.Authority, ago time.Duration, forced bool) state.Authority {
		c.Retired, c.RetiredMilli, c.Forced, c.KeyPEM = true, time.Now().Add(-ago).UnixMilli(), forced, state.Secret{}
		return c
	}
	gone := func(k state.GossipKey, forced bool) state.GossipKey {
		k.Retired, k.Forced = true, forced
		return k
	}
	one := []state.GossipKey{key("A")}
	oneCA := []state.Authority{first}
	tests := map[string]struct {
		keys       state.Keys
		trusts     map[string]cluster.Trust // of p1, p2 and p3, of which p3 is lost
		wantGossip string
		wantCA     string
	}{
		"nothing to do": {state.Keys{Gossip: one, Authorities: oneCA}, nil, "A", "A"},
		"a gossip key that one lacks": {state.Keys{Gossip: []state.GossipKey{key("A"), key("B")}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("AB", "", ""), "p2": trust("A", "", "")}, "A B", "A"},
		"a gossip key, and one that says nothing": {state.Keys{Gossip: []state.GossipKey{key("A"), key("B")}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("AB", "", "")}, "A B", "A"},
		"a gossip key that all who are there have": {state.Keys{Gossip: []state.GossipKey{key("A"), key("B")}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("AB", "", ""), "p2": trust("AB", "", "")}, "B A-", "A"},
		"an old gossip key that a lost peer may have": {state.Keys{Gossip: []state.GossipKey{key("B"), gone(key("A"), false)}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("BA", "", ""), "p2": trust("BA", "", "")}, "B A-", "A"},
		"an old gossip key that a lost peer may have, forced": {state.Keys{Gossip: []state.GossipKey{key("B"), gone(key("A"), true)}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("BA", "", ""), "p2": trust("BA", "", "")}, "B", "A"},
		"an old gossip key that one who is there uses, forced": {state.Keys{Gossip: []state.GossipKey{key("B"), gone(key("A"), true)}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("AB", "", ""), "p2": trust("BA", "", "")}, "B A-", "A"},
		"an old gossip key, and the lost peer answers": {state.Keys{Gossip: []state.GossipKey{key("B"), gone(key("A"), false)}, Authorities: oneCA},
			map[string]cluster.Trust{"p1": trust("BA", "", ""), "p2": trust("BA", "", ""), "p3": trust("BA", "", "")}, "B", "A"},
		"an authority that one does not trust": {state.Keys{Gossip: one, Authorities: []state.Authority{first, second}},
			map[string]cluster.Trust{"p1": trust("A", "AB", "A"), "p2": trust("A", "A", "A")}, "A", "A B"},
		"an authority that all who are there trust": {state.Keys{Gossip: one, Authorities: []state.Authority{first, second}},
			map[string]cluster.Trust{"p1": trust("A", "AB", "A"), "p2": trust("A", "AB", "A")}, "A", "B A-"},
		"an old authority with a certificate in use": {state.Keys{Gossip: one, Authorities: []state.Authority{second, retired(first, time.Hour, true)}},
			map[string]cluster.Trust{"p1": trust("A", "AB", "A"), "p2": trust("A", "AB", "B")}, "A", "B A-"},
		"an old authority that a lost peer may need": {state.Keys{Gossip: one, Authorities: []state.Authority{second, retired(first, time.Hour, false)}},
			map[string]cluster.Trust{"p1": trust("A", "AB", "B"), "p2": trust("A", "AB", "B")}, "A", "B A-"},
		"an old authority, forced": {state.Keys{Gossip: one, Authorities: []state.Authority{second, retired(first, time.Hour, true)}},
			map[string]cluster.Trust{"p1": trust("A", "AB", "B"), "p2": trust("A", "AB", "B")}, "A", "B"},
		"an old authority whose certificates are over": {state.Keys{Gossip: one, Authorities: []state.Authority{second, retired(first, 31*24*time.Hour, false)}},
			map[string]cluster.Trust{"p1": trust("A", "AB", "B"), "p2": trust("A", "AB", "B")}, "A", "B"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before, beforeCA := describe(tt.keys, pins)
			r := rotation{keys: tt.keys, trusts: tt.trusts, now: time.Now().UnixMilli(), peers: []*state.Peer{
				{ID: "p1", Name: "hv1"}, {ID: "p2", Name: "hv2"}, {ID: "p3", Name: "hv3", Lost: true}}}
			next, step := r.next()
			gossip, authorities := describe(next, pins)
			if gossip != tt.wantGossip || authorities != tt.wantCA {
				t.Errorf("after %q: gossip %q, authorities %q, want %q and %q", step, gossip, authorities, tt.wantGossip, tt.wantCA)
			}
			if changed := gossip != before || authorities != beforeCA; changed != (step != "") {
				t.Errorf("step %q, changed %v", step, changed)
			}
			if again, againCA := describe(tt.keys, pins); again != before || againCA != beforeCA {
				t.Error("the keys of the snapshot were changed")
			}
			if a := next.Authorities[len(next.Authorities)-1]; a.Retired && !a.KeyPEM.IsZero() {
				t.Error("a retired authority can sign")
			}
		})
	}
}

// ring are the mesh's keys as a peer knows them; none while it does not. It is asked a
// few times a second at most, because a peer that answers asks all others.
func (r *running) ring() api.Keys {
	r.t.Helper()
	<-time.After(200 * time.Millisecond)
	k, err := r.Keys(r.t.Context())
	if err != nil {
		return api.Keys{}
	}
	return k
}

// inUse are the keys in use, and whether there are no others.
func inUse(k api.Keys) (gossip, authority string, settled bool) {
	if len(k.Gossip) == 0 {
		return "", "", false
	}
	return k.Gossip[0].ID, k.Authorities[0].Pin, len(k.Gossip) == 1 && len(k.Authorities) == 1
}

func TestKeysAreRotatedAndTheMeshGoesOn(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	early, err := peers[0].CreateToken(t.Context(), api.TokenRequest{Uses: -1})
	if err != nil {
		t.Fatal(err)
	}
	gossip, pin, _ := inUse(peers[0].ring())
	if err := peers[1].RotateGossipKey(t.Context(), api.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := peers[2].RotateAuthority(t.Context(), api.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := peers[0].RotateGossipKey(t.Context(), api.RotateRequest{}); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("a second rotation: %v", err)
	}
	// While both are trusted, whoever has an older token may join.
	peers[0].eventuallyIn(60*time.Second, "the new authority signs", func() bool {
		_, now, _ := inUse(peers[0].ring())
		return now != "" && now != pin
	})
	late := newAgent(t, "hv4")
	if err := joinMesh(t, late, early.Token); err != nil {
		t.Errorf("join by a token from before: %v", err)
	}
	peers = append(peers, start(t, late))
	peers[0].eventuallyIn(90*time.Second, "both are rotated", func() bool {
		g, c, settled := inUse(peers[0].ring())
		return g != gossip && c != pin && settled
	})
	// Everybody hears everybody, and a newcomer knows nothing of the old keys.
	peers = append(peers, peers[1].joined("hv5", nil))
	for _, p := range peers {
		p.eventuallyIn(30*time.Second, "five peers that are there", func() bool {
			all, err := p.Peers(t.Context())
			return err == nil && len(all) == 5 && !slices.ContainsFunc(all, func(q api.Peer) bool { return q.State == "lost" })
		})
	}
}

func TestARemovalStartsARotationThatALostPeerHoldsUpUnlessForced(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	peers = append(peers, peers[0].joined("hv4", nil))
	gossip, pin, _ := inUse(peers[0].ring())
	peers[2].stopped()
	peers[0].eventuallyIn(60*time.Second, "hv3 is lost", func() bool {
		p, err := peers[0].Peer(t.Context(), "hv3")
		return err == nil && p.State == "lost"
	})
	if err := peers[0].RemovePeer(t.Context(), "hv4", api.PeerRequest{}); err != nil {
		t.Fatal(err)
	}
	peers[0].eventuallyIn(90*time.Second, "only the lost peer is waited for", func() bool {
		k := peers[0].ring()
		return len(k.Gossip) == 2 && k.Gossip[0].ID != gossip && k.Gossip[1].State == api.KeyGoing && fmt.Sprint(k.Gossip[1].Waiting) == "[hv3]"
	})
	if err := peers[0].RotateAuthority(t.Context(), api.RotateRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := peers[0].RotateGossipKey(t.Context(), api.RotateRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	peers[0].eventuallyIn(90*time.Second, "forced, both are rotated", func() bool {
		g, c, settled := inUse(peers[0].ring())
		return g != gossip && c != pin && settled
	})
	// The lost peer knows neither, and is refused until others have signed it anew.
	back := start(t, peers[2].config)
	back.eventuallyIn(120*time.Second, "hv3 is back", func() bool {
		p, err := peers[0].Peer(t.Context(), "hv3")
		if err != nil || p.State == "lost" {
			return false
		}
		g, _, _ := inUse(back.ring())
		now, _, _ := inUse(peers[0].ring())
		return g != "" && g == now
	})
}

func TestARotationGoesOnWithoutItsLeaderAndReachesPeersThatDoNotFollowTheLog(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	for i := 4; i <= 6; i++ {
		peers = append(peers, peers[0].joined(fmt.Sprintf("hv%d", i), nil))
	}
	peers[0].eventuallyIn(60*time.Second, "five that follow the log, and one that does not", func() bool {
		raft, err := peers[0].Raft(t.Context())
		return err == nil && len(raft) == 5
	})
	gossip, pin, _ := inUse(peers[0].ring())
	if err := peers[5].RotateAuthority(t.Context(), api.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := peers[5].RotateGossipKey(t.Context(), api.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	st, err := peers[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader := slices.IndexFunc(peers, func(p *running) bool { return p.config.Name == st.Leader })
	peers[leader].stopped()
	other := peers[(leader+1)%3]
	other.eventuallyIn(120*time.Second, "both are in use, and only the one that is away is waited for", func() bool {
		k := other.ring()
		if g, c, _ := inUse(k); g == gossip || c == pin || len(k.Gossip) != 2 || len(k.Authorities) != 2 {
			return false
		}
		return fmt.Sprint(k.Gossip[1].Waiting, k.Authorities[1].Waiting) == fmt.Sprintf("[%[1]s] [%[1]s]", peers[leader].config.Name)
	})
	peers[leader] = start(t, peers[leader].config)
	other.eventuallyIn(120*time.Second, "both are rotated", func() bool {
		_, _, settled := inUse(other.ring())
		return settled
	})
	for _, p := range peers {
		p.eventuallyIn(60*time.Second, "six peers that are there", func() bool {
			all, err := p.Peers(t.Context())
			return err == nil && len(all) == 6 && !slices.ContainsFunc(all, func(q api.Peer) bool { return q.State == "lost" })
		})
	}
}
