package daemon

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tenks/bmc/fault"
	"tenks/bmc/record"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// faultsEvery is how often faults whose time is over are looked for.
const faultsEvery = time.Second

// endFaults ends faults whose time is over, by this peer's reckoning, for as long as it
// leads. Every peer stops applying them by itself: this is what takes them off the list.
func (a *agent) endFaults(ctx context.Context) error {
	for ctx.Err() == nil {
		if ended := a.bmcs.EndedFaults(); len(ended) > 0 {
			if _, err := a.propose(ctx, "", state.EndFaults{IDs: ended, Expired: true}); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "faults not ended; will retry", "err", err)
			}
		}
		sleep(ctx, faultsEvery)
	}
	return nil
}

// resets are the faults whose resets of BMCs have ended Redfish's sessions here. Sessions
// are this peer's, wherever the node is. It is used by one goroutine.
type resets struct{ done map[string]bool }

// begun returns the nodes whose BMCs a snapshot has begin to reset, if Redfish notices.
func (r *resets) begun(snap *state.Snapshot) (nodes []string) {
	done := map[string]bool{}
	for _, f := range snap.Faults() {
		if f.Kind != state.FaultBMCReset || f.Protocol != "" && f.Protocol != fault.Redfish {
			continue
		}
		if done[f.ID] = true; r.done[f.ID] {
			continue
		}
		for _, n := range snap.Nodes() {
			if f.Concerns(n) {
				nodes = append(nodes, strings.ToLower(n.UUID))
			}
		}
	}
	r.done = done
	return nodes
}

// FaultCounts implements api.Faults.
func (a *agent) FaultCounts() map[string]api.FaultCount {
	out := map[string]api.FaultCount{}
	for id, c := range a.bmcs.FaultCounts() {
		out[id] = api.FaultCount{Asked: c.Asked, Hit: c.Hit}
	}
	return out
}

// PeerFaultCounts implements api.Faults.
func (a *agent) PeerFaultCounts(ctx context.Context, peers []string) map[string]map[string]api.FaultCount {
	return askPeers[map[string]api.FaultCount](ctx, a, peers, "/v1/fault-counts")
}

// bmcCollector serves what was counted of requests to BMCs.
type bmcCollector struct{ recorder *record.Recorder }

var (
	descBMC  = prometheus.NewDesc("tenks_bmc_request_seconds", "Time of requests to BMCs on this host.", []string{"protocol", "method", "result"}, nil)
	descLost = prometheus.NewDesc("tenks_bmc_audit_lost_total", "Lines of this host's audit of BMCs that were not written.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *bmcCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBMC
	ch <- descLost
}

// Collect implements prometheus.Collector.
func (c *bmcCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.recorder.Series() {
		within := make(map[float64]uint64, len(record.Buckets))
		for i, b := range record.Buckets {
			within[b.Seconds()] = s.Within[i]
		}
		ch <- prometheus.MustNewConstHistogram(descBMC, s.Count, s.Sum.Seconds(), within, s.Protocol, s.Method, s.Result)
	}
	ch <- prometheus.MustNewConstMetric(descLost, prometheus.CounterValue, float64(c.recorder.Lost()))
}
