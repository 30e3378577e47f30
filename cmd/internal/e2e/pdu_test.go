package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// racked is a cluster file of a node that only a PDU's outlet switches.
func racked(endpoint, community string) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  plain: {memory_mb: 256, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], ironic_driver: snmp}
pdus:
  rack1: {community_file: %s}
specs:
  - {type: plain, count: 1, pdu: rack1, ironic_config: {resource_class: rack, network_interface: noop}}
ironic: {endpoint: %q, auth: none}
`, community, endpoint)
}

func TestIntegrationIronicSwitchesOutletsOfAPDU(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	ironic := h.withIronic()
	h.init(agentYAML)
	community := h.write("community", "rack-one\n")
	file := h.write("demo.yml", racked(ironic.URL, community))
	t.Logf("apply:\n%s", h.tenks("apply", "-f", file, "--wait=3m"))
	n := h.nodes()[0]
	var got ironicNode
	if err := ironic.Call(t.Context(), "GET", "/v1/nodes/"+n.UUID, nil, &got); err != nil {
		t.Fatal(err)
	}
	if got.Driver != "snmp" || got.Info["snmp_address"] != n.BMC.Address || fmt.Sprint(got.Info["snmp_outlet"]) != "1" {
		t.Errorf("in Ironic: %+v", got)
	}
	for _, step := range []struct{ power, want string }{
		{"power on", "on"}, {"rebooting", "on"}, {"power off", "off"},
	} {
		if err := ironic.SetPower(t.Context(), n.UUID, step.power); err != nil {
			t.Errorf("%s: %v", step.power, err)
		}
		h.wait(time.Minute, n.Name+" "+step.want, func() bool {
			c, err := h.api.Chassis(t.Context(), n.Name)
			return err == nil && c.Power == step.want
		})
		if out := h.tenks("pdu", "show", "rack1"); !strings.Contains(strings.Join(strings.Fields(out), " "), " 1 "+step.want+" ") {
			t.Errorf("after %s:\n%s", step.power, out)
		}
	}
	if out, err := h.tryTenks("node", "power", "on", n.Name); err == nil || !strings.Contains(out, "outlet 1 of PDU rack1, which it is plugged into, is off") {
		t.Errorf("power on while the outlet is off: %s, %v", out, err)
	}
	if out := h.tenks("cluster", "show", "demo") + h.tenks("events") + h.tenks("node", "show", n.Name); strings.Contains(out, "rack-one") {
		t.Errorf("the community is shown:\n%s", out)
	}
	if out := h.tenks("apply", "-f", file, "--wait=1m"); !strings.Contains(out, "create 0, change 0, remove 0, unchanged 1") {
		t.Errorf("a second apply:\n%s", out)
	}
	h.tenks("destroy", "demo", "--wait=2m")
	if list, err := ironic.Nodes(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("Ironic still has %v, %v", list, err)
	}
}
