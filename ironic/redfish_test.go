package ironic

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// redfishInfo is the driver_info of the first node at an address.
func redfishInfo(address string, verify any) map[string]any {
	return map[string]any{"redfish_address": address, "redfish_system_id": "/redfish/v1/Systems/" + nodeUUID(0),
		"redfish_username": "admin", "redfish_password": bmcPassword, "redfish_verify_ca": verify,
		"deploy_kernel": "http://192.0.2.1/kernel", "deploy_ramdisk": "http://192.0.2.1/ramdisk"}
}

// serves has the hypervisor serve Redfish at an address.
func (w *world) serves(address string, port int) {
	w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", Redfish: port,
		BMC: state.PortRange{Address: address, First: 6230, Last: 6239}}})
}

// redeclare changes the first node.
func (w *world) redeclare(change func(c *state.NodeChange)) {
	n := w.node(0)
	c := state.NodeChange{UUID: n.UUID, Spec: n.Spec, Machine: n.Machine, Enrol: n.Enrol, DeployKernel: n.DeployKernel,
		DeployRamdisk: n.DeployRamdisk, Constraints: n.Constraints, OnHostLoss: n.OnHostLoss, Ports: n.Ports, BMC: n.BMC}
	change(&c)
	cluster, _ := w.snap().Cluster("demo")
	w.apply(state.ApplyCluster{Cluster: *cluster, Expect: cluster.ModifyIndex, Change: []state.NodeChange{c}})
}

func TestRedfishNodesAreEnrolledWithTheAddressOfTheirHypervisor(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.redeclare(func(c *state.NodeChange) { c.Machine.IronicDriver = state.ProtocolRedfish })
	e := w.enroller()
	w.until(e, "waiting for the service", func() bool { return strings.Contains(w.node(0).Ironic.Error, "has no BMC endpoint yet") })
	w.serves("2001:db8::1", 8000)
	w.until(e, "enrolled", w.enrolled)
	info := func() map[string]any { return w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any) }
	if got := w.ironic.Node(nodeUUID(0))["driver"]; got != "redfish" {
		t.Errorf("driver %v", got)
	}
	if diff := cmp.Diff(redfishInfo("https://[2001:db8::1]:8000", false), info()); diff != "" {
		t.Errorf("driver_info (-want +got):\n%s", diff)
	}
	w.ironic.ResetLog()
	if err := w.enroller().Do(t.Context(), w.snap()); err != nil || len(w.ironic.Writes()) > 0 {
		t.Errorf("once more: wrote %q, %v", w.ironic.Writes(), err)
	}

	enrol := *w.node(0).Enrol
	enrol.RedfishVerifyCA = "/etc/ssl/bmc.pem"
	w.redeclare(func(c *state.NodeChange) { c.Enrol = &enrol })
	w.until(e, "checked by an authority", func() bool {
		return cmp.Equal(redfishInfo("https://[2001:db8::1]:8000", "/etc/ssl/bmc.pem"), info())
	})
	w.serves("192.0.2.11", 8443)
	w.until(e, "at another address", func() bool {
		return cmp.Equal(redfishInfo("https://192.0.2.11:8443", "/etc/ssl/bmc.pem"), info())
	})
}

func TestAChangeOfTheProtocolLeavesNothingOfTheOther(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.serves("192.0.2.11", 8000)
	w.redeclare(func(c *state.NodeChange) { c.Machine.IronicDriver = state.ProtocolRedfish })
	w.until(e, "of the redfish type", func() bool {
		n := w.ironic.Node(nodeUUID(0))
		return n["driver"] == "redfish" && cmp.Equal(redfishInfo("https://192.0.2.11:8000", false), n["driver_info"].(map[string]any))
	})
}
