package hostops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

func TestPassMakesNodesAndSaysWhereTheirPortsAre(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1", "p2"), node("b", "p1"))
		e.mustPass()
		want := state.HostStatus{Phase: state.HostReady, Links: []state.PortLink{
			{Bridge: "brtenks0", BridgeMAC: link.BridgeMAC(mesh, "p1"), Link: "p-a-0-br"},
			{Bridge: "brtenks1", BridgeMAC: link.BridgeMAC(mesh, "p2"), Link: "p-a-1-br"},
		}}
		if diff := cmp.Diff(want, e.node("a").Host); diff != "" {
			t.Errorf("status of a (-want +got):\n%s", diff)
		}
		e.phase("b", state.HostReady)
		if got := e.host.Powers(); !cmp.Equal(got, map[string]state.Power{"a": state.PowerOff, "b": state.PowerOff}) {
			t.Errorf("powers: %v, want both off", got)
		}
	})
}

func TestAPassWithNothingToDoWritesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		for i := range 20 {
			e.place(node(fmt.Sprintf("n%d", i), "p1"))
		}
		e.mustPass()
		before, reports, links, calls := e.host.Stats(), e.reported(), e.links.count(), len(e.nodes.calls)
		for range 5 {
			e.mustPass()
		}
		after := e.host.Stats()
		if after.Passes != before.Passes+5 {
			t.Errorf("passes: %d, want 5 more than %d", after.Passes, before.Passes)
		}
		after.Passes = before.Passes
		if after != before || e.reported() != reports || e.links.count() != links || len(e.nodes.calls) != calls {
			t.Errorf("five passes wrote: %+v after %+v, %d reports after %d", after, before, e.reported(), reports)
		}
	})
}

func TestFiftyNodesAreMadeAtTheSameTimeWithinTheBound(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.nodes.delay = 20 * time.Millisecond
		var nodes []state.Node
		for i := range 50 {
			nodes = append(nodes, node(fmt.Sprintf("n%d", i), "p1"))
		}
		e.place(nodes...)
		began := time.Now()
		e.mustPass()
		// 50 nodes, 16 at a time: four rounds.
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("50 nodes of 20 ms took %v, want 80 ms", took)
		}
		if e.nodes.busiest > defaultParallel || e.nodes.busiest < 2 {
			t.Errorf("%d nodes at the same time, want at most %d and more than one", e.nodes.busiest, defaultParallel)
		}
		if e.nodes.count() != 50 {
			t.Errorf("%d nodes, want 50", e.nodes.count())
		}
	})
}

func TestAFailingNodeStopsNoOtherAndIsTriedAgainLessAndLessOften(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"), node("b", "p1"))
		broken := func(op, uuid string) error {
			if uuid == "a" {
				return errors.New("no space left")
			}
			return nil
		}
		e.nodes.failWith(broken)
		e.run()
		elapse(time.Minute)
		e.phase("b", state.HostReady)
		e.phase("a", state.HostError)
		if got := e.node("a").Host.Error; !strings.Contains(got, "no space left") {
			t.Errorf("error %q, want the driver's", got)
		}
		tries := 0
		for _, c := range e.nodes.calls {
			if c == "ensure a" {
				tries++
			}
		}
		if tries < 4 || tries > 8 {
			t.Errorf("%d tries in a minute, want 4 to 8: after 1, 2, 4, 8, … s", tries)
		}
		if e.reported() > 6 {
			t.Errorf("%d reports, want one for each change", e.reported())
		}
		e.nodes.failWith(nil)
		elapse(time.Minute)
		e.phase("a", state.HostReady)
	})
}

func TestADriverOutageLeavesReadyNodesReady(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		e.phase("a", state.HostReady)
		e.power("a", state.ActionOn)
		e.nodes.lose(errors.New("libvirtd is gone"))
		e.place(node("b", "p1"))
		elapse(30 * time.Second)
		e.phase("a", state.HostReady)
		e.phase("b", state.HostCreating)
		if got := e.node("b").Host.Error; !strings.Contains(got, "libvirtd is gone") {
			t.Errorf("error of a node that cannot be made: %q, want the reason", got)
		}
		if got := e.host.Power("a"); got != state.PowerOn {
			t.Errorf("power during the outage: %s, want on from memory", got)
		}
		if !e.links.has("p-b-0-tap") {
			t.Error("links wait for the driver")
		}
		e.nodes.lose(nil)
		elapse(5 * time.Second)
		e.phase("b", state.HostReady)
		if got := e.nodes.powers(); !slices.Equal(got, []string{"on a"}) {
			t.Errorf("power calls %v, want only the client's", got)
		}
	})
}

func TestRemovalTakesTheNodeThenItsLinksThenTheBridge(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"), node("b", "p2"))
		e.mustPass()
		e.removeNode("a")
		e.nodes.failWith(func(op, _ string) error {
			if op == "remove" {
				return errors.New("disk busy")
			}
			return nil
		})
		e.mustPass()
		e.phase("a", state.HostError)
		if !e.links.has("p-a-0-tap") || !e.links.has("brtenks0") {
			t.Error("links went before their node")
		}
		e.nodes.failWith(nil)
		elapse(2 * time.Second)
		e.mustPass()
		snap, _ := e.state.Snapshot()
		if n, ok := snap.Node("a"); ok {
			t.Errorf("node a is still in the state: %+v", n.Host)
		}
		if e.links.has("p-a-0-tap") || e.links.has("brtenks0") || !e.links.has("brtenks1") {
			t.Errorf("links after removal: %v", e.links.have.Ours())
		}
		e.mustPass()
		if _, ok := e.host.Chassis("a"); ok {
			t.Error("the chassis outlived its node")
		}
	})
}

func TestANodeWaitsForIronicBeforeItGoes(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		n := node("a", "p1")
		n.Enrol = &state.Enrolment{}
		e.place(n)
		e.mustPass()
		e.apply(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: "a", Status: state.IronicStatus{Phase: state.IronicEnrolled}}}})
		e.removeNode("a")
		e.mustPass()
		if e.nodes.count() != 1 {
			t.Error("removed before Ironic let it go")
		}
		e.apply(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: "a", Status: state.IronicStatus{Phase: state.IronicGone}}}})
		e.mustPass()
		if e.nodes.count() != 0 {
			t.Error("not removed after Ironic let it go")
		}
	})
}

func TestDriftIsMendedWithinFiveSeconds(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		for what, drift := range map[string]func(){
			"a veth":   func() { e.links.delete("p-a-0-br") },
			"a bridge": func() { e.links.delete("brtenks0") },
			"a domain": func() { e.nodes.undefine("a") },
		} {
			drift()
			elapse(5 * time.Second)
			if !e.links.has("p-a-0-tap") || !e.links.has("brtenks0") || e.nodes.count() != 1 {
				t.Errorf("%s is not back after 5 s: %v, %d nodes", what, e.links.have.Ours(), e.nodes.count())
			}
		}
		e.phase("a", state.HostReady)
	})
}

func TestTheDriverIsToldOfALinkMadeAnewUnderARunningGuest(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		ensures := func() int {
			n := 0
			for _, c := range e.nodes.calls {
				if c == "ensure a" {
					n++
				}
			}
			return n
		}
		e.place(node("a", "p1", "p2"))
		e.run()
		elapse(time.Second)
		e.links.delete("p-a-1-tap")
		elapse(5 * time.Second)
		if ensures() != 1 || !e.links.has("p-a-1-tap") {
			t.Errorf("a link of a node that is off: %d calls to make it, want only the first", ensures())
		}
		e.power("a", state.ActionOn)
		elapse(5 * time.Second)
		e.links.delete("p-a-1-tap")
		elapse(5 * time.Second)
		if ensures() != 2 {
			t.Errorf("%d calls to make the node, want one more", ensures())
		}
		// The agent ends between the link and the call.
		e.nodes.failWith(func(string, string) error { return state.ErrBusy })
		e.links.delete("p-a-1-tap")
		elapse(time.Second)
		e.close()
		e.nodes.failWith(nil)
		before := ensures()
		e.open()
		e.run()
		elapse(10 * time.Second)
		if ensures() != before+1 {
			t.Errorf("%d calls to make the node after a restart, want one", ensures()-before)
		}
		e.phase("a", state.HostReady)
	})
}

func TestAnUnchangedStatusOnItsWayIsNotReportedAgain(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.setReportErr(errors.New("no leader"))
		e.mustPass()
		e.setReportErr(nil)
		e.phase("a", "")
		e.mustPass()
		e.phase("a", state.HostReady)
		// What the state takes long to show is on its way for a while.
		slow := e.host.reports.report
		e.host.reports.report = func(ctx context.Context, nodes []state.NodeHostReport) error {
			<-time.After(time.Second)
			return slow(ctx, nodes)
		}
		before := e.reported()
		e.place(node("b"))
		snap, _ := e.state.Snapshot()
		for range 5 {
			if err := e.host.Pass(t.Context(), snap); err != nil {
				t.Fatal(err)
			}
			<-time.After(100 * time.Millisecond)
		}
		elapse(5 * time.Second)
		e.phase("b", state.HostReady)
		if got := e.reported() - before; got > 2 {
			t.Errorf("%d reports for creating and ready, want at most 2", got)
		}
	})
}

func TestANodeIsReadyOnlyWhenItsBMCListens(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.setReady(errors.New("port 623 is in use"))
		e.place(node("a"))
		e.run()
		elapse(5 * time.Second)
		e.phase("a", state.HostCreating)
		elapse(10 * time.Second)
		e.phase("a", state.HostError)
		if got := e.node("a").Host.Error; got != "port 623 is in use" {
			t.Errorf("error %q, want the reason", got)
		}
		e.setReady(nil)
		elapse(time.Second)
		e.phase("a", state.HostReady)
	})
}

func TestWhatCannotBeDoneHereSaysWhyAndChangesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		elsewhere, other := node("a", "p9"), node("b", "p1")
		other.Machine.Driver = "openstack"
		e.place(elsewhere, other, node("c", "p1"))
		e.links.add(link.Link{Name: "p-c-0-br", Kind: "veth"})
		e.mustPass()
		for uuid, want := range map[string]string{"a": `physnet "p9"`, "b": `no driver "openstack"`, "c": "p-c-0-br exists and is not ours"} {
			e.phase(uuid, state.HostError)
			if got := e.node(uuid).Host.Error; !strings.Contains(got, want) {
				t.Errorf("node %s: error %q, want %q in it", uuid, got, want)
			}
		}
		if e.nodes.count() != 0 {
			t.Errorf("%d nodes made", e.nodes.count())
		}
		writes := e.host.Stats()
		e.mustPass()
		if got := e.host.Stats(); got.LinkWrites != writes.LinkWrites || got.DriverWrites != writes.DriverWrites {
			t.Errorf("writes %+v after %+v, want none", got, writes)
		}
		if got := e.links.have.Links["p-c-0-br"]; got.Master != "" {
			t.Errorf("the foreign link was changed: %+v", got)
		}
	})
}

func TestAMissingDeviceIsTheErrorOfNodesOnItsPhysnetOnly(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.config.Physnets["p2"] = Physnet{Device: "eth9"}
		e.place(node("a", "p1"), node("b", "p2"))
		e.mustPass()
		e.phase("a", state.HostReady)
		e.phase("b", state.HostError)
		if got := e.node("b").Host.Error; !strings.Contains(got, "eth9 does not exist") {
			t.Errorf("error %q, want the device", got)
		}
		e.links.add(link.Link{Name: "eth9", MTU: 9000})
		e.mustPass()
		e.phase("b", state.HostReady)
	})
}

func TestAPassThatWouldRemoveMuchThatNobodyAskedForStops(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		for i := range 5 {
			e.nodes.nodes[fmt.Sprint(i)] = &guest{spec: driver.Spec{UUID: fmt.Sprint(i), Epoch: 1}, power: state.PowerOn}
		}
		e.place(node("a", "p1"))
		err := e.pass()
		if err == nil || !strings.Contains(err.Error(), "5 of the 5 nodes") {
			t.Errorf("pass: %v, want an error that counts", err)
		}
		if e.nodes.count() != 5 || e.links.count() != 0 {
			t.Errorf("%d nodes and %d link writes, want nothing changed", e.nodes.count(), e.links.count())
		}
		e.nodes.undefine("0")
		e.nodes.undefine("1")
		e.mustPass()
		if e.nodes.count() != 1 {
			t.Errorf("%d nodes, want the three leftovers gone and one made", e.nodes.count())
		}
	})
}

func TestANodeThatTheMeshHasElsewhereIsSwitchedOffAndKept(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.placeOn("peer-2", node("a", "p1"))
		e.nodes.nodes["a"] = &guest{spec: driver.Spec{UUID: "a", Epoch: 1}, power: state.PowerOn}
		e.mustPass()
		e.mustPass()
		if got := e.nodes.powers(); !slices.Equal(got, []string{"off a"}) || e.nodes.count() != 1 {
			t.Errorf("power calls %v and %d nodes, want one off, and the node kept", got, e.nodes.count())
		}
	})
}

func TestANodeNewerThanTheSnapshotIsLeftAlone(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		old, _ := e.state.Snapshot()
		e.place(node("a", "p1"))
		e.mustPass()
		if err := e.host.Pass(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if e.nodes.count() != 1 || !e.links.has("p-a-0-tap") || !e.links.has("brtenks0") {
			t.Errorf("a pass with an older snapshot removed something: %v", e.links.have.Ours())
		}
	})
}

func TestBridgesKeepTheirNamesOverAReboot(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("b", "p2"))
		e.mustPass()
		e.place(node("a", "p1"))
		e.mustPass()
		before := []state.PortLink{e.node("a").Host.Links[0], e.node("b").Host.Links[0]}
		e.rebootHost()
		e.mustPass()
		after := []state.PortLink{e.node("a").Host.Links[0], e.node("b").Host.Links[0]}
		if diff := cmp.Diff(before, after); diff != "" || before[0].Bridge != "brtenks1" {
			t.Errorf("links (-before +after):\n%s", diff)
		}
		if !e.links.has(before[0].Bridge) {
			t.Errorf("bridges: %v", e.links.have.Ours())
		}
	})
}

func TestAForeignBridgeOfOurNameIsAvoided(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.links.add(link.Link{Name: "brtenks0", Kind: "bridge", MTU: 1500})
		e.place(node("a", "p1"))
		e.mustPass()
		if got := e.node("a").Host.Links[0].Bridge; got != "brtenks1" {
			t.Errorf("bridge %s, want brtenks1", got)
		}
		if got := e.links.have.Links["brtenks0"]; got != (link.Link{Name: "brtenks0", Kind: "bridge", MTU: 1500}) {
			t.Errorf("the foreign bridge was changed: %+v", got)
		}
	})
}

func TestAPhysnetNoLongerOfferedStaysUnderItsNodes(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.links.add(link.Link{Name: "eth1", MTU: 1500, Up: true})
		e.config.Physnets["p2"] = Physnet{Device: "eth1"}
		e.place(node("a", "p2"))
		e.mustPass()
		delete(e.config.Physnets, "p2")
		e.restart()
		writes := e.links.count()
		e.mustPass()
		if e.links.count() != writes || e.links.have.Links["eth1"].Master != "brtenks0" {
			t.Errorf("links were changed: %v", e.links.have.Links)
		}
		e.phase("a", state.HostError)
	})
}

func TestARestartIsMadeOnceForEachRequest(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		e.power("a", state.ActionOn)
		e.change("a", 1024, false)
		elapse(5 * time.Second)
		if got := e.node("a").Host.Pending; !slices.Equal(got, []string{"memory"}) {
			t.Errorf("pending %v, want memory", got)
		}
		e.change("a", 1024, true)
		elapse(5 * time.Second)
		if got := e.nodes.powers(); !slices.Equal(got, []string{"on a", "cycle a"}) {
			t.Errorf("power calls %v, want one cycle", got)
		}
		if got := e.node("a").Host.Pending; len(got) != 0 {
			t.Errorf("pending %v after the cycle", got)
		}
		e.restart()
		e.run()
		elapse(5 * time.Second)
		e.change("a", 2048, false)
		elapse(5 * time.Second)
		if got := e.nodes.powers(); len(got) != 2 {
			t.Errorf("power calls %v, want no other cycle", got)
		}
	})
}

func TestRemovalWaitsForItsDriver(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"))
		e.mustPass()
		e.removeNode("a")
		e.nodes.lose(errors.New("gone"))
		e.mustPass()
		if !e.links.has("p-a-0-tap") || !e.links.has("brtenks0") {
			t.Error("links went although the node may be there")
		}
		e.phase("a", state.HostReady)
		e.nodes.lose(nil)
		e.mustPass()
		if e.nodes.count() != 0 || len(e.links.have.Ours()) != 0 {
			t.Errorf("%d nodes, links %v: want nothing", e.nodes.count(), e.links.have.Ours())
		}
	})
}

func TestStatusesAreReportedWithoutHoldingUpTheHost(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.setNoLeader(true)
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		e.links.delete("p-a-0-tap")
		elapse(5 * time.Second)
		if !e.links.has("p-a-0-tap") {
			t.Error("drift was not mended while a report waits")
		}
		e.setNoLeader(false)
		elapse(time.Minute)
		e.phase("a", state.HostReady)
	})
}
