package hostops

import (
	"errors"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func TestANodeIsTakenApartByTheDriverThatHasItAndMadeByTheOneDeclared(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		other := newProvider()
		e.close()
		e.config.Drivers = map[string]driver.Driver{"test": e.nodes, "other": other}
		e.config.Health["other"] = other.healthy
		e.open()
		e.place(node("a", "p1"), node("b"))
		e.mustPass()
		e.phase("a", state.HostReady)
		if err := e.nodes.Power(t.Context(), "a", driver.PowerRequest{Action: state.ActionOn}); err != nil {
			t.Fatal(err)
		}

		n := e.node("a")
		epoch := n.Placement.Epoch
		m := n.Machine
		m.Driver = "other"
		snap, _ := e.state.Snapshot()
		c, _ := snap.Cluster("c")
		e.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Expect: c.ModifyIndex,
			Change: []state.NodeChange{{UUID: "a", Machine: m, Ports: n.Ports, Anew: true}}})
		e.nodes.failWith(func(op, _ string) error {
			if op == "remove" {
				return errors.New("disk busy")
			}
			return nil
		})
		e.mustPass()
		if e.phase("a", state.HostError); e.node("a").Placement == nil || other.count() != 0 {
			t.Error("made anew before it was taken apart")
		}
		e.nodes.failWith(nil)
		elapse(2 * time.Second)
		e.mustPass()
		if n = e.node("a"); n.Placement != nil || n.Anew || e.nodes.count() != 1 || e.links.has("p-a-0-tap") {
			t.Fatalf("not taken apart: %+v, %d instances, links %v", n, e.nodes.count(), e.links.have.Ours())
		}
		e.mustPass() // it is nowhere, and nothing of it here
		e.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "a", Hypervisor: self, BMC: state.NoEndpoint("a")}}})
		e.mustPass()
		e.phase("a", state.HostReady)
		if n = e.node("a"); n.Placement.Epoch == epoch || other.count() != 1 || e.nodes.count() != 1 || !e.links.has("p-a-0-tap") {
			t.Errorf("not made anew: %+v, %d instances at the other driver", n, other.count())
		}
		e.phase("b", state.HostReady)
	})
}
