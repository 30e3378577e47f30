package ironic

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestNodesWithABMCAddressAreEnrolledWithIt(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.serves("192.0.2.1", 8000)
	own := func(protocol, address string) {
		w.redeclare(func(c *state.NodeChange) {
			c.Machine.IronicDriver, c.BMCAddress = protocol, address
			c.BMCPool = state.AddressPool{{First: address, Last: address}}
		})
	}
	info := func(keys ...string) map[string]any {
		all, out := w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any), map[string]any{}
		for _, key := range keys {
			out[key] = all[key]
		}
		return out
	}
	own("ipmi", "192.0.2.100")
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	if diff := cmp.Diff(map[string]any{"ipmi_address": "192.0.2.100", "ipmi_port": 623.0}, info("ipmi_address", "ipmi_port")); diff != "" {
		t.Errorf("driver_info (-want +got):\n%s", diff)
	}
	own(state.ProtocolRedfish, "2001:db8::100")
	w.until(e, "the other protocol", func() bool { return info("redfish_address")["redfish_address"] == "https://[2001:db8::100]" })
	w.redeclare(func(c *state.NodeChange) { c.Machine.IronicDriver = state.ProtocolRedfish })
	w.until(e, "no address of its own", func() bool { return info("redfish_address")["redfish_address"] == "https://192.0.2.1:8000" })
}
