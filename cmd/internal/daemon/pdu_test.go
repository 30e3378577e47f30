package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

const (
	outletCommand = ".1.3.6.1.4.1.318.1.1.12.3.3.1.1.4"
	allOutlets    = ".1.3.6.1.4.1.318.1.1.12.3.1.1.0"
)

// snmp is a client of a peer's PDUs.
func (r *running) snmp() *gosnmp.GoSNMP {
	r.t.Helper()
	c := &gosnmp.GoSNMP{Target: r.config.BMC.Address, Port: 1610, Version: gosnmp.Version2c, Community: "one", Timeout: 5 * time.Second, MaxOids: 60,
		Context: r.t.Context()}
	if err := c.Connect(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Conn.Close() })
	return c
}

// outlets are the states of all outlets as a peer reads them, by number.
func (r *running) outlets() string {
	r.t.Helper()
	all, err := r.snmp().BulkWalkAll(outletCommand)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, v := range all {
		out = append(out, fmt.Sprint(v.Value))
	}
	return strings.Join(out, " ")
}

// set writes an integer by a peer.
func (r *running) set(name string, value int) string {
	r.t.Helper()
	p, err := r.snmp().Set([]gosnmp.SnmpPDU{{Name: name, Type: gosnmp.Integer, Value: value}})
	if err != nil {
		return err.Error()
	}
	return p.Error.String()
}

// rackNodes are nodes without a BMC, in a PDU.
func rackNodes(count string) api.ApplyRequest {
	return api.ApplyRequest{PDUs: map[string]api.PDUSecrets{"rack1": {Community: "one"}}, File: `cluster: rack
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake, ironic_driver: snmp}}
pdus: {rack1: {community_file: /community}}
specs: [{type: small, pdu: rack1, ` + count + `}]
`}
}

func TestPDUsOfTheMeshAtEveryPeer(t *testing.T) {
	peers := trio(t)
	peers[0].offered(3)
	if _, err := peers[0].Apply(t.Context(), rackNodes("count: 3, placement: {spread: zone}")); err != nil {
		t.Fatal(err)
	}
	nodes := peers[0].ready()
	slices.SortFunc(nodes, func(a, b api.Node) int { return a.Plug.Outlet - b.Plug.Outlet })
	for i, p := range peers {
		p.ready()
		p.eventually("all outlets off", func() bool { return p.outlets() == "2 2 2" })
		for j, n := range nodes {
			if n.Plug.Outlet != j+1 || n.BMC.Protocol != "snmp" || n.BMC.Port != 1610 {
				t.Errorf("node %s: %+v, %+v", n.Name, n.Plug, n.BMC)
			}
			if j == i { // each node by another peer
				continue
			}
			for _, step := range []struct {
				value int
				power state.Power
			}{{1, state.PowerOn}, {2, state.PowerOff}} {
				if got := p.set(fmt.Sprintf("%s.%d", outletCommand, j+1), step.value); got != "NoError" {
					t.Errorf("peer %d, outlet %d, %d: %s", i+1, j+1, step.value, got)
				}
				p.eventually(string(step.power), func() bool {
					c, err := p.Chassis(t.Context(), n.Name)
					return err == nil && c.Power == string(step.power)
				})
			}
		}
	}
	if got := peers[1].set(allOutlets, 2); got != "NoError" || peers[2].outlets() != "1 1 1" {
		t.Errorf("all on: %s, %s", got, peers[2].outlets())
	}
	if _, err := peers[1].Outlet(t.Context(), nodes[0].Name, "off"); err != nil || peers[2].outlets() != "2 1 1" {
		t.Errorf("off by the API: %v, %s", err, peers[2].outlets())
	}
	if _, err := peers[2].Power(t.Context(), nodes[0].Name, "on"); err == nil || !strings.Contains(err.Error(), "outlet 1 of PDU rack1, which it is plugged into, is off") {
		t.Errorf("power on while the outlet is off: %v", err)
	}
	pdus, err := peers[2].PDUs(t.Context())
	if err != nil || len(pdus) != 1 || len(pdus[0].Outlets) != 3 || pdus[0].Outlets[0].State != "off" || pdus[0].Outlets[2].State != "on" {
		t.Errorf("PDUs: %+v, %v", pdus, err)
	}
	gone := nodes[2].Hypervisor
	for _, p := range peers {
		if p.config.Name == gone {
			p.stopped()
		}
	}
	for _, p := range peers {
		if p.config.Name != gone {
			if got := p.outlets(); got != "2 1 8" {
				t.Errorf("outlets while %s is down: %s", gone, got)
			}
		}
	}
}

func TestPDUsOfAPeerWithItsPartOfTheState(t *testing.T) {
	peers, i := seven(t)
	last := peers[i]
	if _, err := last.Apply(t.Context(), rackNodes("count: 7")); err != nil {
		t.Fatal(err)
	}
	last.ready()
	last.eventually("all outlets", func() bool { return last.outlets() == "2 2 2 2 2 2 2" })
	if got := last.set(allOutlets, 2); got != "NoError" || last.outlets() != "1 1 1 1 1 1 1" {
		t.Errorf("all on: %s, %s", got, last.outlets())
	}
}
