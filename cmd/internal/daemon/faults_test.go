package daemon

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tenks/bmc/record"
	"tenks/raftfsm/state"
)

func TestRequestsToBMCsAreMetrics(t *testing.T) {
	r := record.New(record.Config{Log: slog.New(slog.DiscardHandler)})
	for _, took := range []time.Duration{2 * time.Millisecond, 2 * time.Second} {
		r.Observe(record.Call{Protocol: "ipmi", Method: "Chassis Control", Result: record.OK, Took: took})
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&bmcCollector{r})
	const want = `
# HELP tenks_bmc_request_seconds Time of requests to BMCs on this host.
# TYPE tenks_bmc_request_seconds histogram
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="0.001"} 0
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="0.005"} 1
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="0.02"} 1
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="0.1"} 1
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="0.5"} 1
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="1"} 1
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="5"} 2
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="30"} 2
tenks_bmc_request_seconds_bucket{method="Chassis Control",protocol="ipmi",result="ok",le="+Inf"} 2
tenks_bmc_request_seconds_sum{method="Chassis Control",protocol="ipmi",result="ok"} 2.002
tenks_bmc_request_seconds_count{method="Chassis Control",protocol="ipmi",result="ok"} 2
# HELP tenks_bmc_audit_lost_total Lines of this host's audit of BMCs that were not written.
# TYPE tenks_bmc_audit_lost_total counter
tenks_bmc_audit_lost_total 0
`
	rec := httptest.NewRecorder()
	(&metrics{registry}).handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(strings.TrimSpace(want)) {
		if !strings.Contains(rec.Body.String(), strings.TrimSpace(line)+"\n") {
			t.Errorf("no line %q in\n%s", line, rec.Body)
		}
	}
}

func TestAResetOfABMCIsSeenOnceByRedfish(t *testing.T) {
	node := func(uuid, hypervisor string) *state.Node {
		return &state.Node{UUID: uuid, Name: uuid, LinkName: uuid, Cluster: "demo", Placement: &state.Placement{Hypervisor: hypervisor, Epoch: 1, BMC: state.NoEndpoint(uuid)}}
	}
	reset := func(id, protocol string, f state.Fault) *state.Fault {
		f.ID, f.Kind, f.Protocol, f.ForMilli = id, state.FaultBMCReset, protocol, 60000
		return &f
	}
	var r resets
	index := uint64(0)
	begun := func(faults ...*state.Fault) string {
		t.Helper()
		s := state.New()
		index++
		if err := s.Load(state.Dump{Index: index, Nodes: []*state.Node{node("A", "h1"), node("b", "h2")}, Hypervisors: []*state.Hypervisor{{ID: "h1", Name: "hv1"}, {ID: "h2", Name: "hv2"}}, Faults: faults}); err != nil {
			t.Fatal(err)
		}
		snap, _ := s.Snapshot()
		return strings.Join(r.begun(snap), " ")
	}
	all := reset("1", "", state.Fault{Clusters: []string{"demo"}})
	redfish := reset("2", "redfish", state.Fault{Hypervisors: []string{"h2"}})
	ipmi := reset("3", "ipmi", state.Fault{Nodes: []string{"A"}})
	drop := &state.Fault{ID: "4", Kind: state.FaultDrop, ForMilli: 60000, Nodes: []string{"A"}}
	for i, step := range []struct {
		faults []*state.Fault
		want   string
	}{{nil, ""}, {[]*state.Fault{ipmi, drop}, ""}, {[]*state.Fault{all}, "a b"}, {[]*state.Fault{all, redfish}, "b"}, {[]*state.Fault{all, redfish}, ""}, {nil, ""}, {[]*state.Fault{all}, "a b"}} {
		if got := begun(step.faults...); got != step.want {
			t.Errorf("step %d: nodes %q, want %q", i, got, step.want)
		}
	}
}
