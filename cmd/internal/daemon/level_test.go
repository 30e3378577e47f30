package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cluster"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

func TestCommonLevel(t *testing.T) {
	for name, tt := range map[string]struct {
		levels []cluster.PeerLevel
		want   int
	}{
		"alone":                        {[]cluster.PeerLevel{{Level: 1, Known: true}}, 1},
		"all know it":                  {[]cluster.PeerLevel{{Level: 1, Known: true}, {Level: 1, Known: true}}, 1},
		"a newer one":                  {[]cluster.PeerLevel{{Level: 1, Known: true}, {Level: 7, Known: true}}, 1},
		"one from before levels":       {[]cluster.PeerLevel{{Level: 1, Known: true}, {Level: 0, Known: true}}, 0},
		"a voter that does not answer": {[]cluster.PeerLevel{{Level: 1, Known: true}, {Level: 1}}, 0},
	} {
		if got := commonLevel(tt.levels); got != tt.want {
			t.Errorf("%s: level %d, want %d", name, got, tt.want)
		}
	}
}

// levelState is a state at level 0, or at the newest one, with two peers and a node.
func levelState(t *testing.T, raised bool) *state.Snapshot {
	t.Helper()
	s := state.New()
	index := uint64(0)
	do := func(c state.Command) {
		t.Helper()
		index++
		if err := s.Apply(index, state.Envelope{Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	do(state.SetMesh{Mesh: state.Mesh{ID: "mesh", Name: "lab", Generation: 1}})
	do(state.PutPeer{Peer: state.Peer{ID: "h1", Name: "hv1"}})
	do(state.PutToken{Token: state.Token{ID: "t", Hash: make([]byte, 32), Uses: 1}})
	do(state.AdmitPeer{Peer: state.Peer{ID: "h2", Name: "hv2"}, Token: "t", Hash: make([]byte, 32)})
	do(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h1", Name: "hv1"}})
	do(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Create: []state.Node{{UUID: "u1", Name: "tk0", Cluster: "demo", LinkName: "tk0"}}})
	do(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "u1", Hypervisor: "h1", BMC: state.Endpoint{Address: "127.0.0.1", Port: 6230}}}})
	do(state.ReportHost{Hypervisor: "h1", Nodes: []state.NodeHostReport{{UUID: "u1", Epoch: 7, Status: state.HostStatus{Phase: state.HostReady}}}})
	if raised {
		do(state.RaiseLevel{Level: raftfsm.Level})
	}
	snap, _ := s.Snapshot()
	return snap
}

// TestAnOldVoterKeepsNewKeysOut has a mesh with a voter from before there were levels.
func TestAnOldVoterKeepsNewKeysOut(t *testing.T) {
	snap := levelState(t, false)
	voters := []cluster.PeerLevel{{ID: "h1", Role: cluster.Voter, Level: raftfsm.Level, Known: true}, {ID: "h2", Role: cluster.Voter, Known: true},
		{ID: "h9", Role: cluster.Standby}}
	who := func(need int) string { return laggards(voters, snap, need) }
	newer := state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Types: map[string]state.Machine{"a": {Trunks: []string{"all"}}}}}
	err := allowed(newer, snap.Level().Number, who)
	want := "refused: a trunk port: every peer must know it before the mesh may use it; upgrade first: " +
		"h9 (standby, does not answer: start it, or tenks peer remove), hv2 (voter)"
	if err == nil || err.Error() != want || !errors.Is(err, state.ErrRefused) {
		t.Errorf("%v, want %q", err, want)
	}
	if err := allowed(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}}, 0, who); err != nil {
		t.Errorf("what every version knows: %v", err)
	}
	if err := allowed(state.SetQuota{Cluster: "demo"}, 0, who); err == nil || !strings.Contains(err.Error(), "a quota") {
		t.Errorf("a kind that is new: %v", err)
	}
	if err := allowed(newer, levelState(t, true).Level().Number, who); err != nil {
		t.Errorf("once the mesh is at the level: %v", err)
	}
}

func TestReportsGoWithoutWhatTheMeshMayNotUse(t *testing.T) {
	report := func(display, why string) []state.NodeHostReport {
		return []state.NodeHostReport{{UUID: "u1", Epoch: 7, Status: state.HostStatus{Phase: state.HostReady, Display: display, Error: why}}}
	}
	old, now := levelState(t, false), levelState(t, true)
	if got := fitHost(old, report("vnc://127.0.0.1:5900", "")); len(got) != 0 {
		t.Errorf("reported again and again: %+v", got)
	}
	if diff := cmp.Diff(report("", "disk"), fitHost(old, report("vnc://127.0.0.1:5900", "disk"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(report("vnc://127.0.0.1:5900", ""), fitHost(now, report("vnc://127.0.0.1:5900", ""))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ironic := []state.NodeIronicReport{{UUID: "u1", Status: state.IronicStatus{Record: "r1"}}}
	if got := fitIronic(old, ironic); len(got) != 0 {
		t.Errorf("reported again and again: %+v", got)
	}
	if got := fitIronic(now, ironic); len(got) != 1 || got[0].Status.Record != "r1" {
		t.Errorf("withheld: %+v", got)
	}
	h := state.Hypervisor{ID: "h1", PhysnetLinks: []state.PhysnetLink{{Physnet: "a", VNI: 5}}}
	if got := fitRow(old, h, &state.Hypervisor{ID: "h1"}); got.PhysnetLinks != nil {
		t.Errorf("overlays reported: %+v", got)
	}
	// A mesh that used them before there were levels must not lose them while it is upgraded.
	if got := fitRow(old, h, &state.Hypervisor{ID: "h1", VXLAN: state.Endpoint{Port: 1}}); got.PhysnetLinks == nil {
		t.Errorf("overlays taken back: %+v", got)
	}
}
