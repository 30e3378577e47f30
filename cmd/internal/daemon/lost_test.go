package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

func TestJudgeSaysWhoIsLostAndWhoIsBack(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	long := ago(time.Hour)
	for name, tt := range map[string]struct {
		peer  state.Peer
		last  time.Time
		since time.Time
		want  string
	}{
		"renews":                           {last: ago(3 * time.Second), since: long},
		"silent, not for long":             {last: ago(lostAfter), since: long},
		"silent":                           {last: ago(lostAfter + time.Second), since: long, want: "lost"},
		"lost already":                     {peer: state.Peer{Lost: true}, last: ago(time.Minute), since: long},
		"back":                             {peer: state.Peer{Lost: true}, last: ago(time.Second), since: long, want: "found"},
		"back, declared off":               {peer: state.Peer{Lost: true, Fenced: true}, last: ago(time.Second), since: long, want: "found"},
		"a new leader":                     {since: ago(lostGrace)},
		"never heard of by the leader":     {since: ago(lostGrace + time.Second), want: "lost"},
		"lost, and a new leader":           {peer: state.Peer{Lost: true}, since: ago(time.Second)},
		"back, and a new leader":           {peer: state.Peer{Lost: true}, last: ago(time.Second), since: ago(2 * time.Second), want: "found"},
		"removed":                          {peer: state.Peer{Removed: true}, since: long},
		"removed that still has its lease": {peer: state.Peer{Removed: true, Lost: true}, last: now, since: long},
	} {
		t.Run(name, func(t *testing.T) {
			p := tt.peer
			p.ID, p.Name = "p1", "hv1"
			last := map[string]time.Time{}
			if !tt.last.IsZero() {
				last["p1"] = tt.last
			}
			c := judge(loaded(t, state.Dump{Peers: []*state.Peer{&p}}), last, tt.since, now)
			got := strings.Repeat("lost", len(c.Lost)) + strings.Repeat("found", len(c.Found))
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func loaded(t *testing.T, d state.Dump) *state.Snapshot {
	t.Helper()
	s := state.New()
	d.Index = 100
	if err := s.Load(d); err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Snapshot()
	return snap
}

func TestOverdueNodesAreThoseThatAreSureNotToRun(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	long, lost := ago(time.Hour), state.Peer{Lost: true, LostIndex: 7}
	const stop = 30 * time.Second
	rebuild := func(change ...func(*state.Node)) *state.Node {
		n := &state.Node{OnHostLoss: state.LossRebuild, StopAfterMilli: stop.Milliseconds(), Host: state.HostStatus{StopAfterMilli: stop.Milliseconds()}}
		for _, c := range change {
			c(n)
		}
		return n
	}
	for name, tt := range map[string]struct {
		peer  state.Peer
		node  *state.Node
		last  time.Time
		since time.Time
		want  bool
	}{
		"fenced":                              {lost, rebuild(), ago(stop + state.FenceMargin), long, true},
		"not yet":                             {lost, rebuild(), ago(stop + state.FenceMargin - time.Millisecond), long, false},
		"not lost":                            {state.Peer{}, rebuild(), ago(time.Minute), long, false},
		"removed":                             {state.Peer{Lost: true, Removed: true}, rebuild(), ago(time.Minute), long, false},
		"hold":                                {lost, rebuild(func(n *state.Node) { n.OnHostLoss = state.LossHold }), long, long, false},
		"not promised":                        {lost, rebuild(func(n *state.Node) { n.Host.StopAfterMilli = 0 }), long, long, false},
		"declared shorter since":              {lost, rebuild(func(n *state.Node) { n.StopAfterMilli = 15000 }), ago(40 * time.Second), long, false},
		"never heard of":                      {lost, rebuild(), time.Time{}, ago(stop + state.FenceMargin), true},
		"never heard of by a new leader":      {lost, rebuild(), time.Time{}, ago(44 * time.Second), false},
		"a lease older than the leader":       {lost, rebuild(), ago(50 * time.Second), ago(44 * time.Second), false},
		"declared off":                        {state.Peer{Lost: true, LostIndex: 7, Fenced: true}, rebuild(func(n *state.Node) { n.Host.StopAfterMilli = 0 }), ago(declaredAfter), long, true},
		"declared off a moment ago":           {state.Peer{Lost: true, Fenced: true}, rebuild(), ago(declaredAfter - time.Second), long, false},
		"declared off, hold":                  {state.Peer{Lost: true, Fenced: true}, rebuild(func(n *state.Node) { n.OnHostLoss = state.LossHold }), long, long, false},
		"declared off with a recent election": {state.Peer{Lost: true, Fenced: true}, rebuild(), time.Time{}, ago(time.Second), false},
	} {
		t.Run(name, func(t *testing.T) {
			p, n := tt.peer, *tt.node
			p.ID, p.Name = "p1", "hv1"
			n.UUID, n.Name, n.LinkName, n.Cluster = "u1", "tk0", "tk0", "demo"
			n.Placement = &state.Placement{Hypervisor: "p1", Epoch: 9}
			last := map[string]time.Time{}
			if !tt.last.IsZero() {
				last["p1"] = tt.last
			}
			due := overdue(loaded(t, state.Dump{Peers: []*state.Peer{&p}, Nodes: []*state.Node{&n}}), last, tt.since, now)
			if (len(due) > 0) != tt.want {
				t.Fatalf("due %+v, want some: %t", due, tt.want)
			}
			if !tt.want {
				return
			}
			got := due[0]
			if !got.last.Equal(tt.last) || got.peer.ID != "p1" || !strings.Contains(got.nodes[0].Reason, "hv1") {
				t.Errorf("due %+v", got)
			}
			got.nodes[0].Reason = ""
			if diff := cmp.Diff([]state.NodeUnplacement{{UUID: "u1", Epoch: 9, LostIndex: 7}}, got.nodes); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestManyNodesOfALostHostAreTakenOffInBatches(t *testing.T) {
	now := time.Now()
	peer := &state.Peer{ID: "p1", Name: "hv1", Lost: true}
	d := state.Dump{Peers: []*state.Peer{peer}}
	for i := range rebuildBatch + 5 {
		name := fmt.Sprintf("tk%d", i)
		d.Nodes = append(d.Nodes, &state.Node{UUID: "u" + name, Name: name, LinkName: name, Cluster: "demo", OnHostLoss: state.LossRebuild,
			Host:      state.HostStatus{StopAfterMilli: 15000},
			Placement: &state.Placement{Hypervisor: "p1", Epoch: 9, BMC: state.Endpoint{Port: 6230 + i}}})
	}
	slices.Reverse(d.Nodes)
	due := overdue(loaded(t, d), nil, now.Add(-time.Hour), now)
	if len(due) != 1 || len(due[0].nodes) != rebuildBatch {
		t.Errorf("%d hosts, the first with %d nodes", len(due), len(due[0].nodes))
	}
}

func TestAnAgentThatEndsTakesBackWhatItPromisedOfNodesThatRun(t *testing.T) {
	made := func(name, on string, promise int64) *state.Node {
		return &state.Node{UUID: name, Name: name, LinkName: name, Cluster: "demo", Placement: &state.Placement{Hypervisor: on, Epoch: 9, BMC: state.Endpoint{Address: name}},
			Host: state.HostStatus{Phase: state.HostReady, StopAfterMilli: promise}}
	}
	snap := loaded(t, state.Dump{Nodes: []*state.Node{made("runs", "h1", 30000), made("off", "h1", 30000), made("unknown", "h1", 30000),
		made("hold", "h1", 0), made("elsewhere", "h2", 30000)}})
	c := withdrawn(snap, "h1", map[string]state.Power{"runs": state.PowerOn, "off": state.PowerOff, "hold": state.PowerOn, "elsewhere": state.PowerOn})
	var got []string
	for _, n := range c.Nodes {
		got = append(got, n.UUID)
		if n.Epoch != 9 || n.Status.StopAfterMilli != 0 || n.Status.Phase != state.HostReady {
			t.Errorf("report %+v", n)
		}
	}
	if want := []string{"runs", "unknown"}; !slices.Equal(got, want) || c.Hypervisor != "h1" {
		t.Errorf("withdraws %v of %s, want %v", got, c.Hypervisor, want)
	}
}
