package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// counting is what faults do on two hosts.
type counting struct{ asked []string }

func (c *counting) FaultCounts() map[string]api.FaultCount { return map[string]api.FaultCount{} }

func (c *counting) PeerFaultCounts(_ context.Context, peers []string) map[string]map[string]api.FaultCount {
	c.asked = append(c.asked, peers...)
	return map[string]map[string]api.FaultCount{}
}

func TestAFaultIsDeclaredListedAndCleared(t *testing.T) {
	w := newWorld(t)
	w.demo()
	a := w.call("POST", "/v1/faults", `{"kind": "drop", "share": 0.3, "seed": 7, "for": "1m", "protocol": "ipmi", "call": "power", "nodes": ["tk0"], "clusters": ["demo"], "hypervisors": ["hv1"]}`)
	if a.status != http.StatusCreated {
		t.Fatalf("add: %v", a)
	}
	list := decode[[]api.Fault](w, "/v1/faults")
	if len(list) != 1 {
		t.Fatalf("list %+v, want one fault", list)
	}
	got := list[0]
	row, _ := w.snap().Fault(got.ID)
	want := api.Fault{ID: got.ID, Kind: "drop", Nodes: []string{"tk0"}, Clusters: []string{"demo"}, Hypervisors: []string{"hv1"}, Protocol: "ipmi",
		Call: "power", Share: 0.3, Seed: 7, Added: got.Added, Ends: got.Ends, Hits: []api.FaultCount{}}
	if diff := cmp.Diff(want, got); diff != "" || got.Added >= got.Ends {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n, _ := w.snap().NodeByName("tk0"); len(row.Nodes) != 1 || row.Nodes[0] != n.UUID || row.Hypervisors[0] != hypervisorID {
		t.Errorf("row %+v", row)
	}
	if a := w.call("DELETE", "/v1/faults/none", nil); a.status != http.StatusNotFound || !strings.Contains(w.fault(a), "tenks fault list") {
		t.Errorf("clear one that there is not: %v", a)
	}
	if a := w.call("DELETE", "/v1/faults/"+got.ID, nil); a.status != http.StatusOK || len(w.snap().Faults()) != 0 {
		t.Errorf("clear: %v", a)
	}
	for range 2 {
		if a := w.call("POST", "/v1/faults", `{"kind": "bmc-reset", "nodes": ["tk1"]}`); a.status != http.StatusCreated {
			t.Fatalf("add: %v", a)
		}
	}
	for range 2 { // nothing is left the second time
		if a := w.call("DELETE", "/v1/faults", nil); a.status != http.StatusOK || len(w.snap().Faults()) != 0 {
			t.Errorf("clear all: %v", a)
		}
	}
}

func TestAFaultThatCannotBeIsRefusedInOneLine(t *testing.T) {
	w := newWorld(t)
	w.demo()
	tests := map[string]struct {
		body   string
		status int
		say    string
	}{
		"no kind":             {`{"nodes": ["tk0"]}`, 400, "not one of drop"},
		"nobody's":            {`{"kind": "drop"}`, 400, "say whose"},
		"two mistakes":        {`{"kind": "drop", "nodes": ["tk0"], "for": "1y", "share": 2}`, 400, "; for"},
		"another field":       {`{"kind": "drop", "nodes": ["tk0"], "colour": "red"}`, 400, "colour"},
		"another node":        {`{"kind": "drop", "nodes": ["tk9"]}`, 404, "tenks node list"},
		"another cluster":     {`{"kind": "drop", "clusters": ["none"]}`, 404, "tenks cluster list"},
		"another hypervisor":  {`{"kind": "drop", "hypervisors": ["hv9"]}`, 404, "tenks peer list"},
		"too many":            {`{"kind": "drop", "nodes": [` + strings.TrimSuffix(strings.Repeat(`"tk0",`, state.MaxFaultTargets+1), ",") + `]}`, 409, "allowed"},
		"a node of two words": {`{"kind": "drop", "nodes": "tk0"}`, 400, "nodes"},
	}
	for name, tt := range tests {
		a := w.call("POST", "/v1/faults", tt.body)
		if text := w.fault(a); a.status != tt.status || !strings.Contains(text, tt.say) || strings.Contains(text, "\n") {
			t.Errorf("%s: %d %s, want %d with %q in one line", name, a.status, text, tt.status, tt.say)
		}
	}
	if len(w.snap().Faults()) != 0 {
		t.Error("a fault was declared")
	}
}

func TestFaultsAreCountedByHost(t *testing.T) {
	w := newWorld(t)
	w.demo()
	n, _ := w.snap().NodeByName("tk0")
	w.do(state.AddFault{Fault: state.Fault{ID: "f1", Kind: state.FaultDrop, Nodes: []string{n.UUID}, ForMilli: 1000}})
	c := &counting{}
	w.handler = w.withFaults(c)
	decode[[]api.Fault](w, "/v1/faults")
	if len(c.asked) != 0 {
		t.Errorf("this host asked others, %v, about a node of its own", c.asked)
	}
	c2 := &fixed{}
	w.handler = w.withFaults(c2)
	list := decode[[]api.Fault](w, "/v1/faults")
	if diff := cmp.Diff([]api.FaultCount{{Hypervisor: "hv1", Asked: 5, Hit: 2}}, list[0].Hits); diff != "" {
		t.Errorf("hits (-want +got)\n%s", diff)
	}
	if got := decode[map[string]api.FaultCount](w, "/v1/fault-counts"); got["f1"].Hit != 2 {
		t.Errorf("counts %+v", got)
	}
}

// fixed has counts of this host.
type fixed struct{ counting }

func (*fixed) FaultCounts() map[string]api.FaultCount {
	return map[string]api.FaultCount{"f1": {Asked: 5, Hit: 2}, "f0": {Asked: 1}}
}

func TestAuditIsSwitchedPerNode(t *testing.T) {
	w := newWorld(t)
	w.demo()
	for _, on := range []bool{true, false} {
		if a := w.call("POST", "/v1/nodes/tk0/audit", api.AuditRequest{On: on}); a.status != http.StatusNoContent {
			t.Fatalf("audit %t: %v", on, a)
		}
		if got := decode[api.Node](w, "/v1/nodes/tk0"); got.BMC.Audit != on {
			t.Errorf("audit %t, want %t", got.BMC.Audit, on)
		}
	}
	if a := w.call("POST", "/v1/nodes/tk9/audit", api.AuditRequest{}); a.status != http.StatusNotFound {
		t.Errorf("of another node: %v", a)
	}
}
