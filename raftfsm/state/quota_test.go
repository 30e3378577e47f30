package state

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestAQuotaHoldsWhatGrowsAndNothingElse(t *testing.T) {
	used := Usage{Nodes: 3, VCPUs: 6, MemoryMB: 3000, DiskBytes: 30 << 30}
	for _, c := range []struct {
		name  string
		quota Quota
		to    Usage
		want  string
	}{
		{"no limit", Quota{}, Usage{Nodes: 1000, VCPUs: 1000, MemoryMB: 1 << 40, DiskBytes: 1 << 60}, ""},
		{"up to the limit", Quota{Nodes: 4, VCPUs: 8, MemoryMB: 4000, DiskGB: 40}, Usage{4, 8, 4000, 40 << 30}, ""},
		{"a node too many", Quota{Nodes: 3}, Usage{4, 8, 4000, 40 << 30}, "nodes: 3 used, 4 asked for, the limit is 3"},
		{"vcpus", Quota{VCPUs: 7}, Usage{4, 8, 4000, 40 << 30}, "vcpus: 6 used, 8 asked for, the limit is 7"},
		{"memory", Quota{MemoryMB: 3999}, Usage{4, 8, 4000, 40 << 30}, "memory: 3000 MiB used, 4000 MiB asked for, the limit is 3999 MiB"},
		{"disk is rounded up", Quota{DiskGB: 30}, Usage{3, 6, 3000, 30<<30 + 1}, "disk: 30 GiB used, 31 GiB asked for, the limit is 30 GiB"},
		{"all at once", Quota{Nodes: 3, VCPUs: 6}, Usage{4, 8, 4000, 40 << 30}, "limit is 3; vcpus"},
		{"less than is used: it may stay", Quota{Nodes: 1}, used, ""},
		{"less than is used: it may shrink", Quota{Nodes: 1}, Usage{2, 4, 2000, 20 << 30}, ""},
		{"less than is used: it may not grow", Quota{Nodes: 1}, Usage{4, 6, 3000, 30 << 30}, "nodes: 3 used, 4 asked for, the limit is 1"},
		{"one grows, another shrinks", Quota{Nodes: 1, MemoryMB: 100}, Usage{2, 4, 3001, 0}, "memory: 3000 MiB used, 3001"},
	} {
		err := c.quota.Check("demo", used, c.to)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	var u Usage
	for range 2 {
		u.Add(Machine{VCPUs: 1, MemoryMB: math.MaxUint64, Volumes: []Volume{{CapacityBytes: math.MaxUint64}}})
	}
	if u.MemoryMB != math.MaxUint64 || u.DiskBytes != math.MaxUint64 {
		t.Errorf("sums wrap around: %+v", u)
	}
}

func TestAQuotaIsThereBeforeItsClusterAndAfter(t *testing.T) {
	l := newLog(t)
	l.must(SetQuota{Cluster: "demo", Quota: Quota{Nodes: 1}}, SetQuota{Cluster: "demo", Quota: Quota{Nodes: 1}}, SetQuota{Cluster: "none"})
	if got := l.snap().Quotas(); len(got) != 1 || got[0].Cluster != "demo" {
		t.Fatalf("quotas %+v", got)
	}
	digest := l.snap().Digest()
	two := ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{declared(1), declared(2)}}
	err := l.try(two)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "nodes: 0 used, 2 asked for, the limit is 1") {
		t.Fatalf("two nodes: %v", err)
	}
	if l.snap().Digest() != digest {
		t.Error("a refused declaration left something")
	}
	two.Create = two.Create[:1]
	l.must(two, RemoveCluster{Name: "demo", Forget: true})
	if _, ok := l.snap().Cluster("demo"); ok || l.snap().Quota("demo").Nodes != 1 {
		t.Error("the quota went with its cluster")
	}
	l.must(SetQuota{Cluster: "demo"})
	if l.snap().Quota("demo") != (Quota{}) || len(l.snap().Quotas()) != 0 {
		t.Error("the quota is still there")
	}
	for _, bad := range []SetQuota{{Cluster: ""}, {Cluster: "x", Quota: Quota{Nodes: -1}}, {Cluster: "x", Quota: Quota{VCPUs: -1}}} {
		if l.try(bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestANodeThatIsDeclaredOtherwiseIsMadeAnewOnceItsHostHasTakenItApart(t *testing.T) {
	l := demo(t)
	l.must(ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{Phase: HostReady}}}})
	cluster, _ := l.snap().Cluster("demo")
	other := declared(1)
	change := NodeChange{UUID: "u1", Spec: other.Spec, Machine: Machine{Driver: "libvirt", MemoryMB: 1024, VCPUs: 1}, Ports: other.Ports, BMC: other.BMC, Anew: true}
	l.must(ApplyCluster{Cluster: *cluster, Expect: cluster.ModifyIndex, Change: []NodeChange{change}})
	n := l.node("tk1")
	if phase, why := n.Phase(); !n.Anew || n.Placement == nil || !n.TakenApart() || phase != PhaseCreating || why == "" {
		t.Fatalf("%+v", n)
	}
	since := l.snap().Index()
	l.must(ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{Phase: HostGone}}}})
	n = l.node("tk1")
	if n.Anew || n.Placement != nil || n.Host.Phase != "" || len(n.Past) != 0 || n.UUID != "u1" || n.LastPlacement.Hypervisor != "h1" {
		t.Errorf("%+v", n)
	}
	if got := l.snap().PartOf("h1", since).Gone; !slices.Equal(got, []string{"u1"}) {
		t.Errorf("h1 is told of %v that went, want u1", got)
	}
	l.must(place("u1", "h1", 6230))
	if n = l.node("tk1"); n.Placement == nil || n.Placement.Hypervisor != "h1" {
		t.Errorf("not placed again: %+v", n)
	}
	l.must(ApplyCluster{Cluster: *cluster, Expect: l.cluster("demo"), Change: []NodeChange{change}}, RemoveNodes{[]NodeRemoval{{UUID: "u1"}}},
		ReportHost{"h1", []NodeHostReport{{"u1", n.Placement.Epoch, HostStatus{Phase: HostGone}}}})
	if _, there := l.snap().Node("u1"); there {
		t.Error("a node that is removed while it is made anew stays")
	}
	change.UUID = "u2"
	l.must(ApplyCluster{Cluster: *cluster, Expect: l.cluster("demo"), Change: []NodeChange{change}})
	if l.node("tk2").Anew {
		t.Error("one that is not placed waits for a host to take it apart")
	}
}

// cluster is the index at which a cluster was last declared.
func (l *log) cluster(name string) uint64 {
	c, _ := l.snap().Cluster(name)
	return c.ModifyIndex
}

func TestANodeThatIsMadeAnewDoesNotMove(t *testing.T) {
	l := demo(t)
	l.must(ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{Phase: HostReady}}}})
	cluster, _ := l.snap().Cluster("demo")
	other := declared(1)
	l.must(ApplyCluster{Cluster: *cluster, Expect: cluster.ModifyIndex, Change: []NodeChange{{UUID: "u1", Spec: other.Spec,
		Machine: Machine{Driver: "libvirt", MemoryMB: 1024, VCPUs: 1}, Ports: other.Ports, BMC: other.BMC, Anew: true}}})
	l.must(StartMoves{Moves: []NodeMove{{UUID: "u1", Epoch: 5, To: "h2", BMC: Endpoint{"192.0.2.1", 6231}}}},
		StartMoves{Waits: []NodeWait{{UUID: "u1", Epoch: 5, Reason: "moves when it is its turn"}}})
	if n := l.node("tk1"); n.Move != nil {
		t.Errorf("it moves while its host takes it apart: %+v", n.Move)
	}
	l.must(ReportHost{"h1", []NodeHostReport{{"u1", 5, HostStatus{Phase: HostGone}}}})
	// Who counts moves looks at where they are from.
	if n := l.node("tk1"); n.Placement != nil || n.Move != nil || len(l.snap().MovingTo("h2")) > 0 {
		t.Errorf("it has no place and moves: %+v", n.Move)
	}
}
