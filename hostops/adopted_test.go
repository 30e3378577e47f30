package hostops

import (
	"testing"

	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// The guests that stay, and Ironic, know the bridge by the address that it had.
func TestABridgeThatWasTakenOverKeepsItsAddressForOtherNodes(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		taken := node("tk0", "p1")
		taken.Origin = takenNode("tk0").Origin
		madeByOthers(e.links, &taken)
		e.nodes.nodes["tk0"] = &guest{power: state.PowerOff}
		e.place(taken, node("a", "p1"))
		e.mustPass()
		e.mustPass()
		mac := taken.Origin.Links[0].BridgeMAC
		address := func(when string) {
			t.Helper()
			e.mustPass()
			if l := e.links.have.Links["brtenks0"]; l.MAC != mac || !l.Ours() {
				t.Errorf("%s: the bridge is %+v, want address %s", when, l, mac)
			}
			if got := e.node("a").Host.Links; len(got) != 1 || got[0].BridgeMAC != mac {
				t.Errorf("%s: the other node is plugged into %+v", when, got)
			}
		}
		address("both are there")
		e.removeNode("tk0")
		e.mustPass()
		address("the one that it was taken over with is gone")
		e.restart()
		address("the agent was restarted")
		e.rebootHost()
		address("the host was rebooted")
		delete(e.config.Physnets, "p1")
		e.restart()
		e.mustPass()
		if l := e.links.have.Links["brtenks0"]; l.MAC != mac {
			t.Errorf("no longer offered: the bridge is %+v", l)
		}
		e.config.Physnets["p1"] = Physnet{}
		e.restart()
		e.removeNode("a")
		e.mustPass()
		e.mustPass()
		e.place(node("b", "p1"))
		e.mustPass()
		if got := e.links.have.Links["brtenks0"].MAC; got != link.BridgeMAC(mesh, "p1") {
			t.Errorf("a bridge of our own has address %s", got)
		}
	})
}

func TestABridgeOfOpenVSwitchKeepsItsDatapathUnlessItIsOursAndOffered(t *testing.T) {
	for _, c := range []struct {
		name             string
		offered, adopted bool
		want             string
	}{
		{"ours", true, false, ovs.DatapathNetdev},
		{"taken over", true, true, ovs.DatapathSystem},
		{"no longer offered", false, false, ovs.DatapathSystem},
		{"taken over and no longer offered", false, true, ovs.DatapathSystem},
	} {
		k := newKernel()
		w := wanted(k, nil, placed("a", nil, "p1"))
		w.ovs, w.datapath, w.bridges = true, ovs.DatapathNetdev, map[string]int{"p1": 0}
		if c.adopted {
			w.adopted = map[string]string{"p1": "7a:00:00:00:00:99"}
		}
		if !c.offered {
			delete(w.physnets, "p1")
		}
		h := present(k)
		h.links.Links["brtenks0"] = link.Link{Name: "brtenks0", Kind: "openvswitch", MAC: "7a:00:00:00:00:99", MTU: 1500}
		h.switches = ovs.Have{Bridges: map[string]ovs.HasBridge{"brtenks0": {Name: "brtenks0", Datapath: ovs.DatapathSystem, Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}}}
		h.links = annotated(h.links, h.switches, nil)
		p := &planner{want: w, have: h, out: program{faults: map[string]error{}}}
		p.split()
		links := p.layer2()
		got := switched(links, h, link.Plan(links, h.links))
		if len(got.Bridges) != 1 || got.Bridges[0].Datapath != c.want {
			t.Errorf("%s: %+v, want datapath %s", c.name, got.Bridges, c.want)
		}
	}
}
