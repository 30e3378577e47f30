package daemon

import (
	"fmt"
	"strings"
	"testing"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestTheFleetFollowsTheState(t *testing.T) {
	made := map[string]bmc.Chassis{}
	f := &fleet{self: "h1", chassis: func(uuid string) bmc.Chassis {
		if made[uuid] == nil {
			made[uuid] = bmctest.NewChassis()
		}
		return made[uuid]
	}}
	node := func(i int, change ...func(*state.Node)) *state.Node {
		n := &state.Node{UUID: fmt.Sprintf("AAAA-%d", i), Name: fmt.Sprintf("tk%d", i), LinkName: fmt.Sprint(i), Cluster: "demo",
			Machine: state.Machine{IronicDriver: "redfish"}, BMC: state.Account{Username: "admin", Password: state.NewSecret(fmt.Sprint(i))},
			Placement: &state.Placement{Hypervisor: "h1", Epoch: 1, BMC: state.NoEndpoint(fmt.Sprintf("AAAA-%d", i))}}
		for _, c := range change {
			c(n)
		}
		return n
	}
	at := func(h string) func(*state.Node) { return func(n *state.Node) { n.Placement.Hypervisor = h } }
	index := uint64(0)
	update := func(nodes ...*state.Node) {
		t.Helper()
		s := state.New()
		index++
		if err := s.Load(state.Dump{Index: index, Nodes: nodes, Hypervisors: []*state.Hypervisor{{ID: "h1", Name: "hv1"}, {ID: "h2", Name: "hv2"}}}); err != nil {
			t.Fatal(err)
		}
		snap, _ := s.Snapshot()
		f.update(snap)
	}
	shown := func() string {
		var out []string
		list, _ := f.All()
		for _, sys := range list {
			out = append(out, fmt.Sprintf("%s on %s %t", sys.Name, sys.Host, sys.Chassis != nil))
		}
		return strings.Join(out, ", ")
	}
	ipmi := func(n *state.Node) {
		n.Machine.IronicDriver, n.Placement.BMC = "ipmi", state.Endpoint{Address: "192.0.2.1", Port: 6230}
	}
	update(node(3, at("h2")), node(1), node(2, ipmi), node(4, func(n *state.Node) { n.Placement = nil }),
		node(5, func(n *state.Node) { n.Host.Phase = state.HostGone }), node(6, func(n *state.Node) { n.BMC = state.Account{} }),
		node(7, func(n *state.Node) { n.Removing = true }))
	if got, want := shown(), "tk1 on hv1 true, tk2 on hv1 true, tk3 on hv2 false"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if sys, ok := f.Lookup("aaaa-3"); !ok || sys.Peer != "h2" || !f.hasUser("admin") || f.hasUser("root") {
		t.Errorf("looked up: %+v, %t", sys, ok)
	}
	if !f.here("/redfish/v1/Systems/AAAA-1/Bios") || f.here("/redfish/v1/Systems/aaaa-3") || f.here("/redfish/v1/Systems") {
		t.Error("what is here is not known")
	}
	_, before := f.All()
	update(node(3, at("h2")), node(1, func(n *state.Node) { n.Host.Phase = state.HostReady }), node(2, ipmi))
	if _, after := f.All(); before != after {
		t.Error("a change of nothing that Redfish is about is one")
	}
	update(node(3), node(1, at("h2")), node(2, ipmi))
	if got, want := shown(), "tk1 on hv2 false, tk2 on hv1 true, tk3 on hv1 true"; got != want {
		t.Errorf("after moves\ngot  %s\nwant %s", got, want)
	}
	select {
	case <-before:
	default:
		t.Error("nobody was told")
	}
}
