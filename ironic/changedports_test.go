package ironic

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// portsIn are a node's ports in Ironic: MAC, physnet, and where each is plugged in.
func (w *world) portsIn(node string) map[string]string {
	out := map[string]string{}
	for _, p := range w.ironic.Ports(node) {
		link, _ := p["local_link_connection"].(map[string]any)
		out[fmt.Sprint(p["address"])] = fmt.Sprint(p["physical_network"], " ", link["port_id"])
	}
	return out
}

func TestPortsInIronicFollowTheNetworksOfANode(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	other := w.portsIn(nodeUUID(1))
	// declare changes the ports of node 0, and has its host make the links.
	declare := func(ports ...state.Port) {
		change := changeOf(w.node(0))
		change.Ports, change.Machine.Physnets = ports, nil
		var links []state.PortLink
		for i, p := range ports {
			change.Machine.Physnets = append(change.Machine.Physnets, p.Physnet)
			links = append(links, state.PortLink{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:01", Link: fmt.Sprintf("p-n0-%d-br", i)})
		}
		w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex(), Change: []state.NodeChange{change}})
		n := w.node(0)
		w.apply(state.ReportHost{Hypervisor: "hv1", Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch,
			Status: state.HostStatus{Phase: state.HostReady, Links: links}}}})
	}
	for _, c := range []struct {
		name  string
		ports []state.Port
		want  map[string]string
	}{
		{"one more", []state.Port{{MAC: mac(0, 0), Physnet: "physnet1"}, {MAC: mac(0, 1), Physnet: "physnet2"}, {MAC: mac(0, 2), Physnet: "physnet3"}},
			map[string]string{mac(0, 0): "physnet1 p-n0-0-br", mac(0, 1): "physnet2 p-n0-1-br", mac(0, 2): "physnet3 p-n0-2-br"}},
		{"another network", []state.Port{{MAC: mac(0, 0), Physnet: "physnet9"}, {MAC: mac(0, 1), Physnet: "physnet2"}, {MAC: mac(0, 2), Physnet: "physnet3"}},
			map[string]string{mac(0, 0): "physnet9 p-n0-0-br", mac(0, 1): "physnet2 p-n0-1-br", mac(0, 2): "physnet3 p-n0-2-br"}},
		{"two less", []state.Port{{MAC: mac(0, 0), Physnet: "physnet9"}}, map[string]string{mac(0, 0): "physnet9 p-n0-0-br"}},
	} {
		declare(c.ports...)
		w.until(e, c.name, func() bool { return cmp.Equal(c.want, w.portsIn(nodeUUID(0))) })
		w.until(e, "not in maintenance", func() bool {
			n := w.ironic.Node(nodeUUID(0))
			return n["maintenance"] == false && n["provision_state"] == "available"
		})
	}
	if diff := cmp.Diff(other, w.portsIn(nodeUUID(1))); diff != "" {
		t.Errorf("the other node's ports (-before +after):\n%s", diff)
	}
}
