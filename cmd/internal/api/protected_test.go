package api_test

import (
	"net/http"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// What is protected in Ironic does not go by force either: that is said before anything is
// done, and not by a node that is being removed for ever.
func TestWhatIsProtectedIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	w.demo()
	const why = "node tk1 is protected in Ironic, against --force as well"
	w.used = map[string]string{w.node("tk1").UUID: why}
	w.handler = w.with(func(c *api.Config) { c.Protected = w.removable })
	for _, n := range w.snap().Nodes() {
		w.do(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "available"}}}})
	}
	before := w.snap().Index()
	for name, c := range map[string]struct {
		method, path string
		body         any
	}{
		"count":       {"POST", "/v1/apply", api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 0", 1), Force: true}},
		"the node":    {"DELETE", "/v1/nodes/tk1", api.DestroyRequest{Force: true}},
		"the cluster": {"DELETE", "/v1/clusters/demo", api.DestroyRequest{Force: true}},
	} {
		if a := w.call(c.method, c.path, c.body); a.status != http.StatusConflict || w.fault(a) != why {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if w.snap().Index() != before {
		t.Error("something was done")
	}
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 1", 1)}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !w.node("tk0").Removing || w.node("tk1").Removing {
		t.Error("the one that is protected was chosen, although there was another")
	}
	w.used = nil
	if a := w.call("DELETE", "/v1/clusters/demo", api.DestroyRequest{Force: true}); a.status != http.StatusAccepted {
		t.Errorf("once it is not protected: %d %s", a.status, a.body)
	}
}
