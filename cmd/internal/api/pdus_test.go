package api_test

import (
	"net/http"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

func TestPDUsAndTheirOutlets(t *testing.T) {
	w := newWorld(t)
	file := strings.Replace(demoFile, "count: 2,", "count: 2, pdu: rack1,", 1) + "pdus: {rack1: {community_file: /c}, empty: {user: ops, password_file: /p}}\n"
	r := api.ApplyRequest{File: file, PDUs: map[string]api.PDUSecrets{"rack1": {Community: "a-community"}, "empty": {Password: "a-password"}}}
	if a := w.call("POST", "/v1/plan", r); a.status != http.StatusOK || strings.Contains(a.body, "a-community") || strings.Contains(a.body, "a-password") ||
		!strings.Contains(a.body, "outlet 2 of rack1") {
		t.Errorf("plan: %d %s", a.status, a.body)
	}
	if a := w.call("POST", "/v1/apply", r); a.status != http.StatusOK {
		t.Fatalf("apply: %v", a)
	}
	list := decode[[]api.PDU](w, "/v1/pdus")
	if len(list) != 2 || list[0].Name != "empty" || list[0].User != "ops" || list[0].Community || len(list[0].Outlets) != 0 {
		t.Fatalf("PDUs %+v", list)
	}
	if o := list[1].Outlets; !list[1].Community || len(o) != 2 || o[0].Number != 1 || o[1].Node != "tk1" || o[0].State != "unknown" {
		t.Errorf("outlets %+v", o)
	}
	if n := decode[api.Node](w, "/v1/nodes/tk1?secrets=true"); n.Plug == nil || *n.Plug != (api.Plug{PDU: "rack1", Outlet: 2}) {
		t.Errorf("plug %+v", n.Plug)
	}
	for _, path := range []string{"/v1/pdus", "/v1/nodes?secrets=true", "/v1/clusters/demo", "/v1/clusters/demo/file", "/v1/events"} {
		if a := w.call("GET", path, nil); a.status != http.StatusOK || strings.Contains(a.body, "a-community") || strings.Contains(a.body, "a-password") {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
}

func TestOutletsThatCannotBeSwitched(t *testing.T) {
	w := newWorld(t)
	w.demo()
	for _, c := range []struct {
		node, command string
		status        int
		want          string
	}{
		{"tk0", "explode", http.StatusBadRequest, `outlet command "explode": not one of on, off, reboot`},
		{"tk0", "off", http.StatusConflict, "node tk0 is plugged into no PDU: name one of pdus in its spec"},
		{"tk9", "off", http.StatusNotFound, `node "tk9": not found; see tenks node list`},
	} {
		a := w.call("POST", "/v1/nodes/"+c.node+"/outlet", api.OutletRequest{Command: c.command})
		if got := w.fault(a); a.status != c.status || got != c.want {
			t.Errorf("%s %s: %d %s, want %d %s", c.node, c.command, a.status, got, c.status, c.want)
		}
	}
}
