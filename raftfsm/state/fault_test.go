package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// aFault is a fault of one node.
func aFault(id string) Fault {
	return Fault{ID: id, Kind: FaultDrop, Nodes: []string{"u0"}, SharePPM: 1_000_000, ForMilli: 60_000}
}

func lastEvent(l *log) Event {
	events := l.snap().Events(0)
	return events[len(events)-1]
}

func TestAFaultIsThereUntilItIsEnded(t *testing.T) {
	l := demo(t)
	began := int64(l.index) * 1000
	f := aFault("f1")
	f.AddedMilli, f.CreateIndex = 5, 5 // what a proposer says of these does not count
	l.must(AddFault{f})
	got, ok := l.snap().Fault("f1")
	if !ok || got.AddedMilli != began || got.EndsMilli() != began+60_000 || got.CreateIndex != l.index {
		t.Errorf("fault %+v, want one added at %d", got, began)
	}
	if e := lastEvent(l); e.Type != EventFaultAdded || !strings.Contains(e.Message, "f1 drop of node u0 until 1970-01-01T00:01:") {
		t.Errorf("event %+v", e)
	}
	l.must(EndFaults{IDs: []string{"f0", "f1"}, Expired: true})
	if len(l.snap().Faults()) != 0 {
		t.Error("it is there still")
	}
	if e := lastEvent(l); e.Type != EventFaultEnded || e.Message != "f1 drop: its time is over" {
		t.Errorf("event %+v", e)
	}
	events := len(l.snap().Events(0))
	l.must(EndFaults{IDs: []string{"f1"}})
	if len(l.snap().Events(0)) != events {
		t.Error("ending it twice is an event")
	}
}

func TestAFaultThatCannotBeIsRefused(t *testing.T) {
	l := demo(t)
	l.must(AddFault{aFault("taken")})
	tests := map[string]struct {
		change func(f *Fault)
		is     error
	}{
		"an ID that is taken": {func(f *Fault) { f.ID = "taken" }, ErrConflict},
		"no ID":               {func(f *Fault) { f.ID = "" }, nil},
		"nobody's":            {func(f *Fault) { f.Nodes = nil }, ErrRefused},
		"too many":            {func(f *Fault) { f.Clusters = make([]string, MaxFaultTargets) }, ErrRefused},
		"no end":              {func(f *Fault) { f.ForMilli = 0 }, ErrRefused},
		"too long":            {func(f *Fault) { f.ForMilli = MaxFaultMilli + 1 }, ErrRefused},
		"a novel":             {func(f *Fault) { f.Call = strings.Repeat("x", maxFaultText+1) }, ErrRefused},
	}
	for name, tt := range tests {
		f := aFault("new")
		tt.change(&f)
		if err := l.try(AddFault{f}); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: error %v, want %v", name, err, tt.is)
		}
		d := l.snap().Dump()
		d.Faults = append(d.Faults, &f)
		if err := New().Load(d); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	for i := range MaxFaults - 1 {
		l.must(AddFault{aFault(fmt.Sprintf("f%d", i))})
	}
	if err := l.try(AddFault{aFault("more")}); !errors.Is(err, ErrRefused) {
		t.Errorf("one too many: error %v, want %v", err, ErrRefused)
	}
}

func TestAFaultWakesTheHypervisorsThatItConcerns(t *testing.T) {
	tests := map[string]func(f *Fault){
		"of a node":       func(f *Fault) { f.Nodes = []string{"u0"} },
		"of a cluster":    func(f *Fault) { f.Nodes, f.Clusters = nil, []string{"demo"} },
		"of a hypervisor": func(f *Fault) { f.Nodes, f.Hypervisors = nil, []string{"h1"} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.must(hypervisor("h1"), hypervisor("h2"), ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{declared(0)}},
				PlaceNodes{Placements: []NodePlacement{{UUID: "u0", Hypervisor: "h1", BMC: Endpoint{"192.0.2.1", 6230}}}})
			f := aFault("f1")
			change(&f)
			for _, c := range []Command{AddFault{f}, EndFaults{IDs: []string{"f1"}}} {
				mine, other, since := l.snap().WatchOn("h1"), l.snap().WatchOn("h2"), l.index
				l.must(c)
				if !closed(mine) || closed(other) {
					t.Errorf("%s: woken %t, the other %t", Kind(c), closed(mine), closed(other))
				}
				want := 1
				if Kind(c) == "end-faults" {
					want = 0
				}
				if p := l.snap().PartOf("h1", since); p.Faults == nil || len(p.Faults.Faults) != want || p.Empty() {
					t.Errorf("%s: part %+v, want %d faults", Kind(c), p, want)
				}
				if p := l.snap().PartOf("h1", l.index); !p.Empty() {
					t.Errorf("%s: a part of nothing new has %+v", Kind(c), p)
				}
				if p := l.snap().PartOf("h2", 0); p.Faults != nil {
					t.Errorf("%s: the other's part has faults", Kind(c))
				}
			}
		})
	}
}

func TestFaultsComeWithANodeThatMovesIn(t *testing.T) {
	l := newLog(t)
	l.must(hypervisor("h1"), hypervisor("h2"), ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{declared(0)}}, AddFault{aFault("f1")})
	since := l.index
	l.must(PlaceNodes{Placements: []NodePlacement{{UUID: "u0", Hypervisor: "h2", BMC: Endpoint{"192.0.2.1", 6230}}}})
	if p := l.snap().PartOf("h2", since); p.Faults == nil || len(p.Faults.Faults) != 1 {
		t.Errorf("part %+v, want the node's fault", p)
	}
}

func TestAStateThatWasRestoredTellsOfItsFaultsAnew(t *testing.T) {
	l := newLog(t)
	l.must(hypervisor("h1"), AddFault{Fault{ID: "f1", Kind: FaultDrop, Hypervisors: []string{"h1"}, ForMilli: 1}})
	since := l.index
	l.must(EndFaults{IDs: []string{"f1"}}, hypervisor("h2"))
	other := New()
	if err := other.Load(l.snap().Dump()); err != nil {
		t.Fatal(err)
	}
	snap, _ := other.Snapshot()
	if p := snap.PartOf("h1", since); p.Faults == nil || len(p.Faults.Faults) != 0 {
		t.Errorf("part %+v, want that there are no faults", p)
	}
}

func TestAReplicaWakesWhoWatchesItsHypervisorWhenItsFaultsChange(t *testing.T) {
	l := newLog(t)
	l.must(hypervisor("h1"), ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{declared(0)}}, place("u0", "h1", 6230))
	replica := New()
	apply := func() {
		t.Helper()
		now, _ := replica.Snapshot()
		if err := replica.ApplyPart(l.snap().PartOf("h1", now.Index())); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	for i, c := range []Command{AddFault{aFault("f1")}, EndFaults{IDs: []string{"f1"}}} {
		now, _ := replica.Snapshot()
		watch := now.WatchOn("h1")
		l.must(c)
		apply()
		now, _ = replica.Snapshot()
		if !closed(watch) || len(now.Faults()) != 1-i {
			t.Errorf("%s: woken %t, faults %v", Kind(c), closed(watch), now.Faults())
		}
	}
}

func TestAuditStaysWhateverIsDeclared(t *testing.T) {
	l := demo(t)
	l.must(SetAudit{Nodes: []string{"u1", "none"}, On: true})
	if e := lastEvent(l); e.Type != EventNodeAudit || e.Node != "tk1" || e.Message != "on" {
		t.Errorf("event %+v", e)
	}
	cluster, _ := l.snap().Cluster("demo")
	n := l.node("tk1")
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: cluster.ModifyIndex, Change: []NodeChange{{UUID: "u1", Ports: n.Ports}}})
	if !l.node("tk1").Audit || l.node("tk2").Audit {
		t.Error("want an audit of tk1 only")
	}
	before := l.snap().Digest()
	l.must(SetAudit{Nodes: []string{"u1"}, On: true})
	if l.snap().Digest() != before {
		t.Error("setting it again changed the state")
	}
	l.must(SetAudit{Nodes: []string{"u1"}})
	if l.node("tk1").Audit {
		t.Error("it is on still")
	}
}
