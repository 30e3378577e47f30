package hostops

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

func TestAHostThatIsClearedKeepsNothingAndMakesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"), node("b", "p1", "p2"), node("c"), node("d"), node("e"))
		e.run()
		elapse(time.Second)
		e.power("a", state.ActionOn)
		elapse(time.Second)
		if len(e.nodes.nodes) != 5 || len(e.links.have.Links) == 0 {
			t.Fatalf("%d nodes, %d links", len(e.nodes.nodes), len(e.links.have.Links))
		}
		if err := e.host.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		elapse(time.Minute)
		if len(e.nodes.nodes) != 0 || len(e.links.have.Links) != 0 {
			t.Errorf("left: nodes %v, links %v", e.nodes.nodes, e.links.have.Links)
		}
		if err := e.host.Clear(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestClearSaysWhatIsLeft(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.run()
		elapse(time.Second)
		e.nodes.lose(errors.New("libvirtd hangs"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := e.host.Clear(ctx)
		if err == nil || !strings.Contains(err.Error(), "libvirtd hangs") {
			t.Errorf("error %v", err)
		}
		e.nodes.lose(nil)
		if err := e.host.Clear(t.Context()); err != nil {
			t.Errorf("once it answers: %v", err)
		}
		synctest.Wait()
	})
}

// admit has the mesh let this host in by a token.
func (e *env) admit() {
	e.t.Helper()
	hash := sha256.Sum256([]byte("secret"))
	e.apply(state.PutToken{Token: state.Token{ID: "t1", Hash: hash[:], Uses: 1}})
	e.apply(state.AdmitPeer{Peer: state.Peer{ID: self, Name: self, Address: "127.0.0.1:1"}, Token: "t1", Hash: hash[:]})
}

// What is in the database of an Open vSwitch that does not run comes back with it.
func TestAHostIsNotClearedWhileRecordsOfItsMayBeInOpenVSwitch(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		sw := &switches{}
		e.config.Switches = sw // and bridge_type is linux
		e.restart()
		e.run()
		elapse(time.Second)
		uplink := map[string]ovs.HasPort{"p-brtenks0-phy": {Name: "p-brtenks0-phy", Bridge: "br-ex", Mark: ovs.Mark{Role: ovs.RoleUplink, Physnet: "p1"}}}
		sw.set(ovs.Have{Bridges: map[string]ovs.HasBridge{"br-ex": {Name: "br-ex"}}, Ports: uplink})
		elapse(5 * time.Second)
		if len(uplink) != 0 {
			t.Fatalf("left: %v", uplink)
		}
		uplink["p-brtenks0-phy"] = ovs.HasPort{Name: "p-brtenks0-phy", Bridge: "br-ex", Mark: ovs.Mark{Role: ovs.RoleUplink, Physnet: "p1"}}
		sw.set(ovs.Have{Down: errors.New("start openvswitch-switch")})
		cleared := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return e.host.Clear(ctx)
		}
		if err := e.host.switched.set(e.host.store, true); err != nil { // as a step does that makes one
			t.Fatal(err)
		}
		e.restart()
		e.run()
		if err := cleared(); err == nil || !strings.Contains(err.Error(), "start openvswitch-switch") {
			t.Errorf("error %v", err)
		}
		sw.set(ovs.Have{Bridges: map[string]ovs.HasBridge{"br-ex": {Name: "br-ex"}}, Ports: uplink})
		if err := cleared(); err != nil || len(uplink) != 0 {
			t.Errorf("once it answers: %v, left %v", err, uplink)
		}
		sw.set(ovs.Have{Down: errors.New("start openvswitch-switch")})
		e.restart()
		e.run()
		if err := cleared(); err != nil {
			t.Errorf("nothing of ours is in it any longer: %v", err)
		}
	})
}

func TestStepsThatMakeSomethingInOpenVSwitchAreRememberedFirst(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.config.Switches = &switches{}
		e.restart()
		for op, used := range map[ovs.Op]bool{ovs.OpDeletePort: false, ovs.OpPort: true} {
			if err := e.host.switched.set(e.host.store, false); err != nil {
				t.Fatal(err)
			}
			if err := e.host.linkStep(t.Context(), layerStep{then: ovs.Step{Op: op}}); err != nil {
				t.Fatal(err)
			}
			e.restart()
			if got := e.host.switched.used(); got != used {
				t.Errorf("%s: remembered %v", op, got)
			}
		}
	})
}

func TestAHostThatWasClearedStaysSoUntilItIsAdmittedAgain(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.apply(state.PutPeer{Peer: state.Peer{ID: self, Name: self, Address: "127.0.0.1:1"}})
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		left := func(when string, want int) {
			t.Helper()
			e.restart()
			e.run()
			elapse(time.Minute)
			if got := e.nodes.count(); got != want {
				t.Errorf("%s: %d nodes, want %d", when, got, want)
			}
		}
		older, _ := e.state.Snapshot()
		if err := e.host.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		left("the agent was restarted", 0)
		e.apply(state.LeavePeer{ID: self})
		left("the mesh knows that the host leaves", 0)
		if err := e.host.Pass(t.Context(), older); err != nil || e.nodes.count() != 0 {
			t.Errorf("the state is from before that: %v, %d nodes", err, e.nodes.count())
		}
		e.admit()
		left("it was admitted again", 1)
		left("and the agent restarted", 1)
		if err := e.host.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.config.Hypervisor = "peer-2"
		left("another peer of this host's", 0) // nothing is placed there
		if e.host.Cleared() {
			t.Error("another peer of this host's is cleared")
		}
	})
}
