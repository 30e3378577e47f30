package ironic

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// B-7: the bridges' names were looked up on Ansible's own host: enrolment failed where that was
// no hypervisor, and where it was, ports of other hosts got its bridges. Here the enroller is on no hypervisor
// at all, and the hosts have their physnets in different bridges.
func TestB7PortsAreThoseOfTheirOwnHost(t *testing.T) {
	w := &world{t: t, ironic: ironictest.Start(t, ironictest.Options{}), store: state.New()}
	w.access = state.IronicAccess{Endpoint: w.ironic.URL(), Auth: "none"}
	bridges := map[string][]int{"hv1": {0, 1}, "hv2": {3, 0}, "hv3": {1, 0}} // of physnet1 and physnet2
	var create []state.Node
	for i := range 3 {
		create = append(create, newNodeState(i))
	}
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Create: create})
	port := func(host string, node, i int) state.PortLink {
		b := bridges[host][i]
		return state.PortLink{Bridge: fmt.Sprintf("brtenks%d", b), BridgeMAC: fmt.Sprintf("02:00:00:00:%s:0%d", host[2:]+host[2:], b), Link: fmt.Sprintf("p-n%d-%d-br", node, i)}
	}
	for i := range 3 {
		host := fmt.Sprintf("hv%d", i+1)
		w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: host, Name: host}})
		w.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: nodeUUID(i), Hypervisor: host, BMC: state.Endpoint{Address: fmt.Sprintf("127.0.0.%d", i+1), Port: 6230}}}})
		w.apply(state.ReportHost{Hypervisor: host, Nodes: []state.NodeHostReport{{UUID: nodeUUID(i), Epoch: w.node(i).Placement.Epoch,
			Status: state.HostStatus{Phase: state.HostReady, Links: []state.PortLink{port(host, i, 0), port(host, i, 1)}}}}})
	}
	w.until(w.enroller(), "enrolled", w.enrolled)
	for i := range 3 {
		host := fmt.Sprintf("hv%d", i+1)
		if got := w.ironic.Node(nodeUUID(i))["driver_info"].(map[string]any)["ipmi_address"]; got != fmt.Sprintf("127.0.0.%d", i+1) {
			t.Errorf("node %d: BMC at %v", i, got)
		}
		ports := w.ironic.Ports(nodeUUID(i))
		if len(ports) != 2 {
			t.Fatalf("node %d: ports %v", i, ports)
		}
		for j, p := range ports {
			l := port(host, i, j)
			want := map[string]any{"switch_id": l.BridgeMAC, "switch_info": l.Bridge, "port_id": l.Link}
			if diff := cmp.Diff(want, p["local_link_connection"]); diff != "" || p["physical_network"] != fmt.Sprintf("physnet%d", j+1) || p["address"] != mac(i, j) {
				t.Errorf("node %d, port %d: %v, want %v", i, j, p, want)
			}
		}
	}
}
