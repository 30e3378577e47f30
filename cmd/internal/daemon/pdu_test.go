package daemon

import (
	"fmt"
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

// The peer with its part of the state has the others say what it does not know, as they
// have it switch what it has.
func TestPDUsOfAPeerWithItsPartOfTheState(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers, i := seven(t)
	last, other := peers[i], peers[(i+1)%len(peers)]
	if _, err := last.Apply(t.Context(), rackNodes("count: 7")); err != nil {
		t.Fatal(err)
	}
	var own api.Node
	for _, n := range last.ready() {
		if n.BMC.Protocol != "snmp" || n.BMC.Port != 1610 || n.Plug == nil {
			t.Errorf("node %s: %+v, %+v", n.Name, n.Plug, n.BMC)
		}
		if n.Hypervisor == last.config.Name {
			own = n
		}
	}
	last.eventually("all outlets", func() bool { return last.outlets() == "2 2 2 2 2 2 2" })
	if got := last.set(allOutlets, 2); got != "NoError" || last.outlets() != "1 1 1 1 1 1 1" {
		t.Errorf("all on: %s, %s", got, last.outlets())
	}
	power := func(want state.Power) {
		t.Helper()
		other.eventually(string(want), func() bool {
			c, err := other.Chassis(t.Context(), own.Name)
			return err == nil && c.Power == string(want)
		})
	}
	power(state.PowerOn)
	outlet := fmt.Sprintf("%s.%d", outletCommand, own.Plug.Outlet)
	if got := other.set(outlet, 2); got != "NoError" || strings.Count(last.outlets(), "2") != 1 {
		t.Errorf("off by another peer: %s, %s", got, last.outlets())
	}
	power(state.PowerOff)
	if _, err := other.Power(t.Context(), own.Name, "on"); err == nil || !strings.Contains(err.Error(), "of PDU rack1, which it is plugged into, is off") {
		t.Errorf("power on while the outlet is off: %v", err)
	}
	pdus, err := last.PDUs(t.Context())
	if err != nil || len(pdus) != 1 || len(pdus[0].Outlets) != 7 || pdus[0].Outlets[own.Plug.Outlet-1].State != "off" {
		t.Errorf("PDUs: %+v, %v", pdus, err)
	}
	if _, err := other.Outlet(t.Context(), own.Name, "on"); err != nil {
		t.Errorf("on by the API: %v", err)
	}
	power(state.PowerOn)
	if got := last.outlets(); got != "1 1 1 1 1 1 1" {
		t.Errorf("at the end: %s", got)
	}
}
