package state

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAWatcherOfAHypervisorWakesForThatOneOnly(t *testing.T) {
	moved := []Command{unplace("u1", 10), place("u1", "h3", 6230)}
	gone := func(uuid string, on string, epoch uint64) []Command {
		return []Command{RemoveNodes{[]NodeRemoval{{UUID: uuid}}}, ReportHost{on, []NodeHostReport{{uuid, epoch, HostStatus{Phase: HostGone}}}}}
	}
	tests := map[string]struct {
		before, commands []Command
		h1, h2, h3       bool // woken
	}{
		"a node's status":              {nil, []Command{ReportHost{"h2", []NodeHostReport{{"u3", 12, HostStatus{Phase: HostReady}}}}}, false, true, false},
		"a placement":                  {nil, []Command{place("u4", "h3", 6230)}, false, false, true},
		"a move: both":                 {nil, moved, true, false, true},
		"what was moved is placed":     {moved[:1], moved[1:], true, false, true},
		"a removal":                    {nil, gone("u3", "h2", 12), false, true, false},
		"a removal of what was moved":  {moved, gone("u1", "h3", 14), true, false, true},
		"its own row":                  {nil, []Command{hypervisor("h2")}, false, true, false},
		"the loss of its peer":         {nil, []Command{MarkPeers{Lost: []string{"h2"}}}, false, true, false},
		"nobody: an unplaced node":     {nil, []Command{PlaceNodes{Refusals: []NodeRefusal{{"u4", "full"}}}}, false, false, false},
		"nobody: a refused command":    {nil, []Command{ReportHost{"h1", []NodeHostReport{{"u3", 1, HostStatus{}}}}}, false, false, false},
		"nobody: a peer without nodes": {nil, []Command{DrainPeer{ID: "h3", Draining: true}}, false, false, false},
		"nobody: a new hypervisor":     {nil, []Command{hypervisor("h"), hypervisor("h22"), hypervisor("h1a")}, false, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := meshOf(t)
			l.must(tt.before...)
			snap := l.snap()
			for i, c := range tt.commands {
				if err := l.try(c); err != nil && tt.h1 {
					t.Fatal(i, err)
				}
			}
			for hypervisor, want := range map[string]bool{"h1": tt.h1, "h2": tt.h2, "h3": tt.h3} {
				if got := closed(snap.WatchOn(hypervisor)); got != want {
					t.Errorf("%s woken: %t, want %t", hypervisor, got, want)
				}
			}
		})
	}
}

func TestWatchersWakeWhenTheStateIsReplaced(t *testing.T) {
	l := meshOf(t)
	snap := l.snap()
	peers := snap.WatchPeers()
	if closed(peers) || closed(snap.WatchOn("h1")) || closed(snap.WatchOn("none")) {
		t.Fatal("woken before")
	}
	if err := l.store.Load(snap.Dump()); err != nil {
		t.Fatal(err)
	}
	for _, hypervisor := range []string{"h1", "h2", "h3", "none"} {
		if !closed(snap.WatchOn(hypervisor)) {
			t.Errorf("%s: not woken", hypervisor)
		}
	}
	if !closed(peers) {
		t.Error("peers: not woken")
	}
}

func TestAWatcherOfPeersWakesForAnyPeer(t *testing.T) {
	l := meshOf(t)
	before := l.snap().WatchPeers()
	l.must(hypervisor("h1"), place("u4", "h3", 6230))
	if closed(before) {
		t.Error("woken by what is no peer")
	}
	if again := l.snap().WatchPeers(); again != before {
		t.Error("watched anew for nothing")
	}
	l.must(SetRoles{[]PeerRoleChange{{"h2", RoleVoter}}})
	if !closed(before) {
		t.Error("not woken")
	}
}

// comeAndGo declares nodes, places them on h1 and removes them, all at once.
func comeAndGo(l *log, nodes int) {
	l.t.Helper()
	cluster, _ := l.snap().Cluster("demo")
	c := ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: cluster.ModifyIndex}
	var placed PlaceNodes
	var removed RemoveNodes
	gone := ReportHost{Hypervisor: "h1"}
	for i := range nodes {
		n := with(declared(100+i), func(n *Node) { n.Ports = nil })
		c.Create = append(c.Create, n)
		placed.Placements = append(placed.Placements, NodePlacement{UUID: n.UUID, Hypervisor: "h1", BMC: Endpoint{"192.0.2.1", 10000 + i}})
		removed.Nodes = append(removed.Nodes, NodeRemoval{UUID: n.UUID})
		gone.Nodes = append(gone.Nodes, NodeHostReport{n.UUID, l.index + 2, HostStatus{Phase: HostGone}})
	}
	l.must(c, placed, removed, gone)
}

func TestDeparturesAreKeptUpToABoundAndThenAllIsTold(t *testing.T) {
	l := meshOf(t)
	comeAndGo(l, 1)
	early := l.index
	d := l.snap().Dump()
	if len(d.Departures) != 1 || d.Departed.Since != 0 {
		t.Fatalf("%d departures since %d", len(d.Departures), d.Departed.Since)
	}
	if p := l.snap().PartOf("h1", 1); p.Full {
		t.Error("all is told although nothing is forgotten")
	}
	comeAndGo(l, keepDepartures)
	d = l.snap().Dump()
	if len(d.Departures) != keepDepartures || d.Departures[0].Serial != 2 || d.Departed.Since != early {
		t.Errorf("%d departures from %d, since %d, want %d", len(d.Departures), d.Departures[0].Serial, d.Departed.Since, early)
	}
	for since, full := range map[uint64]bool{early - 1: true, early: false, l.index: false, l.index + 1: true, 0: true} {
		p := l.snap().PartOf("h1", since)
		if p.Full != full || p.Full && p.Since != 0 || since == early && len(p.Gone) != keepDepartures {
			t.Errorf("since %d: full %t since %d, want %t", since, p.Full, p.Since, full)
		}
	}
	other := New()
	if err := other.Load(d); err != nil {
		t.Fatal(err)
	}
	if snap, _ := other.Snapshot(); snap.Digest() != l.snap().Digest() {
		t.Error("loaded, it is another state")
	}
}

func TestAStateFromBeforeDeparturesKnowsNoneFromThen(t *testing.T) {
	l := meshOf(t)
	d := l.snap().Dump()
	d.Departed = nil
	if err := l.store.Load(d); err != nil {
		t.Fatal(err)
	}
	if !l.snap().PartOf("h1", l.index-1).Full || l.snap().PartOf("h1", l.index).Full {
		t.Error("a delta from before, or none from now")
	}
}

func TestAPartHasWhatIsOrWasOnItsHypervisor(t *testing.T) {
	l := meshOf(t)
	since := l.index
	l.must(unplace("u1", 10), place("u1", "h2", 6239), RemoveNodes{[]NodeRemoval{{UUID: "u2"}}},
		ReportHost{"h1", []NodeHostReport{{"u2", 11, HostStatus{Phase: HostGone}}}})
	p := l.snap().PartOf("h1", since)
	if p.Full || p.Since != since || p.Index != l.index || len(p.Peers) != 0 || len(p.Hypervisors) != 0 || !slices.Equal(p.Gone, []string{"u2"}) {
		t.Errorf("%+v", p)
	}
	if names(p.Nodes) != "tk1" || p.Nodes[0].Placement.Hypervisor != "h2" || !p.Nodes[0].BMC.Password.IsZero() || len(p.Nodes[0].Ports) != 0 {
		t.Errorf("%+v", p.Nodes[0])
	}
	all := l.snap().PartOf("h2", 0)
	if !all.Full || names(all.Nodes) != "tk1 tk3" || all.Nodes[0].BMC.Password.IsZero() || len(all.Peers) != 3 || len(all.Hypervisors) != 1 || all.Mesh.ID != "m1" {
		t.Errorf("%+v", all)
	}
}

func TestANodeThatCameBackIsNotGone(t *testing.T) {
	l := meshOf(t)
	since := l.index
	comeAndGo(l, 1)
	cluster, _ := l.snap().Cluster("demo")
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: cluster.ModifyIndex, Create: []Node{with(declared(100), func(n *Node) { n.Ports = nil })}})
	if p := l.snap().PartOf("h1", since); !slices.Equal(p.Gone, []string{"u100"}) {
		t.Errorf("gone %q: it is not placed there", p.Gone)
	}
	l.must(place("u100", "h1", 6239))
	if p := l.snap().PartOf("h1", since); len(p.Gone) != 0 || names(p.Nodes) != "tk100" {
		t.Errorf("gone %q, nodes %s", p.Gone, names(p.Nodes))
	}
}

func TestAStateMadeOfPartsTellsAllToWhoIsBehind(t *testing.T) {
	l, replica := meshOf(t), New()
	if err := replica.ApplyPart(l.snap().PartOf("h1", 0)); err != nil {
		t.Fatal(err)
	}
	snap, _ := replica.Snapshot()
	if p := snap.PartOf("h1", snap.Index()-1); !p.Full {
		t.Error("a delta of what it cannot know")
	}
}

// BenchmarkWatchOn reports a node's status while 2,000 hypervisors are watched, each
// by a goroutine that takes its part when it wakes.
func BenchmarkWatchOn(b *testing.B) {
	const hypervisors = 2000
	l := newLog(b)
	create := ApplyCluster{Cluster: Cluster{Name: "demo"}}
	var c PlaceNodes
	for i := range hypervisors {
		h := fmt.Sprintf("h%04d", i)
		l.must(hypervisor(h))
		n := declared(i)
		n.Ports[0].MAC = fmt.Sprint("m", i)
		create.Create = append(create.Create, n)
		c.Placements = append(c.Placements, NodePlacement{UUID: n.UUID, Hypervisor: h, BMC: Endpoint{"192.0.2.1", 6230}})
	}
	l.must(create, c)
	epoch, woke, stop := l.index, make(chan int, hypervisors), make(chan struct{})
	var running, armed sync.WaitGroup
	for i := range hypervisors {
		armed.Add(1)
		running.Go(func() {
			snap := l.snap()
			for first := true; ; first = false {
				changed := snap.WatchOn(fmt.Sprintf("h%04d", i))
				if first {
					armed.Done()
				}
				select {
				case <-stop:
					return
				case <-changed:
				}
				since := snap.Index()
				snap = l.snap()
				woke <- len(snap.PartOf(fmt.Sprintf("h%04d", i), since).Nodes)
			}
		})
	}
	armed.Wait()
	writes := 0
	for b.Loop() {
		i := writes % hypervisors
		if err := l.store.Apply(l.index+1, Envelope{Command: ReportHost{fmt.Sprintf("h%04d", i), []NodeHostReport{{declared(i).UUID, epoch,
			HostStatus{Phase: HostCreating, Error: fmt.Sprint(writes)}}}}}); err != nil {
			b.Fatal(err)
		}
		l.index++
		if n := <-woke; n != 1 {
			b.Fatalf("%d nodes in the part", n)
		}
		writes++
	}
	close(stop)
	running.Wait()
	if len(woke) != 0 {
		b.Errorf("%d woken for nothing", len(woke))
	}
}
