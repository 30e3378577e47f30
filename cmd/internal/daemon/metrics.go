package daemon

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tenks/raftfsm/state"
)

// metrics is what /metrics serves.
type metrics struct{ registry *prometheus.Registry }

// newMetrics returns the metrics of an agent, read when they are asked for.
func newMetrics(a *agent) *metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &stateCollector{a}, &bmcCollector{a.recorder})
	return &metrics{r}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// stateCollector derives metrics from the newest snapshot.
type stateCollector struct{ a *agent }

var (
	descNodes = prometheus.NewDesc("tenks_nodes", "Nodes by phase.", []string{"phase"}, nil)
	descIndex = prometheus.NewDesc("tenks_log_index", "Log index of the newest state.", nil, nil)
	descLead  = prometheus.NewDesc("tenks_leader", "1 if this peer leads.", nil, nil)
	descPass  = prometheus.NewDesc("tenks_host_passes_total", "Reconcile passes of this host.", nil, nil)
	descMoved = prometheus.NewDesc("tenks_move_sent_bytes_total", "Bytes of files of nodes that moved away from this host.", nil, nil)
	descWrite = prometheus.NewDesc("tenks_host_writes_total", "Writes of this host's reconciler to drivers and links.", []string{"to"}, nil)
)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descNodes, descIndex, descLead, descPass, descWrite, descMoved} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	snap, _ := c.a.source.Snapshot()
	phases := map[state.Phase]int{}
	for _, n := range snap.Nodes() {
		phase, _ := n.Phase()
		phases[phase]++
	}
	for phase, n := range phases {
		ch <- prometheus.MustNewConstMetric(descNodes, prometheus.GaugeValue, float64(n), string(phase))
	}
	lead := 0.0
	if c.a.mesh.IsLeader() {
		lead = 1
	}
	stats := c.a.host.Stats()
	ch <- prometheus.MustNewConstMetric(descIndex, prometheus.GaugeValue, float64(snap.Index()))
	ch <- prometheus.MustNewConstMetric(descLead, prometheus.GaugeValue, lead)
	ch <- prometheus.MustNewConstMetric(descPass, prometheus.CounterValue, float64(stats.Passes))
	ch <- prometheus.MustNewConstMetric(descWrite, prometheus.CounterValue, float64(stats.DriverWrites), "driver")
	ch <- prometheus.MustNewConstMetric(descWrite, prometheus.CounterValue, float64(stats.LinkWrites), "link")
	ch <- prometheus.MustNewConstMetric(descMoved, prometheus.CounterValue, float64(c.a.outgoing.sent.Load()))
}
