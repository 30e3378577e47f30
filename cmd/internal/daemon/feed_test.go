package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tenks/bmc/fault"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/raftfsm"
	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

const fourteenNodes = `cluster: demo
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake}}
specs: [{type: small, count: 14}]
`

// seven is a mesh of seven peers, and which of them is one that does not follow the log.
func seven(t *testing.T) (peers []*running, fed int) {
	t.Helper()
	first := start(t, newMesh(t))
	peers = []*running{first}
	for i := 2; i <= 7; i++ {
		peers = append(peers, first.joined(fmt.Sprintf("hv%d", i), nil))
	}
	var follows []api.RaftPeer
	first.eventuallyIn(90*time.Second, "five peers that follow the log", func() bool {
		var err error
		follows, err = first.Raft(t.Context())
		return err == nil && len(follows) == 5
	})
	first.offered(7)
	fed = slices.IndexFunc(peers, func(p *running) bool {
		return !slices.ContainsFunc(follows, func(f api.RaftPeer) bool { return f.Name == p.config.Name })
	})
	return peers, fed
}

func TestAPeerThatDoesNotFollowTheLogHasItsPartOfTheState(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers, i := seven(t)
	last, rest := peers[i], slices.Delete(slices.Clone(peers), i, i+1)
	if _, err := last.Apply(t.Context(), api.ApplyRequest{File: fourteenNodes}); err != nil {
		t.Fatal(err)
	}
	nodes := last.ready() // of the whole mesh: it asks who has it
	var own []api.Node
	for _, n := range nodes {
		if n.Hypervisor == last.config.Name {
			own = append(own, n)
		}
	}
	if len(nodes) != 14 || len(own) != 2 {
		t.Fatalf("%d nodes, %d of them on %s; want 14 and 2", len(nodes), len(own), last.config.Name)
	}
	for _, n := range nodes { // by way of a peer with the whole state, to each host
		if _, err := last.Power(t.Context(), n.Name, "on"); err != nil {
			t.Errorf("power on %s on %s: %v", n.Name, n.Hypervisor, err)
		}
	}
	for _, p := range peers {
		p.eventually("all on", func() bool {
			nodes, _, err := p.Nodes(t.Context(), client.NodeQuery{})
			return err == nil && len(nodes) == 14 && !slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Power != "on" })
		})
	}
	part := func() uint64 {
		p, err := raftfsm.ReadPart(PathsOf(last.config.DataDir).Part)
		if err != nil {
			return 0
		}
		return uint64(len(p.Nodes))
	}
	last.eventually("its nodes in its part file", func() bool { return part() == 2 })
	last.faultsComeAndGo(own[0].Name)

	for _, p := range rest {
		p.stopped()
	}
	for range 2 { // as it runs, and after a restart with nobody to ask
		for _, n := range own {
			for _, want := range []string{"off", "on"} {
				if _, err := last.Power(t.Context(), n.Name, want); err != nil {
					t.Errorf("nobody else is there: power %s of %s: %v", want, n.Name, err)
				}
				last.eventually("that power", func() bool {
					c, err := last.Chassis(t.Context(), n.Name)
					return err == nil && c.Power == want
				})
			}
		}
		left, _, err := last.Nodes(t.Context(), client.NodeQuery{})
		if err != nil || len(left) != 2 {
			t.Errorf("nobody else is there: nodes %d, %v; want its own 2", len(left), err)
		}
		last.stopped()
		last = launch(t, last.config)
		last.eventuallyIn(40*time.Second, "answering", func() bool {
			c, err := last.Chassis(t.Context(), own[0].Name)
			return last.running() && err == nil && c.Power != "unknown"
		})
	}
}

// faultsComeAndGo declares a fault of a node on a peer that does not follow the log.
func (r *running) faultsComeAndGo(node string) {
	r.t.Helper()
	inPart := func() int {
		p, err := raftfsm.ReadPart(PathsOf(r.config.DataDir).Part)
		if err != nil || p.Faults == nil {
			return 0
		}
		return len(p.Faults.Faults)
	}
	if _, err := r.AddFault(r.t.Context(), api.FaultRequest{Spec: fault.Spec{Kind: "busy"}, Nodes: []string{node}}); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the fault of its node in its part file", func() bool { return inPart() == 1 })
	if list, err := r.Faults(r.t.Context()); err != nil || len(list) != 1 || list[0].Nodes[0] != node {
		r.t.Errorf("faults %+v, %v; want one of %s", list, err, node)
	}
	if err := r.ClearFaults(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	r.eventually("no fault in its part file", func() bool { return inPart() == 0 })
}

func TestTheNewestStateIsTheLogsUnlessAPartIsNewer(t *testing.T) {
	log, part := state.New(), state.New()
	n := newNewest(log, part)
	apply := func(s *state.Store, index, generation uint64) {
		t.Helper()
		c := state.SetMesh{Mesh: state.Mesh{ID: "m", Name: "m", Generation: generation}}
		if err := s.ApplyPart(state.Part{Index: index, Full: true, Mesh: &c.Mesh}); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		store             *state.Store
		index, generation uint64
		whole             bool
		want              reconcile.Source
	}{
		{part, 5, 1, false, part},
		{log, 4, 1, false, part},
		{log, 5, 1, true, log},
		{part, 6, 1, false, part},
		{log, 3, 2, true, log}, // recovered: it counts anew
		{part, 2, 2, true, log},
		{part, 4, 2, false, part},
	} {
		_, changed := n.Snapshot()
		before, _ := n.Snapshot()
		apply(step.store, step.index, step.generation)
		n.look()
		got, _ := n.Snapshot()
		want, _ := step.want.Snapshot()
		if got != want || n.isWhole() != step.whole {
			t.Errorf("step %d: index %d, whole %t; want index %d, %t", i, got.Index(), n.isWhole(), want.Index(), step.whole)
		}
		select {
		case <-changed:
		default:
			if got != before {
				t.Errorf("step %d: another state, and nobody is told", i)
			}
		}
	}
}
