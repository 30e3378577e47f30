package sched

import (
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

func TestANodeThatWasThereIsPlacedWhereItWasWithItsPort(t *testing.T) {
	hosts := []*state.Hypervisor{hypervisor("h1"), hypervisor("h2")}
	was := func(host string, port int) func(*state.Node) {
		return func(n *state.Node) { n.Origin = &state.Origin{Hypervisor: host, BMCPort: port} }
	}
	nodes := []*state.Node{node("a", was("h2", 6235)), node("b", was("h2", 6236)), node("c", was("h2", 6235)), node("d", was("", 6238))}
	snap := load(t, hosts, nodes)
	if got, want := show(snap, nil, Place(snap, nil)), "a=h2:6235 b=h2:6236 c=h2:6230 d=h1:6238"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	gone := load(t, hosts, []*state.Node{node("a", was("h9", 6230))})
	r := Place(gone, nil)
	if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Reason, "h9 is not in the mesh, and specs.nodes.hypervisor pins it there: name another there, or none, and apply") {
		t.Errorf("refusals %+v", r.Refusals)
	}
}
