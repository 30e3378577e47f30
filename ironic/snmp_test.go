package ironic

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// plug has a PDU switch the first node.
func (w *world) plug(number int, pdu state.PDU) {
	w.redeclare(func(c *state.NodeChange) {
		c.Machine.IronicDriver, c.Outlet = state.ProtocolSNMP, &state.Outlet{PDU: pdu, Number: number}
	})
}

// snmpInfo is the driver_info of a node that an outlet switches.
func snmpInfo(address string, port, outlet int, login map[string]any) map[string]any {
	out := map[string]any{"snmp_driver": "apc_rackpdu", "snmp_address": address, "snmp_port": port, "snmp_outlet": outlet,
		"deploy_kernel": "http://192.0.2.1/kernel", "deploy_ramdisk": "http://192.0.2.1/ramdisk"}
	for key, value := range login {
		out[key] = value
	}
	return out
}

func TestNodesOfAPDUAreEnrolledWithTheirOutlet(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	rack := state.PDU{Name: "rack1", Community: state.NewSecret("rack1-community")}
	w.plug(7, rack)
	e := w.enroller()
	w.until(e, "waiting for the address", func() bool { return strings.Contains(w.node(0).Ironic.Error, "has no BMC endpoint yet") })
	w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", SNMP: 1610, BMC: state.PortRange{Address: "192.0.2.11"}}})
	w.until(e, "enrolled", w.enrolled)
	is := func(want map[string]any) func() bool {
		return func() bool {
			got := w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any)
			return fmt.Sprint(want) == fmt.Sprint(got) // numbers of JSON are as those of Go
		}
	}
	community := map[string]any{"snmp_version": "2c", "snmp_community": "rack1-community"}
	w.until(e, "by community", is(snmpInfo("192.0.2.11", 1610, 7, community)))
	if got := w.ironic.Node(nodeUUID(0))["driver"]; got != "snmp" {
		t.Errorf("driver %v", got)
	}
	w.ironic.ResetLog()
	if err := w.enroller().Do(t.Context(), w.snap()); err != nil || len(w.ironic.Writes()) > 0 {
		t.Errorf("once more: wrote %q, %v", w.ironic.Writes(), err)
	}

	rack.Community, rack.User, rack.Password = state.Secret{}, "ironic", state.NewSecret("first password")
	user := func(password string) map[string]any {
		return map[string]any{"snmp_version": "3", "snmp_user": "ironic", "snmp_auth_protocol": "sha256", "snmp_auth_key": password,
			"snmp_priv_protocol": "aes", "snmp_priv_key": password}
	}
	w.plug(8, rack)
	w.until(e, "by user", is(snmpInfo("192.0.2.11", 1610, 8, user("first password"))))
	rack.Password = state.NewSecret("second password")
	w.plug(8, rack)
	w.until(e, "by another password", is(snmpInfo("192.0.2.11", 1610, 8, user("second password"))))
	rack.Community = state.NewSecret("rack1-community")
	w.plug(8, rack)
	w.until(e, "by community again", is(snmpInfo("192.0.2.11", 1610, 8, community)))
}

func TestANodeWithoutAnOutletIsNotEnrolled(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.redeclare(func(c *state.NodeChange) { c.Machine.IronicDriver = state.ProtocolSNMP })
	w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", SNMP: 1610, BMC: state.PortRange{Address: "192.0.2.11"}}})
	w.until(w.enroller(), "the reason", func() bool { return strings.Contains(w.node(0).Ironic.Error, "is plugged into no PDU") })
}

func TestWhatAPDUIsReachedByIsInNoStatus(t *testing.T) {
	for name, pdu := range map[string]state.PDU{
		"community": {Name: "rack1", Community: state.NewSecret("planted-secret")},
		"password":  {Name: "rack1", User: "ironic", Password: state.NewSecret("planted-secret")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, ironictest.Options{})
			w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1", SNMP: 1610, BMC: state.PortRange{Address: "192.0.2.11"}}})
			w.plug(7, pdu)
			// ironic.common.exception.PatchError
			w.ironic.FailNext(http.StatusBadRequest, "Couldn't apply patch '[{'path': '/driver_info/snmp_community', 'value': 'planted-secret', 'op': 'add'}]'. Reason: none")
			w.until(w.enroller(), "refused", func() bool { return strings.Contains(w.node(0).Ironic.Error, "Couldn't apply patch") })
			if all := w.node(0).Ironic.Error + w.logs.String(); strings.Contains(all, "planted-secret") {
				t.Errorf("secret in: %s", all)
			}
		})
	}
}
