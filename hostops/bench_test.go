package hostops

import (
	"fmt"
	"testing"

	"tenks/raftfsm/state"
)

// BenchmarkPlanWithNothingToDo is what this host decides every period:
// 100 nodes with two ports each.
func BenchmarkPlanWithNothingToDo(b *testing.B) {
	var nodes []*state.Node
	k := newKernel()
	for i := range 100 {
		nodes = append(nodes, placed(fmt.Sprintf("n%d", i), nil, "p1", "p1"))
	}
	w := wanted(k, nil, nodes...)
	p, err := plan(w, present(k))
	if err != nil {
		b.Fatal(err)
	}
	h := carryOut(k, present(k), p)
	b.ReportAllocs()
	for b.Loop() {
		p, err := plan(w, h)
		if err != nil || len(p.nodes)+len(p.before)+len(p.after) > 0 {
			b.Fatalf("%v, %v", summary(p), err)
		}
	}
}
