package api_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

const flavorFile = `cluster: demo
node_types:
  small: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 4GiB}], driver: fake}
specs:
- {type: small, count: 1, ironic_config: {resource_class: bm}}
- {type: small, count: 1, node_name_prefix: plain}
ironic: {cloud: lab}
nova_flavors: [{resource_class: bm, node_type: small}]
wait_for_placement: true
`

func TestFlavorsAreInThePlanAndTheCluster(t *testing.T) {
	w := newWorld(t)
	req := api.ApplyRequest{File: flavorFile, CloudYAML: "clouds: {lab: {}}"}
	plan := w.call("POST", "/v1/plan", req)
	if want := `"flavors":[{"action":"create","name":"bm","reasons":["512 MiB, 1 vCPUs, 4 GiB, resource class bm"]}]`; !strings.Contains(plan.body, want) {
		t.Errorf("plan %s, want %s in it", plan.body, want)
	}
	w.call("POST", "/v1/apply", req)
	view := func(want api.Cluster) {
		t.Helper()
		got := decode[api.Cluster](w, "/v1/clusters/demo")
		got = api.Cluster{Flavors: got.Flavors, FlavorsPending: got.FlavorsPending, FlavorsReason: got.FlavorsReason, WaitForPlacement: got.WaitForPlacement}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cluster (-want +got):\n%s", diff)
		}
	}
	view(api.Cluster{Flavors: []api.Flavor{{Name: "bm"}}, FlavorsPending: true, WaitForPlacement: true})
	report := func(f ...state.FlavorReport) {
		c, _ := w.snap().Cluster("demo")
		w.do(state.ReportFlavors{Clusters: []state.ClusterFlavorReport{{Cluster: "demo", Status: state.FlavorStatus{Begun: true, Index: c.ModifyIndex, Flavors: f}}}})
	}
	report(state.FlavorReport{Name: "bm", Error: "taken"}, state.FlavorReport{Name: "old", ID: "f0"})
	view(api.Cluster{Flavors: []api.Flavor{{Name: "bm", Reason: "taken"}, {Name: "old", ID: "f0"}},
		FlavorsPending: true, FlavorsReason: "flavor bm: taken", WaitForPlacement: true})
	report(state.FlavorReport{Name: "bm", ID: "f1"})
	view(api.Cluster{Flavors: []api.Flavor{{Name: "bm", ID: "f1"}}, WaitForPlacement: true})
	if again := w.call("POST", "/v1/plan", req); !strings.Contains(again.body, `"changed":false`) {
		t.Errorf("plan of the same file: %s", again.body)
	}
}

func TestPlacementIsAskedForEnrolledNodes(t *testing.T) {
	w := newWorld(t)
	var asked []string
	answer := map[string][]string{}
	var fault error
	w.handler = w.with(func(c *api.Config) {
		c.Placement = func(_ context.Context, access state.IronicAccess, nodes []*state.Node) (map[string][]string, error) {
			asked = nil
			for _, n := range nodes {
				asked = append(asked, n.Name)
				answer[n.UUID] = answer[""]
			}
			return answer, fault
		}
	})
	w.call("POST", "/v1/apply", api.ApplyRequest{File: flavorFile, CloudYAML: "clouds: {lab: {}}"})
	if got := decode[api.Placement](w, "/v1/clusters/demo/placement"); len(got.Nodes) != 1 || len(got.Nodes[0].Lacks) > 0 || !slices.Equal(asked, []string{"tk0"}) {
		t.Errorf("%+v of %q, want tk0 offered", got, asked)
	}
	answer[""] = []string{"CUSTOM_BM"}
	if got := decode[api.Placement](w, "/v1/clusters/demo/placement"); !slices.Equal(got.Nodes[0].Lacks, []string{"CUSTOM_BM"}) {
		t.Errorf("%+v, want what it lacks", got)
	}
	fault = errors.New("placement of cloud lab: no answer in time")
	if a := w.call("GET", "/v1/clusters/demo/placement", nil); a.status != http.StatusBadGateway || w.fault(a) != fault.Error() {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("GET", "/v1/clusters/other/placement", nil); a.status != http.StatusNotFound {
		t.Errorf("of no cluster: %d %s", a.status, a.body)
	}
}
