package daemon

import (
	"strings"
	"testing"
	"time"

	"tenks/cluster"
	"tenks/raftfsm/state"
)

// applied is a state after commands, at a time.
func applied(t *testing.T, at time.Time, commands ...state.Command) *state.Store {
	t.Helper()
	s := state.New()
	for i, c := range commands {
		if err := s.Apply(uint64(i)+1, state.Envelope{UnixMilli: at.UnixMilli(), Command: c}); err != nil {
			t.Fatalf("%T: %v", c, err)
		}
	}
	return s
}

func TestAGossipKeyIsMadeOnlyOnceARemovedPeerCannotSeeIt(t *testing.T) {
	now, hash := time.Now(), []byte(strings.Repeat("h", 32))
	snap, _ := applied(t, now,
		state.PutPeer{Peer: state.Peer{ID: "p0", Name: "hv0"}},
		state.PutToken{Token: state.Token{ID: "t1", Hash: hash, Uses: -1}},
		state.AdmitPeer{Peer: state.Peer{ID: "p1", Name: "hv1"}, Token: "t1", Hash: hash},
		state.RemovePeer{ID: "p1"},
	).Snapshot()
	var s settling
	follows := []cluster.Member{{ID: "p0"}, {ID: "p1"}}
	for _, step := range []struct {
		after   time.Duration
		members []cluster.Member
		want    uint64
	}{
		{0, follows, 0},
		{time.Hour, follows, 0}, // it has a part in the log still
		{time.Hour, follows[:1], 0},
		{time.Hour + removalSettle - 1, follows[:1], 0},
		{time.Hour + removalSettle, follows[:1], 4},
	} {
		if got := s.since(snap, step.members, now.Add(step.after)); got != step.want {
			t.Errorf("%s later, %d follow the log: %d, want %d", step.after, len(step.members), got, step.want)
		}
	}
}

func TestTokensThatEndedLongAgoAreForgotten(t *testing.T) {
	a := part(t, newMesh(t))
	defer a.mesh.Close()
	defer a.closeDrivers()
	hash := []byte(strings.Repeat("h", 32))
	old := time.Now().Add(-8 * 24 * time.Hour).UnixMilli()
	for _, k := range []state.Token{
		{ID: "old", Hash: hash, CreatedMilli: old, ExpiresMilli: old + 1, Uses: 1},
		{ID: "new", Hash: hash, CreatedMilli: old, ExpiresMilli: time.Now().UnixMilli(), Uses: 1},
	} {
		if _, err := a.propose(t.Context(), "", state.PutToken{Token: k}); err != nil {
			t.Fatal(err)
		}
	}
	snap, _ := a.source.Snapshot()
	if err := a.dropTokens(t.Context(), snap, time.Now()); err != nil {
		t.Fatal(err)
	}
	snap, _ = a.source.Snapshot()
	if _, there := snap.Token("old"); there {
		t.Error("one that ended 8 days ago is there")
	}
	if _, there := snap.Token("new"); !there {
		t.Error("one that ended now is gone")
	}
}
