package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// at12 is 2026-11-21T12:03:04Z.
const at12 = int64(1795262584000)

func hash(b byte) []byte { return slices.Repeat([]byte{b}, hashSize) }

func peer(id string) Peer {
	return Peer{ID: id, Name: "hv" + id, Address: "192.0.2.1:7740", Gossip: "192.0.2.1:7741", Zone: "a", Version: "2.0", Generation: 1}
}

func token(id string, change func(*Token)) PutToken {
	k := Token{ID: id, Hash: hash(1), ExpiresMilli: at12 + 3600_000, Uses: 1, CreatedMilli: at12}
	change(&k)
	return PutToken{k}
}

func (l *log) at(milli int64, c Command) error {
	return l.envelope(Envelope{UnixMilli: milli, Command: c})
}

// meshOf is a mesh of peers h1 (the first), h2 and h3, with their hypervisors, and
// tk1 and tk2 on h1, tk3 on h2.
func meshOf(t testing.TB) *log {
	l := newLog(t)
	l.must(SetMesh{Mesh{ID: "m1", Name: "lab", Generation: 1}}, PutPeer{peer("h1")},
		token("t0", func(k *Token) { k.Uses, k.ExpiresMilli = -1, 0 }))
	for _, id := range []string{"h2", "h3"} {
		l.must(AdmitPeer{peer(id), "t0", hash(1)})
	}
	l.must(hypervisor("h1"), hypervisor("h2"), hypervisor("h3"),
		ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{declared(1), declared(2), declared(3), declared(4)}},
		place("u1", "h1", 6230), place("u2", "h1", 6231), place("u3", "h2", 6230))
	return l
}

func (l *log) peer(id string) Peer {
	l.t.Helper()
	p, ok := l.snap().Peer(id)
	if !ok {
		l.t.Fatalf("no peer %s", id)
	}
	return *p
}

func TestAdmissionsAreRefusedWithTheirReason(t *testing.T) {
	admit := func(change func(*AdmitPeer)) AdmitPeer {
		c := AdmitPeer{Peer: peer("h9"), Token: "t1", Hash: hash(1)}
		change(&c)
		return c
	}
	same := func(*AdmitPeer) {}
	day := int64(24 * 3600_000)
	tests := map[string]struct {
		token  func(*Token)
		before []Command // at 12:03:04
		admit  AdmitPeer
		at     int64
		text   string
	}{
		"unknown token": {nil, nil, admit(func(c *AdmitPeer) { c.Token = "t9" }), at12, "token t9: this mesh has no such token"},
		"wrong secret":  {nil, nil, admit(func(c *AdmitPeer) { c.Hash = hash(2) }), at12, "token t1: wrong secret"},
		"no secret":     {nil, nil, admit(func(c *AdmitPeer) { c.Hash = nil }), at12, "token t1: wrong secret"},
		"revoked":       {nil, []Command{RevokeToken{"t1"}}, admit(same), at12, "token t1: it was revoked"},
		"expired":       {nil, nil, admit(same), at12 + 3600_000, "token t1: it expired at 2026-11-21T13:03:04Z"},
		"used up":       {nil, []Command{AdmitPeer{peer("h7"), "t1", hash(1)}}, admit(same), at12 + 1000, "token t1: already used by hvh7 at 12:03:04Z"},
		"used up on another day": {func(k *Token) { k.ExpiresMilli = 0 }, []Command{AdmitPeer{peer("h7"), "t1", hash(1)}}, admit(same), at12 + day,
			"token t1: already used by hvh7 at 2026-11-21T12:03:04Z"},
		"used up by many": {func(k *Token) { k.Uses = 2 }, []Command{AdmitPeer{peer("h7"), "t1", hash(1)}, AdmitPeer{peer("h8"), "t1", hash(1)}},
			admit(same), at12, "token t1: already used 2 times, last by hvh8 at 12:03:04Z"},
		"never of use":          {func(k *Token) { k.Uses = 0 }, nil, admit(same), at12, "token t1: it has no uses"},
		"bound to another name": {func(k *Token) { k.Name = "host7" }, nil, admit(same), at12, "token t1: it is for host7 only, this peer is called hvh9"},
		"name taken": {nil, nil, admit(func(c *AdmitPeer) { c.Peer.Name = "hvh2" }), at12,
			"name hvh2 is taken by peer h2 at 192.0.2.1:7740"},
		"peer removed": {nil, []Command{RemovePeer{ID: "h3"}}, admit(func(c *AdmitPeer) { c.Peer = peer("h3") }), at12,
			"peer hvh3 (h3) was removed from the mesh; a removed key never comes back"},
		"what a token was used for is not told without its secret": {nil, []Command{AdmitPeer{peer("h7"), "t1", hash(1)}},
			admit(func(c *AdmitPeer) { c.Hash = hash(2) }), at12, "token t1: wrong secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := meshOf(t)
			if tt.token == nil {
				tt.token = func(*Token) {}
			}
			for _, c := range slices.Concat([]Command{token("t1", tt.token)}, tt.before) {
				if err := l.at(at12, c); err != nil {
					t.Fatal(err)
				}
			}
			before := l.snap().Digest()
			e := Envelope{UnixMilli: tt.at, Command: tt.admit}
			err := l.envelope(e)
			if want := tt.text + ": refused"; !errors.Is(err, ErrRefused) || err.Error() != want {
				t.Errorf("error %v, want %q", err, want)
			}
			if l.snap().Digest() != before {
				t.Error("the state changed")
			}
			// The cause is remembered with the request.
			e.Request = "r"
			first, second := l.envelope(e), l.envelope(e)
			if !errors.Is(second, ErrRefused) || first.Error() != second.Error() {
				t.Errorf("a repeat: %v, first %v", second, first)
			}
		})
	}
}

func TestCommandsOfPeersThatAreRefused(t *testing.T) {
	gossip := func(size int) Keys {
		return Keys{Gossip: []GossipKey{{ID: "g1", Key: NewSecret(strings.Repeat("k", size))}}}
	}
	removed := []Command{RemovePeer{ID: "h3"}}
	tests := map[string]struct {
		before  []Command
		command Command
		is      error
		text    string
	}{
		"keys that were replaced":    {[]Command{PutKeys{gossip(32), 0}}, PutKeys{gossip(32), 0}, ErrConflict, "keys"},
		"keys that are not there":    {nil, PutKeys{gossip(32), 3}, ErrConflict, "keys"},
		"a gossip key too short":     {nil, PutKeys{gossip(16), 0}, nil, `"g1": 16 bytes, want 32`},
		"a token twice":              {nil, token("t0", func(*Token) {}), ErrConflict, "t0"},
		"a token without an ID":      {nil, token("", func(*Token) {}), nil, "token ID"},
		"a token with half a hash":   {nil, token("t1", func(k *Token) { k.Hash = hash(1)[:16] }), nil, "16 bytes"},
		"revoke no token":            {nil, RevokeToken{"t9"}, ErrNotFound, "t9"},
		"admit nobody":               {nil, AdmitPeer{Peer{Name: "x"}, "t0", hash(1)}, nil, "peer ID"},
		"admit without a name":       {nil, AdmitPeer{Peer{ID: "x"}, "t0", hash(1)}, nil, "peer name"},
		"report of an unknown peer":  {nil, PutPeer{peer("h9")}, ErrNotFound, "h9"},
		"report of a removed peer":   {removed, PutPeer{peer("h3")}, ErrRefused, "was removed"},
		"report under another name":  {nil, PutPeer{Peer{ID: "h1", Name: "hvh2"}}, ErrConflict, "taken by peer h2"},
		"report without a name":      {nil, PutPeer{Peer{ID: "h1"}}, nil, "peer name"},
		"a role that there is not":   {nil, SetRoles{[]PeerRoleChange{{"h1", "king"}}}, nil, `"king"`},
		"declare lost: unknown":      {nil, DeclareLost{"h9"}, ErrNotFound, "h9"},
		"declare lost: removed":      {removed, DeclareLost{"h3"}, ErrRefused, "was removed"},
		"drain: unknown":             {nil, DrainPeer{ID: "h9", Draining: true}, ErrNotFound, "h9"},
		"drain: removed":             {removed, DrainPeer{ID: "h3", Draining: true}, ErrRefused, "was removed"},
		"leave: unknown":             {nil, LeavePeer{"h9"}, ErrNotFound, "h9"},
		"leave: removed":             {removed, LeavePeer{"h3"}, ErrRefused, "was removed"},
		"remove: unknown":            {nil, RemovePeer{"h9", true}, ErrNotFound, "h9"},
		"remove with a node":         {nil, RemovePeer{ID: "h2"}, ErrRefused, "peer hvh2: 1 node is placed on it (tk3)"},
		"remove with nodes":          {nil, RemovePeer{ID: "h1"}, ErrRefused, "peer hvh1: 2 nodes are placed on it (tk1, tk2)"},
		"remove the last":            {[]Command{RemovePeer{"h3", true}, RemovePeer{"h2", true}}, RemovePeer{"h1", true}, ErrRefused, "peer hvh1 is the last one"},
		"hypervisor of a removed":    {removed, hypervisor("h3"), ErrRefused, "was removed"},
		"generation moved on":        {[]Command{BumpGeneration{1}}, BumpGeneration{1}, ErrConflict, "is 2, not 1"},
		"generation not yet reached": {nil, BumpGeneration{2}, ErrConflict, "is 1, not 2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := meshOf(t)
			l.must(tt.before...)
			before := l.snap().Digest()
			err := l.try(tt.command)
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want one with %q that is %v", err, tt.text, tt.is)
			}
			if l.snap().Digest() != before {
				t.Error("the state changed")
			}
		})
	}
	if err := newLog(t).try(BumpGeneration{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("generation of no mesh: %v", err)
	}
}

func TestCommandsThatSayWhatIsKnownChangeNothing(t *testing.T) {
	tests := map[string]struct{ before, again []Command }{
		"the same report":   {nil, []Command{PutPeer{peer("h1")}}},
		"the same roles":    {[]Command{SetRoles{[]PeerRoleChange{{"h2", RoleStandby}}}}, []Command{SetRoles{[]PeerRoleChange{{"h2", RoleStandby}}}}},
		"roles of nobody":   {nil, []Command{SetRoles{[]PeerRoleChange{{"h9", RoleVoter}}}}},
		"roles of removed":  {[]Command{RemovePeer{ID: "h3"}}, []Command{SetRoles{[]PeerRoleChange{{"h3", RoleVoter}}}}},
		"lost already":      {[]Command{MarkPeers{Lost: []string{"h1"}}}, []Command{MarkPeers{Lost: []string{"h1"}}}},
		"found already":     {nil, []Command{MarkPeers{Found: []string{"h1", "h2"}}}},
		"marks of nobody":   {nil, []Command{MarkPeers{Lost: []string{"h9", ""}, Found: []string{"h8"}}}},
		"marks of removed":  {[]Command{RemovePeer{ID: "h3"}}, []Command{MarkPeers{Lost: []string{"h3"}}}},
		"declared already":  {[]Command{DeclareLost{"h1"}}, []Command{DeclareLost{"h1"}, MarkPeers{Lost: []string{"h1"}}}},
		"drained already":   {[]Command{DrainPeer{ID: "h1", Draining: true}}, []Command{DrainPeer{ID: "h1", Draining: true}}},
		"not drained":       {nil, []Command{DrainPeer{ID: "h1"}}},
		"leaving already":   {[]Command{LeavePeer{"h1"}}, []Command{LeavePeer{"h1"}}},
		"removed already":   {[]Command{RemovePeer{ID: "h3"}}, []Command{RemovePeer{ID: "h3"}, RemovePeer{"h3", true}}},
		"revoked already":   {[]Command{RevokeToken{"t0"}}, []Command{RevokeToken{"t0"}}},
		"admitted already":  {nil, []Command{AdmitPeer{peer("h2"), "t0", hash(1)}}},
		"unplaced already":  {[]Command{unplace("u1", 10)}, []Command{unplace("u1", 10)}},
		"another epoch":     {nil, []Command{unplace("u1", 9)}},
		"not placed":        {nil, []Command{unplace("u4", 0)}},
		"not there":         {nil, []Command{unplace("u9", 0)}},
		"place on draining": {[]Command{DrainPeer{ID: "h3", Draining: true}}, []Command{place("u4", "h3", 6230)}},
		"place on lost":     {[]Command{MarkPeers{Lost: []string{"h3"}}}, []Command{place("u4", "h3", 6230)}},
		"place on leaving":  {[]Command{LeavePeer{"h3"}}, []Command{place("u4", "h3", 6230)}},
		"place on removed":  {[]Command{RemovePeer{ID: "h3"}}, []Command{place("u4", "h3", 6230)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := meshOf(t)
			l.must(tt.before...)
			before := l.snap().Digest()
			l.must(tt.again...)
			if l.snap().Digest() != before {
				t.Error("the state changed")
			}
		})
	}
}

func unplace(uuid string, epoch uint64) UnplaceNodes {
	return UnplaceNodes{[]NodeUnplacement{{UUID: uuid, Epoch: epoch, Reason: "its hypervisor is lost"}}}
}

func TestTheFirstPeerIsAVoterAndOthersComeByToken(t *testing.T) {
	l := newLog(t)
	l.must(PutPeer{peer("h1")}, token("t1", func(k *Token) { k.Uses, k.Zone = 2, "rack-b" }))
	first := peer("h1")
	first.Role, first.CreateIndex, first.ModifyIndex = RoleVoter, 1, 1
	if diff := cmp.Diff(first, l.peer("h1")); diff != "" {
		t.Errorf("the first (-want +got):\n%s", diff)
	}
	c := AdmitPeer{peer("h2"), "t1", hash(1)}
	c.Peer.Zone, c.Peer.Role, c.Peer.Draining, c.Peer.Lost, c.Peer.Removed = "", RoleVoter, true, true, true
	if err := l.at(at12, c); err != nil {
		t.Fatal(err)
	}
	want := peer("h2")
	want.Zone, want.Role, want.Token, want.CreateIndex, want.ModifyIndex = "rack-b", RoleClient, "t1", 3, 3
	if diff := cmp.Diff(want, l.peer("h2")); diff != "" {
		t.Errorf("the second (-want +got):\n%s", diff)
	}
	k, _ := l.snap().Token("t1")
	if diff := cmp.Diff([]TokenUse{{"h2", "hvh2", at12}}, k.UsedBy); diff != "" || k.Uses != 1 {
		t.Errorf("%d uses left, used (-want +got):\n%s", k.Uses, diff)
	}
	report := peer("h2")
	report.Zone, report.Address = "", "192.0.2.9:7740"
	l.must(PutPeer{report})
	if p := l.peer("h2"); p.Zone != "rack-b" || p.Address != "192.0.2.9:7740" || p.Token != "t1" || p.Role != RoleClient || p.CreateIndex != 3 {
		t.Errorf("after its report: %+v", p)
	}
}

func TestAPeerIsAdmittedAgainByItsTokenWithoutAnotherUse(t *testing.T) {
	l := meshOf(t)
	l.must(token("t1", func(*Token) {}), AdmitPeer{peer("h9"), "t1", hash(1)}, SetRoles{[]PeerRoleChange{{"h9", RoleStandby}}},
		LeavePeer{"h9"}, DrainPeer{ID: "h9", Draining: true}, RevokeToken{"t1"})
	again := AdmitPeer{peer("h9"), "t1", hash(1)}
	again.Peer.Address = "192.0.2.9:7740"
	if err := l.at(at12*2, again); err != nil { // used up, revoked, expired
		t.Fatal(err)
	}
	p := l.peer("h9")
	if p.Address != "192.0.2.9:7740" || p.Role != RoleStandby || p.Leaving || !p.Draining {
		t.Errorf("%+v", p)
	}
	if k, _ := l.snap().Token("t1"); k.Uses != 0 || len(k.UsedBy) != 1 {
		t.Errorf("%+v", k)
	}
	// By another token it comes again, too, and uses that.
	l.must(token("t2", func(*Token) {}), AdmitPeer{peer("h9"), "t2", hash(1)})
	if k, _ := l.snap().Token("t2"); k.Uses != 0 || l.peer("h9").Token != "t2" {
		t.Errorf("%+v, peer %+v", k, l.peer("h9"))
	}
}

func TestTheNameOfARemovedPeerIsFree(t *testing.T) {
	l := meshOf(t)
	l.must(RemovePeer{ID: "h3"})
	c := AdmitPeer{peer("h9"), "t0", hash(1)}
	c.Peer.Name = "hvh3"
	l.must(c)
	if p, ok := l.snap().PeerByName("hvh3"); !ok || p.ID != "h9" || len(l.snap().Peers()) != 4 {
		t.Errorf("%+v of %d peers", p, len(l.snap().Peers()))
	}
	other := New()
	if err := other.Load(l.snap().Dump()); err != nil {
		t.Fatal(err)
	}
	snap, _ := other.Snapshot()
	if p, ok := snap.PeerByName("hvh3"); !ok || p.ID != "h9" {
		t.Errorf("loaded: %+v", p)
	}
}

func TestKeysAreReplacedWhole(t *testing.T) {
	l := meshOf(t)
	if _, ok := l.snap().Keys(); ok {
		t.Error("keys from nowhere")
	}
	k := Keys{Authorities: []Authority{{CertPEM: []byte("c"), KeyPEM: NewSecret("hunter2")}}, Gossip: []GossipKey{{ID: "g1", Key: NewSecret(strings.Repeat("k", 32))}}}
	l.must(PutKeys{k, 0})
	first := l.index
	l.must(PutKeys{Keys{Gossip: k.Gossip}, first})
	got, ok := l.snap().Keys()
	if !ok || len(got.Authorities) != 0 || got.CreateIndex != first || got.ModifyIndex != first+1 {
		t.Errorf("%+v", got)
	}
	for _, e := range l.snap().Events(0) {
		if strings.Contains(e.Message, "hunter2") || strings.Contains(e.Message, "kkkk") {
			t.Errorf("an event tells: %s", e.Message)
		}
	}
}

func TestNodesAreLostWithTheirHost(t *testing.T) {
	l := meshOf(t)
	ready := func(uuid string, epoch uint64) Command {
		return ReportHost{"h1", []NodeHostReport{{uuid, epoch, HostStatus{Phase: HostReady}}}}
	}
	l.must(ready("u1", 10), RemoveNodes{[]NodeRemoval{{UUID: "u2"}}})
	if err := l.at(at12, MarkPeers{Lost: []string{"h1"}}); err != nil {
		t.Fatal(err)
	}
	lostAt, since := l.index, "hypervisor hvh1 is lost since 2026-11-21T12:03:04Z"
	if p := l.peer("h1"); !p.Lost || p.LostIndex != lostAt || p.LostMilli != at12 || p.Fenced {
		t.Errorf("%+v", p)
	}
	check := func(name string, want Phase, reason string) {
		t.Helper()
		if phase, why := l.node(name).Phase(); phase != want || why != reason {
			t.Errorf("%s: %s %q, want %s %q", name, phase, why, want, reason)
		}
	}
	check("tk1", PhaseLost, since)
	check("tk2", PhaseRemoving, since)
	check("tk3", PhaseCreating, "")
	if err := l.at(at12+5000, DeclareLost{"h1"}); err != nil {
		t.Fatal(err)
	}
	if p := l.peer("h1"); !p.Fenced || p.LostIndex != lostAt || p.LostMilli != at12 {
		t.Errorf("%+v", p)
	}
	check("tk1", PhaseLost, "hypervisor hvh1 was declared to be powered off, lost since 2026-11-21T12:03:04Z")
	l.must(MarkPeers{Found: []string{"h1"}})
	if p := l.peer("h1"); p.Lost || p.Fenced || p.LostIndex != 0 || p.LostMilli != 0 {
		t.Errorf("%+v", p)
	}
	check("tk1", PhaseReady, "")
	check("tk2", PhaseRemoving, "")
}

func TestANodeThatIsMadeAnewRemembersWhereItWas(t *testing.T) {
	l := meshOf(t)
	l.must(ReportHost{"h1", []NodeHostReport{{"u1", 10, HostStatus{Phase: HostReady}}}}, MarkPeers{Lost: []string{"h1"}}, unplace("u1", 10))
	n := l.node("tk1")
	was := Placement{"h1", 10, Endpoint{"192.0.2.1", 6230}}
	if n.Placement != nil || *n.LastPlacement != was || n.Lost || n.LostReason != "" || n.Unplaced != "its hypervisor is lost" || n.Host.Phase != "" {
		t.Errorf("%+v", n)
	}
	if phase, _ := n.Phase(); phase != PhasePending {
		t.Errorf("phase %s", phase)
	}
	l.must(place("u1", "h2", 6231))
	if n = l.node("tk1"); n.Placement.Hypervisor != "h2" || *n.LastPlacement != was || !slices.Equal(n.Past, []string{"h1"}) {
		t.Errorf("%+v", n)
	}
	l.must(MarkPeers{Found: []string{"h1"}}, unplace("u1", n.Placement.Epoch), place("u1", "h1", 6239))
	if n = l.node("tk1"); n.LastPlacement.Hypervisor != "h2" || !slices.Equal(n.Past, []string{"h2"}) {
		t.Errorf("%+v", n)
	}
}

func TestARemovedPeersNodesAreMadeAnewOrGone(t *testing.T) {
	l := meshOf(t)
	l.must(enrol("u3"), RemoveNodes{[]NodeRemoval{{UUID: "u2"}, {UUID: "u3"}}}, MarkPeers{Lost: []string{"h1"}}, RemovePeer{"h1", true})
	if p := l.peer("h1"); !p.Removed || p.Lost || p.Role != RoleClient {
		t.Errorf("%+v", p)
	}
	if _, ok := l.snap().Hypervisor("h1"); ok {
		t.Error("the hypervisor stayed")
	}
	n := l.node("tk1")
	if n.Placement != nil || n.LastPlacement.Hypervisor != "h1" || n.Unplaced != "its hypervisor hvh1 was removed" || n.Lost {
		t.Errorf("%+v", n)
	}
	if _, left := l.snap().NodeByName("tk2"); left {
		t.Error("a node that was being removed waits for a host that is gone")
	}
	l.must(RemovePeer{"h2", true})
	if n := l.node("tk3"); !n.Removing || n.Placement != nil {
		t.Errorf("%+v", n)
	}
	l.must(ReportIronic{[]NodeIronicReport{{"u3", IronicStatus{Phase: IronicGone}}}})
	if _, left := l.snap().NodeByName("tk3"); left {
		t.Error("the node stays after Ironic is done with it")
	}
}

func TestTheGenerationGrowsByOne(t *testing.T) {
	l := meshOf(t)
	l.must(BumpGeneration{1}, BumpGeneration{2})
	if m := l.snap().Mesh(); m != (Mesh{"m1", "lab", 3}) {
		t.Errorf("%+v", m)
	}
}

func TestEventsOfPeers(t *testing.T) {
	l := meshOf(t)
	begun := l.index
	l.must(SetRoles{[]PeerRoleChange{{"h2", RoleVoter}}}, MarkPeers{Lost: []string{"h1"}}, DeclareLost{"h1"}, MarkPeers{Found: []string{"h1"}},
		DrainPeer{ID: "h1", Draining: true}, LeavePeer{"h2"}, RevokeToken{"t0"}, RemovePeer{"h2", true}, BumpGeneration{1})
	var got []string
	for _, e := range l.snap().Events(begun) {
		got = append(got, fmt.Sprint(e.Type, " ", e.Node, e.Message))
	}
	want := []string{"peer-role peer hvh2: voter, was client", "peer-lost peer hvh1: 2 nodes", "peer-lost peer hvh1, declared to be powered off: 2 nodes",
		"peer-found peer hvh1: 2 nodes", "peer-draining peer hvh1: true", "peer-leaving peer hvh2", "token-revoked token t0",
		"peer-removed peer hvh2 (h2) with 1 node", "node-displaced tk3its hypervisor hvh2 was removed", "mesh-recovered generation 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
