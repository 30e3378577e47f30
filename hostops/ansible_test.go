package hostops

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// Tests of what the Ansible tool got wrong: docs/from-ansible.md has the list.

// said is what the provider was told to do.
func (p *provider) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Each run shut down every guest that ran, and wrote its definition anew, without the boot
// order and the media that its BMC had been told.
func TestB1ApplyingAgainTouchesNoRunningGuest(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.boot("a", state.Boot{Device: state.BootCDROM, Persistent: true})
		e.power("a", state.ActionOn)
		elapse(5 * time.Second)
		calls, writes, before := len(e.nodes.said()), e.links.count(), c.Status()
		for range 3 {
			n := e.node("a")
			snap, _ := e.state.Snapshot()
			cluster, _ := snap.Cluster("c")
			e.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Expect: cluster.ModifyIndex,
				Change: []state.NodeChange{{UUID: "a", Machine: n.Machine, Ports: n.Ports}}})
			elapse(5 * time.Second)
		}
		e.place(node("b", "p1")) // and one more
		elapse(5 * time.Second)
		if diff := cmp.Diff(before, c.Status()); diff != "" || before.Power != state.PowerOn || e.nodes.power("a") != state.PowerOn {
			t.Errorf("chassis (-before +after):\n%s", diff)
		}
		for _, call := range e.nodes.said()[calls:] {
			if call != "ensure b" {
				t.Errorf("driver call %q", call)
			}
		}
		if e.links.count() == writes {
			t.Error("b has no links: the test looks at nothing")
		}
	})
}

// Bridges, links and guests were gone after a reboot; what the next run made had other MACs.
func TestB16ARebootLosesNothing(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, _ *Chassis) {
		e.power("a", state.ActionOn)
		elapse(5 * time.Second)
		before, macs := e.node("a").Host.Links, e.node("a").Ports
		was := map[string]link.Link{}
		for _, name := range e.links.have.Ours() {
			was[name] = e.links.have.Links[name]
		}
		e.rebootHost()
		if len(e.links.have.Ours()) != 0 {
			t.Fatal("the reboot left links: the test looks at nothing")
		}
		e.run()
		elapse(10 * time.Second)
		is := map[string]link.Link{}
		for _, name := range e.links.have.Ours() {
			is[name] = e.links.have.Links[name]
		}
		if diff := cmp.Diff(was, is); diff != "" || len(was) == 0 {
			t.Errorf("links (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(before, e.node("a").Host.Links); diff != "" || e.nodes.power("a") != state.PowerOn {
			t.Errorf("power %s, ports (-before +after):\n%s", e.nodes.power("a"), diff)
		}
		if diff := cmp.Diff(macs, e.node("a").Ports); diff != "" {
			t.Error(diff)
		}
	})
}

// The bridge and the links of a physnet that was no longer mapped stayed for ever.
func TestB17ABridgeGoesWithTheLastNodeOfItsPhysnet(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.links.add(link.Link{Name: "eth1", MTU: 1500, Up: true})
		e.config.Physnets["p2"] = Physnet{Device: "eth1"}
		e.place(node("a", "p2"))
		e.mustPass()
		delete(e.config.Physnets, "p2")
		e.restart()
		e.mustPass()
		if got := e.node("a").Host; got.Phase != state.HostError || got.Error != `port 0: this host does not offer physnet "p2": add it to physnets in agent.yml` {
			t.Errorf("status %+v", got)
		}
		e.removeNode("a")
		e.mustPass()
		if left := e.links.have.Ours(); len(left) != 0 || e.links.have.Links["eth1"].Master != "" {
			t.Errorf("left: %v, eth1 in %q", left, e.links.have.Links["eth1"].Master)
		}
	})
}

// An interface's name was looked up with "_" for "-".
func TestB24ADeviceWithAHyphenIsFound(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.links.add(link.Link{Name: "br-ex-0", Kind: "bridge", MTU: 1500, Up: true})
		e.links.add(link.Link{Name: "en-p1-s0", MTU: 1500, Up: true})
		e.config.Physnets["p1"], e.config.Physnets["p2"] = Physnet{Device: "br-ex-0"}, Physnet{Device: "en-p1-s0"}
		e.place(node("a", "p1", "p2"))
		e.mustPass()
		e.phase("a", state.HostReady)
		if got := e.links.have.Links["en-p1-s0"].Master; got == "" {
			t.Error("en-p1-s0 is in no bridge")
		}
	})
}
