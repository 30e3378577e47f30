package daemon

import (
	"net"
	"strconv"
	"testing"

	"tenks/cmd/internal/api"
	"tenks/config"
)

// taken reports whether something listens at a UDP port.
func taken(t *testing.T, address string, port int) bool {
	t.Helper()
	var lc net.ListenConfig
	c, err := lc.ListenPacket(t.Context(), "udp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return true
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return false
}

func TestBMCsListenInTheRangeThatTheirHostHasNow(t *testing.T) {
	c := newMesh(t)
	r := start(t, c)
	before := r.apply(twoNodes)
	if _, err := r.Power(t.Context(), "tk0", "on"); err != nil {
		t.Fatal(err)
	}
	r.stopped()
	c.BMC.IPMIPorts = config.PortRange{First: 7000, Last: 7009}
	r = start(t, c)
	// They stay where they are until they are declared again.
	if nodes := r.ready(); nodes[0].BMC.Port != before[0].BMC.Port || !taken(t, nodes[0].BMC.Address, nodes[0].BMC.Port) {
		t.Errorf("before an apply: %+v", nodes[0].BMC)
	}
	var p api.Plan
	r.eventually("planned", func() bool {
		var err error
		p, err = r.Plan(t.Context(), api.ApplyRequest{File: twoNodes})
		return err == nil && len(p.Steps) == 2
	})
	if s := p.Steps[0]; s.Action != "change" || s.When != "now" || len(s.Changes) != 1 || s.Changes[0].Field != "bmc.endpoint" {
		t.Errorf("step %+v", s)
	}
	if _, err := r.Apply(t.Context(), api.ApplyRequest{File: twoNodes}); err != nil {
		t.Fatal(err)
	}
	r.eventually("in the new range", func() bool {
		nodes := r.ready()
		return nodes[0].BMC.Port == 7000 && nodes[1].BMC.Port == 7001 && taken(t, nodes[0].BMC.Address, 7000) && taken(t, nodes[1].BMC.Address, 7001) &&
			!taken(t, nodes[0].BMC.Address, before[0].BMC.Port)
	})
	if nodes := r.ready(); nodes[0].Power != "on" {
		t.Errorf("power %s", nodes[0].Power)
	}
	r.stopped()
}
