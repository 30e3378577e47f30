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
