package daemon

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/declare"
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

func TestADrainNeedsNoLevel(t *testing.T) {
	for level, want := range []state.PinPolicy{"", state.PinsRefuse} {
		if got := fit(state.DrainPeer{ID: "h1", Draining: true, Pins: state.PinsRefuse}, level); got != state.Command(state.DrainPeer{ID: "h1", Draining: true, Pins: want}) {
			t.Errorf("level %d: %+v, want pins %q", level, got, want)
		}
	}
	c := fit(state.DrainPeer{ID: "h1", Draining: true, Pins: state.PinsForget}, 0)
	if err := allowed(c, 0, func(int) string { return "hv2 (voter)" }); err == nil || !strings.Contains(err.Error(), "tenks peer drain --ignore-pins: ") {
		t.Errorf("what is asked for expressly: %v", err)
	}
}

// TestWhatOldVersionsDeclareNeedsNoLevel applies a file with all keys that there were before
// levels: it must not be refused while a mesh is upgraded.
func TestWhatOldVersionsDeclareNeedsNoLevel(t *testing.T) {
	snap := levelState(t, false)
	for _, change := range []string{"", "memory_mb: 2048"} {
		file := fullFile
		if change != "" {
			file = strings.Replace(file, "memory_mb: 4096", change, 1)
		}
		cluster, err := ParseCluster(&api.ApplyRequest{Name: "demo.yml", File: file, BMCPassword: "bmc-pw", BMCKey: "0x6b67", IronicPassword: "basic-pw"})
		if err != nil {
			t.Fatal(err)
		}
		cluster.Name = "full"
		plan, err := declare.Cluster(snap, cluster, declare.Options{AllowUnplaced: true, Random: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		if level, what := raftfsm.Needs(plan.Command); level != 0 || len(plan.Command.Create)+len(plan.Command.Change) != 10 {
			t.Errorf("%q: needs level %d for %s: %d nodes", change, level, what, len(plan.Command.Create)+len(plan.Command.Change))
		}
		s := state.New()
		if err := s.Load(snap.Dump()); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(snap.Index()+1, state.Envelope{Command: plan.Command}); err != nil {
			t.Fatal(err)
		}
		snap, _ = s.Snapshot()
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

// TestAMeshRisesOnceItsLastPeerIsUpgraded has a mesh from before there were levels, of which one
// peer is not upgraded at first.
func TestAMeshRisesOnceItsLastPeerIsUpgraded(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := testAgent(t, newDir(t))
	id := uuid.NewString()
	err := cluster.Init(PathsOf(c.DataDir).Mesh, id, func(f cluster.Founding) ([][]byte, error) {
		entries, err := firstEntries(state.Mesh{ID: id, Name: "lab", Generation: 1}, "hv1", f)
		return slices.Delete(entries, 1, 2), err
	})
	if err != nil {
		t.Fatal(err)
	}
	opt := options(t, c)
	opt.older = true
	r := launchAs(t, opt)
	r.eventually("ready", func() bool { return r.running() && r.Ready(t.Context()) == nil })
	old := newAgent(t, "hv2")
	made, err := r.CreateToken(t.Context(), api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := joinMesh(t, old, made.Token); err != nil {
		t.Fatal(err)
	}
	opt = options(t, old)
	opt.older = true
	second := launchAs(t, opt)
	second.eventually("ready", func() bool { return second.running() && second.Ready(t.Context()) == nil })
	second.eventually("standing by", func() bool {
		raft, err := second.Raft(t.Context())
		return err == nil && len(raft) == 2
	})
	r.stopped()

	r = start(t, c) // upgraded
	quota := func() error {
		nodes := 3
		_, err := r.SetQuota(t.Context(), "demo", api.QuotaRequest{Nodes: &nodes})
		return err
	}
	want := "a quota: every peer must know it before the mesh may use it; upgrade first: hv2 (standby)"
	r.eventually("refused with the name of who is to be upgraded", func() bool {
		err := quota()
		if err == nil {
			t.Fatal("a kind that the standby does not know got into the log")
		}
		return strings.Contains(err.Error(), want)
	})
	checks, err := r.Doctor(t.Context())
	if i := slices.IndexFunc(checks, func(c api.Check) bool { return c.Name == "upgrade" }); err != nil || i < 0 ||
		checks[i].Detail != "features of this version wait for hv2 (standby)" {
		t.Errorf("doctor: %+v, %v", checks, err)
	}
	second.stopped()
	second = start(t, old)
	r.eventually("at the level", func() bool { return quota() == nil })
	r.eventually("what hosts have is told once more", func() bool {
		var raised bool
		told := map[string]bool{}
		if err := r.Events(t.Context(), 0, client.Once, func(e api.Event) {
			raised = raised || e.Type == state.EventLevel
			if raised && e.Type == state.EventHypervisor {
				name, _, _ := strings.Cut(e.Message, ":")
				told[name] = true
			}
		}); err != nil {
			return false
		}
		return told["hypervisor hv1"] && told["hypervisor hv2"]
	})
}
