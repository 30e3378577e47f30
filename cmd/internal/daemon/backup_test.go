package daemon

import (
	"testing"
	"time"

	"tenks/cmd/internal/recovery"
	"tenks/raftfsm/state"
)

func TestWhenABackupIsDue(t *testing.T) {
	store := state.New()
	if err := store.Load(state.Dump{Index: 100, Mesh: &state.Mesh{ID: "mesh"}, Clusters: []*state.Cluster{{Name: "demo", ModifyIndex: 60}}}); err != nil {
		t.Fatal(err)
	}
	snap, _ := store.Snapshot()
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		age   time.Duration
		index uint64
		want  bool
	}{
		{"an old one", 25 * time.Hour, 80, true},
		{"an old one of the same state", 25 * time.Hour, 100, false},
		{"one of today", 5 * time.Hour, 80, false},
		{"one from before the cluster", 11 * time.Minute, 50, true},
		{"one from before the cluster, a moment ago", 9 * time.Minute, 50, false},
	} {
		list := []recovery.Entry{{Time: now.Add(-tt.age), Index: tt.index}}
		if got := due(list, snap, now, 24*time.Hour); got != tt.want {
			t.Errorf("%s: due %v, want %v", tt.name, got, tt.want)
		}
	}
	if !due(nil, snap, now, 24*time.Hour) {
		t.Error("no first one")
	}
}
