package state

import "testing"

func TestRecoveryIsAskedForOfEnrolledNodesOnly(t *testing.T) {
	l := newLog(t)
	enrolled, plain := declared(0), declared(1)
	enrolled.Enrol, enrolled.RecoverIndex = &Enrolment{}, 7
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{enrolled, plain}})
	if n, _ := l.snap().Node(enrolled.UUID); n.RecoverIndex != 0 {
		t.Errorf("a new node's recovery was asked for at %d", n.RecoverIndex)
	}
	l.must(RecoverNodes{Nodes: []string{enrolled.UUID, plain.UUID, "none"}})
	n, _ := l.snap().Node(enrolled.UUID)
	if other, _ := l.snap().Node(plain.UUID); n.RecoverIndex != l.snap().Index() || other.RecoverIndex != 0 {
		t.Errorf("asked for at %d and %d, want %d and 0", n.RecoverIndex, other.RecoverIndex, l.snap().Index())
	}
}

func TestANodeThatAdoptsItsRecordGoesOnToDoSo(t *testing.T) {
	l := newLog(t)
	n := declared(0)
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{n}})
	for _, adopt := range []bool{true, false} {
		c, _ := l.snap().Cluster("demo")
		l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: c.ModifyIndex,
			Change: []NodeChange{{UUID: n.UUID, Ports: n.Ports, BMC: n.BMC, AdoptIronic: adopt}}})
		if got, _ := l.snap().Node(n.UUID); !got.AdoptIronic {
			t.Errorf("declared with %v: it does not", adopt)
		}
	}
}

func TestTargetsAreOrdered(t *testing.T) {
	for i, target := range []EnrolTarget{TargetEnroll, TargetManageable, TargetAvailable} {
		if target.Rank() != i {
			t.Errorf("%s: rank %d, want %d", target, target.Rank(), i)
		}
	}
	if EnrolTarget("").Rank() != TargetAvailable.Rank() {
		t.Error("no target is not available")
	}
}
