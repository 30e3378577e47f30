package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

func TestANodeIsRecoveredWhenAskedFor(t *testing.T) {
	w := newWorld(t)
	w.demo()
	n := w.node("tk0")
	if a := w.call("POST", "/v1/nodes/tk0/recover", nil); a.status != http.StatusConflict || w.fault(a) != `node "tk0": is not in Ironic` {
		t.Errorf("one that is not in Ironic: %d %s", a.status, a.body)
	}
	w.do(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "clean failed", Record: "r1"}}}})
	if a := w.call("POST", "/v1/nodes/tk0/recover", nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := w.node("tk0").RecoverIndex; got != w.snap().Index() {
		t.Errorf("asked for at %d, want %d", got, w.snap().Index())
	}
	if got := decode[api.Node](w, "/v1/nodes/tk0").Ironic; got.UUID != "r1" || got.State != "available" || got.ResourceClass == "" {
		t.Errorf("shown as %+v", got)
	}
	if a := w.call("POST", "/v1/nodes/tk9/recover", nil); a.status != http.StatusNotFound {
		t.Errorf("another node: %d %s", a.status, a.body)
	}
}

func TestImagesThatGlanceDoesNotHaveAreRefused(t *testing.T) {
	w := newWorld(t)
	w.handler = w.with(func(c *api.Config) {
		c.Images = func(_ context.Context, _ state.IronicAccess, image string) (string, error) {
			switch image {
			case "missing":
				return `image "missing": Glance has none`, nil
			case "unknown":
				return "", errors.New("no answer")
			}
			return "", nil
		}
	})
	for image, refused := range map[string]bool{"missing": true, "unknown": false, "there": false} {
		file := strings.Replace(demoFile, `{endpoint: "http://192.0.2.9:6385"}`, "{cloud: lab}\ndeploy_kernel: "+image+"\ndeploy_ramdisk: "+image, 1)
		a := w.call("POST", "/v1/apply", api.ApplyRequest{File: file, CloudYAML: "clouds: {}"})
		if got := a.status == http.StatusConflict && w.fault(a) == `cluster demo: deploy_kernel, deploy_ramdisk: image "missing": Glance has none`; got != refused {
			t.Errorf("%s: %d %s", image, a.status, a.body)
		}
	}
}

// What Ironic last said may be half a minute old.
func TestIronicIsAskedBeforeNodesLoseData(t *testing.T) {
	w := newWorld(t)
	w.demo()
	n := w.node("tk0")
	w.do(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "available"}}}})
	w.used = map[string]string{n.UUID: "node tk0 is deploying in Ironic"}
	r := api.ApplyRequest{File: strings.Replace(demoFile, "4GiB", "2GiB", 1), AllowDataLoss: true}
	before := w.snap().Index()
	if a := w.call("POST", "/v1/apply", r); a.status != http.StatusConflict || w.fault(a) != "node tk0 is deploying in Ironic" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if w.snap().Index() != before {
		t.Error("something was done")
	}
	r.Force = true
	if a := w.call("POST", "/v1/apply", r); a.status != http.StatusOK {
		t.Errorf("forced: %d %s", a.status, a.body)
	}
}
