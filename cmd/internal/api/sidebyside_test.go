package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// clusterFile is demo under another name, of so many nodes.
func clusterFile(name string, count int) string {
	return strings.NewReplacer("cluster: demo", "cluster: "+name, "count: 2", fmt.Sprintf("count: %d", count)).Replace(demoFile)
}

// Clusters that are applied at once want the same names: each plan is made for a state in
// which they are free.
func TestClustersThatAreAppliedAtOnceGetNodesOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	raced := 0
	w.handler = w.with(func(c *api.Config) {
		c.Propose = func(ctx context.Context, request string, cmd state.Command) (uint64, error) {
			if apply, ok := cmd.(state.ApplyCluster); ok && apply.Cluster.Name == "a" && raced < 2 {
				raced++
				// Another is faster, each time that a plan was made.
				if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile(fmt.Sprintf("a-%d", raced), 2)}); a.status != http.StatusOK {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			return w.propose(ctx, request, cmd)
		}
	})
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("a", 2), Request: "r1"}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	links, macs := map[string]bool{}, map[string]bool{}
	for _, n := range w.snap().Nodes() {
		links[n.LinkName], macs[n.Ports[0].MAC] = true, true
	}
	if len(w.snap().Nodes()) != 6 || len(links) != 6 || len(macs) != 6 || len(w.snap().NodesOf("a")) != 2 {
		t.Errorf("%d nodes, %d names of links, %d MACs; want 6", len(w.snap().Nodes()), len(links), len(macs))
	}
	// The answer to the request is known, under whichever try it was given.
	index := w.snap().Index()
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("a", 2), Request: "r1"}); a.status != http.StatusOK || w.snap().Index() != index {
		t.Errorf("asked again: %d %s", a.status, a.body)
	}
	// A plan that somebody has looked at is not replaced by another.
	var p api.Plan
	if err := json.Unmarshal([]byte(w.call("POST", "/v1/plan", api.ApplyRequest{File: clusterFile("b", 1)}).body), &p); err != nil {
		t.Fatal(err)
	}
	w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("c", 1)})
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("b", 1), Plan: p.Fingerprint}); a.status != http.StatusConflict || !strings.Contains(w.fault(a), "the plan is another one by now") {
		t.Errorf("an old plan: %d %s", a.status, a.body)
	}
}

// Whoever asks at the same time, a quota is not exceeded, and nobody's nodes go because of it.
func TestAQuotaHoldsAgainstAppliesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.do(state.SetQuota{Cluster: "q", Quota: state.Quota{Nodes: 5}})
	var g sync.WaitGroup
	for count := 1; count <= 9; count++ {
		g.Go(func() { w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("q", count)}) })
	}
	g.Wait()
	if u := w.snap().Usage("q"); u.Nodes > 5 || u.Nodes == 0 {
		t.Errorf("%d nodes, the limit is 5", u.Nodes)
	}
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("q", 5)}); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.do(state.SetQuota{Cluster: "q", Quota: state.Quota{Nodes: 3}})
	if q := decode[api.Cluster](w, "/v1/clusters/q").Quota; q == nil || q.Nodes != 3 || q.UsedNodes != 5 || w.snap().Usage("q").Nodes != 5 {
		t.Errorf("a limit below what is used: %+v", q)
	}
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: strings.Replace(clusterFile("q", 5), "memory_mb: 512", "memory_mb: 256", 1)}); a.status != http.StatusOK {
		t.Errorf("what does not grow: %d %s", a.status, a.body)
	}
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: clusterFile("q", 6)}); a.status != http.StatusConflict || !strings.Contains(w.fault(a), "nodes: 5 used, 6 asked for, the limit is 3") {
		t.Errorf("what grows: %d %s", a.status, a.body)
	}
}
