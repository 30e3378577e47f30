package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

// scene is a mesh of peers p1 (draining), p2 and p3, with nodes a, b, c … on p1.
type scene struct {
	peers  []*state.Peer
	hosts  []*state.Hypervisor
	nodes  []*state.Node
	powers map[string]state.Power
	stops  map[string]time.Time
}

var sceneTime = time.UnixMilli(1_800_000_000_000)

func newScene(nodes int) *scene {
	s := &scene{powers: map[string]state.Power{}, stops: map[string]time.Time{}}
	for i := 1; i <= 3; i++ {
		id := fmt.Sprintf("p%d", i)
		s.peers = append(s.peers, &state.Peer{ID: id, Name: "hv" + id[1:], Draining: i == 1})
		s.hosts = append(s.hosts, &state.Hypervisor{ID: id, Name: "hv" + id[1:], Drivers: []string{"fake"},
			Capacity: state.Resources{VCPUs: 8, MemoryMB: 8192, DiskGB: 100}, BMC: state.PortRange{Address: "192.0.2.1", First: 6230, Last: 6239}})
	}
	for i := range nodes {
		name := string(rune('a' + i))
		s.nodes = append(s.nodes, &state.Node{UUID: name, Name: name, LinkName: name, Cluster: "demo", Spec: "s",
			Machine: state.Machine{Driver: "fake", VCPUs: 1, MemoryMB: 512}, Host: state.HostStatus{Phase: state.HostReady},
			Placement: &state.Placement{Hypervisor: "p1", Epoch: uint64(i + 1), BMC: state.Endpoint{Address: "192.0.2.1", Port: 6230 + i}}})
		s.powers[name] = state.PowerOff
	}
	return s
}

// moves makes a node move.
func (s *scene) moves(i int, to string) *state.Move {
	m := &state.Move{To: to, Name: "hv" + to[1:], Start: 7, BMC: state.Endpoint{Address: "192.0.2.1", Port: 6230 + i}}
	s.nodes[i].Move = m
	return m
}

// decided is what a drainer decides, as text.
func (s *scene) decided(t *testing.T) string {
	t.Helper()
	store := state.New()
	if err := store.Load(state.Dump{Index: 9, Peers: s.peers, Hypervisors: s.hosts, Nodes: s.nodes}); err != nil {
		t.Fatal(err)
	}
	snap, _ := store.Snapshot()
	d := drainer{snap: snap, now: sceneTime, powers: s.powers, stops: s.stops}
	d.decide()
	var out []string
	for _, m := range d.start.Moves {
		out = append(out, m.UUID+"→"+m.To)
	}
	for _, w := range d.start.Waits {
		out = append(out, w.UUID+": "+w.Reason)
	}
	for _, c := range d.cancel.Moves {
		out = append(out, c.UUID+" stays: "+c.Reason)
	}
	for _, o := range d.power {
		out = append(out, string(o.action)+" "+o.node.UUID)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestDrainDecides(t *testing.T) {
	ago := func(d time.Duration) int64 { return sceneTime.Add(-d).UnixMilli() }
	for name, tt := range map[string]struct {
		nodes  int
		change func(s *scene)
		want   string
	}{
		"nothing for a peer that does not drain":     {2, func(s *scene) { s.peers[0].Draining = false }, ""},
		"nodes that are off move, spread":            {2, func(*scene) {}, "a→p2\nb→p3"},
		"two at a time":                              {3, func(*scene) {}, "a→p2\nb→p3\nc: moves when it is its turn"},
		"the next when one is done":                  {2, func(s *scene) { s.moves(0, "p2") }, "b→p3"},
		"no third":                                   {3, func(s *scene) { s.moves(0, "p2"); s.moves(1, "p3") }, "c: moves when it is its turn"},
		"one that does not go on is in nobody's way": {3, func(s *scene) { s.moves(0, "p2").Error = "no space"; s.moves(1, "p3") }, "c→p2"},
		"what is said is not said again": {3, func(s *scene) {
			s.moves(0, "p2")
			s.moves(1, "p3")
			s.nodes[2].Move = &state.Move{Error: "moves when it is its turn"}
		}, ""},
		"one that is on waits":           {1, func(s *scene) { s.powers["a"] = state.PowerOn }, "a: moves once it is off: it is on"},
		"one of unknown power waits":     {1, func(s *scene) { delete(s.powers, "a") }, "a: moves once its power state is known"},
		"one that is being made waits":   {1, func(s *scene) { s.nodes[0].Host = state.HostStatus{} }, "a: moves once it is made"},
		"one that is being removed goes": {1, func(s *scene) { s.nodes[0].Removing = true }, ""},
		"one that is made anew stays":    {1, func(s *scene) { s.nodes[0].Anew = true }, ""},
		"one that is on is asked to stop": {1, func(s *scene) { s.powers["a"], s.peers[0].StopMilli = state.PowerOn, 60_000 },
			"a: moves once it is off: it is being stopped\nsoft a"},
		"and gets its time": {1, func(s *scene) {
			s.powers["a"], s.peers[0].StopMilli, s.stops["a"] = state.PowerOn, 60_000, sceneTime.Add(-59*time.Second)
		}, "a: moves once it is off: it is being stopped"},
		"and no more": {1, func(s *scene) {
			s.powers["a"], s.peers[0].StopMilli, s.stops["a"] = state.PowerOn, 60_000, sceneTime.Add(-60*time.Second)
		}, "a: moves once it is off: it is being stopped\noff a"},
		"only those are stopped whose turn it is": {3, func(s *scene) {
			s.peers[0].StopMilli = 60_000
			s.powers["a"], s.powers["b"], s.powers["c"] = state.PowerOn, state.PowerOn, state.PowerOn
		}, "a: moves once it is off: it is being stopped\nb: moves once it is off: it is being stopped\nc: moves when it is its turn\nsoft a\nsoft b"},
		"none is stopped that fits nowhere": {1, func(s *scene) {
			s.powers["a"], s.peers[0].StopMilli = state.PowerOn, 60_000
			s.hosts[1].Drivers, s.hosts[2].Drivers = nil, nil
		}, "a: cannot move: no other hypervisor can take node a: hv2: driver: has no fake, has none at all; hv3: driver: has no fake, has none at all"},
		"one that was switched on stays": {1, func(s *scene) { s.moves(0, "p2"); s.powers["a"] = state.PowerOn }, "a stays: it was switched on"},
		"not to one that drains, too":    {1, func(s *scene) { s.moves(0, "p2"); s.peers[1].Draining = true }, "a stays: peer hv2 is draining"},
		"not to one that was declared off": {1, func(s *scene) {
			s.moves(0, "p2")
			s.peers[1].Lost, s.peers[1].Fenced, s.peers[1].LostMilli = true, true, ago(time.Second)
		}, "a stays: peer hv2 is lost"},
		"one that is lost may be back": {1, func(s *scene) {
			s.moves(0, "p2")
			s.peers[1].Lost, s.peers[1].LostMilli = true, ago(time.Minute)
		}, ""},
		"but not for ever": {1, func(s *scene) {
			s.moves(0, "p2")
			s.peers[1].Lost, s.peers[1].LostMilli = true, ago(targetPatience)
		}, "a stays: peer hv2 is lost"},
		"from a lost host nothing comes": {1, func(s *scene) { s.peers[0].Lost, s.nodes[0].Lost = true, true }, "a: cannot move: its hypervisor hv1 is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(tt.nodes)
			tt.change(s)
			if got := s.decided(t); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestDrainForgetsWhoHasStopped(t *testing.T) {
	s := newScene(2)
	s.peers[0].StopMilli = 60_000
	s.powers["a"] = state.PowerOn
	s.stops["a"], s.stops["b"], s.stops["gone"] = sceneTime, sceneTime, sceneTime
	s.decided(t)
	if len(s.stops) != 1 || s.stops["a"].IsZero() {
		t.Errorf("remembered: %v", s.stops)
	}
}
