package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cluster"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/raftfsm/state"
)

func TestRequestsAreAnsweredWithTheStatusThatFits(t *testing.T) {
	apply := api.ApplyRequest{File: strings.ReplaceAll(demoFile, "512", "1024")}
	tests := []struct {
		name, method, path string
		body               any
		refuse, chassis    error
		status             int
		text               string
	}{
		{"no such node", "GET", "/v1/nodes/tk9", nil, nil, nil, 404, `node "tk9": not found; see tenks node list`},
		{"no such cluster", "GET", "/v1/clusters/x", nil, nil, nil, 404, `cluster "x": not found`},
		{"no file of no cluster", "GET", "/v1/clusters/x/file", nil, nil, nil, 404, `cluster "x": not found`},
		{"destroys no such cluster", "DELETE", "/v1/clusters/x", nil, nil, nil, 404, `cluster "x": not found`},
		{"removes no such node", "DELETE", "/v1/nodes/x", nil, nil, nil, 404, `node "x": not found`},
		{"power of no such node", "POST", "/v1/nodes/x/power", api.PowerRequest{Action: "on"}, nil, nil, 404, "not found"},
		{"console of no such node", "POST", "/v1/nodes/x/console", nil, nil, nil, 426, "Upgrade: tenks-console"},
		{"unknown field", "POST", "/v1/apply", `{"fiel": ""}`, nil, nil, 400, `unknown field "fiel"`},
		{"no JSON", "POST", "/v1/plan", `cluster: demo`, nil, nil, 400, "invalid character"},
		{"a cluster file with faults", "POST", "/v1/plan", api.ApplyRequest{Name: "x.yml", File: "cluster: demo\ncolour: red"}, nil, nil, 400, "x.yml:2: colour: unknown key"},
		{"a wrong type", "POST", "/v1/nodes/tk0/boot", `{"persistent": "yes"}`, nil, nil, 400, "persistent"},
		{"unknown power action", "POST", "/v1/nodes/tk0/power", api.PowerRequest{Action: "up"}, nil, nil, 400, `power action "up": not one of on,`},
		{"unknown boot device", "POST", "/v1/nodes/tk0/boot", api.BootRequest{Device: "floppy"}, nil, nil, 400, `boot device "floppy": not one of`},
		{"no index", "GET", "/v1/nodes?after=x", nil, nil, nil, 400, `after "x": not a log index`},
		{"no index of events", "GET", "/v1/events?after=-1", nil, nil, nil, 400, `after "-1": not a log index`},
		{"the state changed", "POST", "/v1/apply", apply, state.ErrConflict, nil, 409, "the state changed meanwhile"},
		{"no leader", "POST", "/v1/apply", apply, cluster.ErrNotLeader, nil, 503, cluster.ErrNotLeader.Error()},
		{"leadership lost", "DELETE", "/v1/nodes/tk0", nil, cluster.ErrUnknown, nil, 503, cluster.ErrUnknown.Error()},
		{"out of time", "DELETE", "/v1/clusters/demo", nil, context.DeadlineExceeded, nil, 503, "deadline"},
		{"what nobody expected", "DELETE", "/v1/clusters/demo", nil, errors.New("disk full"), nil, 500, "disk full"},
		{"chassis is busy", "POST", "/v1/nodes/tk0/power", api.PowerRequest{Action: "on"}, nil, state.ErrBusy, 503, "node tk0: power on: "},
		{"not while it is off", "POST", "/v1/nodes/tk0/power", api.PowerRequest{Action: "reset"}, nil, state.ErrWrongState, 409, "node tk0: power reset: "},
		{"the driver cannot", "POST", "/v1/nodes/tk0/power", api.PowerRequest{Action: "nmi"}, nil, state.ErrUnsupported, 501, "not supported by this driver"},
		{"boot override of a busy chassis", "POST", "/v1/nodes/tk0/boot", api.BootRequest{Device: "pxe"}, nil, state.ErrBusy, 503, "node tk0: boot pxe: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.demo()
			before := w.snap().Index()
			w.refuse = tt.refuse
			if tt.chassis != nil {
				w.chassis[w.node("tk0").UUID].FailNext(tt.chassis)
			}
			a := w.call(tt.method, tt.path, tt.body)
			if a.status != tt.status || !strings.Contains(w.fault(a), tt.text) {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, tt.status, tt.text)
			}
			if w.snap().Index() != before {
				t.Error("the log changed")
			}
			if logged := w.log.Len() > 0; logged != (tt.status >= 500) {
				t.Errorf("status %d, logged: %s", tt.status, w.log.String())
			}
		})
	}
}

func (w *world) node(name string) *state.Node {
	w.t.Helper()
	n, ok := w.snap().NodeByName(name)
	if !ok {
		w.t.Fatalf("no node %s", name)
	}
	return n
}

func TestUnknownPathsAndMethodsAreRefused(t *testing.T) {
	w := newWorld(t)
	if a := w.call("GET", "/v1/nothing", nil); a.status != http.StatusNotFound {
		t.Errorf("unknown path: %d", a.status)
	}
	if a := w.call("PUT", "/v1/nodes", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("unknown method: %d", a.status)
	}
}

func TestAnswersWithoutALeaderSaySo(t *testing.T) {
	w := newWorld(t)
	w.demo()
	w.leader = ""
	for path, want := range map[string]bool{"/v1/nodes": true, "/v1/status": true, "/v1/nodes/tk0/chassis": false, "/v1/version": false} {
		a := w.call("GET", path, nil)
		if got := a.header.Get(api.WarningHeader); a.status != http.StatusOK || strings.Contains(got, "no peer leads") != want {
			t.Errorf("%s: %d, warning %q; want one: %t", path, a.status, got, want)
		}
	}
}

func TestBodiesHaveALimit(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", "/v1/plan", `{"file": "`+strings.Repeat("#", 9<<20)+`"}`)
	if a.status != http.StatusBadRequest || !strings.Contains(a.body, "too large") {
		t.Errorf("9 MiB: %d %.100s", a.status, a.body)
	}
}

func TestChassisRequestsReachTheChassis(t *testing.T) {
	w := newWorld(t)
	w.demo()
	for _, step := range []struct {
		path, body string
		want       api.Chassis
	}{
		{"power", `{"action": "on"}`, api.Chassis{Power: "on", RestorePolicy: "previous"}},
		{"boot", `{"device": "pxe", "persistent": true, "efi": true}`, api.Chassis{Power: "on", BootDevice: "pxe", Persistent: true, EFI: true, RestorePolicy: "previous"}},
		{"boot", `{"device": "none"}`, api.Chassis{Power: "on", RestorePolicy: "previous"}},
		{"power", `{"action": "off"}`, api.Chassis{Power: "off", RestorePolicy: "previous"}},
	} {
		a := w.call("POST", "/v1/nodes/tk0/"+step.path, step.body)
		var got api.Chassis
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", step.path, step.body, a.status, a.body)
		}
		if got != step.want || got != decode[api.Chassis](w, "/v1/nodes/tk0/chassis") {
			t.Errorf("%s %s: got %+v, want %+v", step.path, step.body, got, step.want)
		}
	}
	if got := w.chassis[w.node("tk1").UUID].Actions(); len(got) > 0 {
		t.Errorf("the other node was switched, too: %v", got)
	}
}

func TestANodeThatIsNotThereYetHasNoChassis(t *testing.T) {
	w := newWorld(t)
	w.call("POST", "/v1/apply", api.ApplyRequest{File: demoFile})
	a := w.call("POST", "/v1/nodes/tk0/power", api.PowerRequest{Action: "on"})
	if a.status != http.StatusConflict || !strings.Contains(w.fault(a), "node tk0 is not placed yet") {
		t.Errorf("unplaced: %d %s", a.status, a.body)
	}
	w.do(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: w.node("tk0").UUID, Hypervisor: hypervisorID, BMC: state.Endpoint{Address: "192.0.2.1", Port: 6230}}}})
	a = w.call("GET", "/v1/nodes/tk0/chassis", nil)
	if a.status != http.StatusConflict || !strings.Contains(w.fault(a), "node tk0 is not there yet on hv1") {
		t.Errorf("placed: %d %s", a.status, a.body)
	}
}

func TestNodesAreFoundByNameAndByUUID(t *testing.T) {
	w := newWorld(t)
	w.demo()
	byName := decode[api.Node](w, "/v1/nodes/tk1")
	byUUID := decode[api.Node](w, "/v1/nodes/"+byName.UUID)
	if diff := cmp.Diff(byName, byUUID); diff != "" || byName.Name != "tk1" {
		t.Error(diff)
	}
}

func TestNodesAreListedInTheOrderOfTheirNumbers(t *testing.T) {
	w := newWorld(t)
	w.call("POST", "/v1/apply", api.ApplyRequest{AllowUnplaced: true, File: strings.Replace(demoFile, "count: 2", "count: 12", 1)})
	var got []string
	for _, n := range decode[[]api.Node](w, "/v1/nodes?cluster=demo") {
		got = append(got, n.Name)
	}
	want := "tk0 tk1 tk2 tk3 tk4 tk5 tk6 tk7 tk8 tk9 tk10 tk11"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if n := len(decode[[]api.Node](w, "/v1/nodes?cluster=other")); n != 0 {
		t.Errorf("another cluster has %d nodes", n)
	}
}

// TestNodeLooksAsScriptsExpect holds DESIGN.md §10: no key may go or be renamed.
func TestNodeLooksAsScriptsExpect(t *testing.T) {
	w := newWorld(t)
	w.demo()
	for file, path := range map[string]string{"node.json": "/v1/nodes/tk0", "node-secrets.json": "/v1/nodes/tk0?secrets=true",
		"status.json": "/v1/status", "peers.json": "/v1/peers", "clusters.json": "/v1/clusters"} {
		a := w.call("GET", path, nil)
		golden(t, file, scrub(a.body))
		if a.header.Get(api.IndexHeader) != fmt.Sprint(w.snap().Index()) {
			t.Errorf("%s: index %q, want %d", path, a.header.Get(api.IndexHeader), w.snap().Index())
		}
	}
	password := w.node("tk0").BMC.Password.Reveal()
	if password == "" || strings.Contains(w.call("GET", "/v1/nodes/tk0", nil).body, password) {
		t.Errorf("the password %q is shown without being asked for", password)
	}
	if got := decode[api.Node](w, "/v1/nodes/tk0?secrets=true").BMC.Password; got != password {
		t.Errorf("the password that was asked for is %q, want %q", got, password)
	}
}

var random = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f-]{21}|52:54:00(:[0-9a-f]{2}){3}|"password": "[^"]+"`)

// scrub replaces what is different in every run, and indents.
func scrub(text string) string {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return text
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return text
	}
	return random.ReplaceAllStringFunc(string(b), func(s string) string {
		switch {
		case strings.HasPrefix(s, `"password`):
			return `"password": "PASSWORD"`
		case strings.HasPrefix(s, "52:54"):
			return "MAC"
		}
		return "UUID"
	}) + "\n"
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := "testdata/" + file
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (UPDATE=1 writes it anew): -want +got\n%s", path, diff)
	}
}

func TestStatusNamesWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	if s := decode[api.Status](w, "/v1/status"); !s.Healthy || s.Leader != "hv1" {
		t.Errorf("all is well, and status says %+v", s)
	}
	if a := w.call("GET", "/readyz", nil); a.status != http.StatusOK {
		t.Errorf("ready: %d", a.status)
	}
	w.leader = ""
	w.checks = []api.Check{{Name: "driver libvirt", State: "error", Detail: "no library"}, {Name: "kvm", State: "warning", Detail: "slow"}}
	s := decode[api.Status](w, "/v1/status")
	if diff := cmp.Diff([]string{"driver libvirt: no library", "no leader is known"}, s.Problems); diff != "" || s.Healthy {
		t.Errorf("healthy %t, problems: -want +got\n%s", s.Healthy, diff)
	}
	if a := w.call("GET", "/readyz", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("ready without a leader: %d", a.status)
	}
	if a := w.call("GET", "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("healthz: %d", a.status)
	}
}

func TestAPlanChangesNothingAndAnApplyIsTheSame(t *testing.T) {
	w := newWorld(t)
	before := w.snap().Index()
	a := w.call("POST", "/v1/plan", api.ApplyRequest{File: demoFile})
	var plan, applied api.Plan
	if err := json.Unmarshal([]byte(a.body), &plan); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if w.snap().Index() != before || plan.Index != 0 || !plan.Changed || len(plan.Steps) != 2 || plan.Steps[0].Hypervisor != "hv1" {
		t.Errorf("a plan at index %d: %+v", w.snap().Index(), plan)
	}
	a = w.call("POST", "/v1/apply", api.ApplyRequest{File: demoFile, Plan: plan.Fingerprint})
	if err := json.Unmarshal([]byte(a.body), &applied); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if applied.Index != w.snap().Index() || applied.Fingerprint != plan.Fingerprint {
		t.Errorf("planned %+v, applied %+v", plan, applied)
	}
	// Once more: nothing is written.
	a = w.call("POST", "/v1/apply", api.ApplyRequest{File: demoFile})
	if err := json.Unmarshal([]byte(a.body), &applied); err != nil || applied.Changed || applied.Index != 0 || w.snap().Index() != before+1 {
		t.Errorf("second apply: %+v, index %d", applied, w.snap().Index())
	}
}

func TestAPlanThatIsAnotherOneByNowIsRefused(t *testing.T) {
	w := newWorld(t)
	w.demo()
	bigger := api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 3", 1)}
	var plan api.Plan
	if err := json.Unmarshal([]byte(w.call("POST", "/v1/plan", bigger).body), &plan); err != nil {
		t.Fatal(err)
	}
	// Somebody else is quicker.
	w.call("POST", "/v1/apply", api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 4", 1)})
	before := w.snap().Index()
	bigger.Plan = plan.Fingerprint
	a := w.call("POST", "/v1/apply", bigger)
	if a.status != http.StatusConflict || !strings.Contains(w.fault(a), "the plan is another one by now") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if w.snap().Index() != before {
		t.Error("it was applied all the same")
	}
}

func TestAPlanSaysWhatTheMeshMayNotUseYet(t *testing.T) {
	w := newWorld(t)
	w.handler = w.with(func(c *api.Config) {
		c.Allowed = func(c state.Command) error {
			return fmt.Errorf("%w: %s: upgrade first: hv2 (voter)", state.ErrRefused, c.(state.ApplyCluster).Cluster.Name)
		}
	})
	before := w.snap().Index()
	const want = "refused: demo: upgrade first: hv2 (voter)"
	var plan api.Plan
	if err := json.Unmarshal([]byte(w.call("POST", "/v1/plan", api.ApplyRequest{File: demoFile}).body), &plan); err != nil || !slices.Equal(plan.Refusals, []string{want}) {
		t.Errorf("plan: %+v, %v", plan.Refusals, err)
	}
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: demoFile}); a.status != http.StatusConflict || w.fault(a) != want || w.snap().Index() != before {
		t.Errorf("apply: %d %s, index %d", a.status, a.body, w.snap().Index())
	}
}

func TestAnApplyThatNoHypervisorCanTakeIsRefused(t *testing.T) {
	w := newWorld(t)
	huge := api.ApplyRequest{File: strings.Replace(demoFile, "512", "512000", 1)}
	if a := w.call("POST", "/v1/apply", huge); a.status != http.StatusConflict || !strings.Contains(w.fault(a), "tk0") {
		t.Errorf("%d %s", a.status, a.body)
	}
	huge.AllowUnplaced = true
	if a := w.call("POST", "/v1/apply", huge); a.status != http.StatusOK {
		t.Errorf("allowed: %d %s", a.status, a.body)
	}
}

func TestTheSameRequestIsAppliedOnce(t *testing.T) {
	w := newWorld(t)
	req := api.ApplyRequest{File: demoFile, Request: "r1"}
	w.call("POST", "/v1/apply", req)
	before := len(w.snap().Nodes())
	if a := w.call("POST", "/v1/apply", req); a.status != http.StatusOK || len(w.snap().Nodes()) != before {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestNodesThatIronicUsesAreNotRemoved(t *testing.T) {
	requests := map[string]struct {
		method, path  string
		plain, forced any
	}{
		"apply":   {"POST", "/v1/apply", api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 0", 1)}, api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 0", 1), Force: true}},
		"plan":    {"POST", "/v1/plan", api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 0", 1)}, api.ApplyRequest{File: strings.Replace(demoFile, "count: 2", "count: 0", 1), Forget: true}},
		"destroy": {"DELETE", "/v1/clusters/demo", nil, api.DestroyRequest{Force: true}},
		"remove":  {"DELETE", "/v1/nodes/tk0", nil, api.DestroyRequest{Forget: true}},
	}
	for name, r := range requests {
		for _, ironic := range []string{"answers", "is down"} {
			t.Run(name+" while Ironic "+ironic, func(t *testing.T) {
				w := newWorld(t)
				w.demo()
				n := w.node("tk0")
				w.do(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "active"}}}})
				if ironic == "answers" {
					w.used = map[string]string{n.UUID: "node tk0 is active in Ironic"}
				} else {
					w.ironicErr = errors.New("connection refused")
				}
				before := w.snap().Index()
				a := w.call(r.method, r.path, r.plain)
				if name == "plan" { // which shows that it would be
					var p api.Plan
					if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK || len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0], "node tk0 is active in Ironic") {
						t.Errorf("refusals of the plan: %d %s", a.status, a.body)
					}
				} else if a.status != http.StatusConflict || !strings.Contains(w.fault(a), "node tk0 is active in Ironic") {
					t.Errorf("refused: %d %s", a.status, a.body)
				}
				if w.snap().Index() != before {
					t.Error("something was done")
				}
				if a := w.call(r.method, r.path, r.forced); a.status >= 300 {
					t.Errorf("forced: %d %s", a.status, a.body)
				}
			})
		}
	}
}

func TestAConsistentReadSeesWhatWasAcknowledgedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.behind = func() error {
		if len(w.snap().Clusters()) == 0 {
			w.demo()
		}
		return nil
	}
	c := w.serve()
	if clusters, err := c.Clusters(t.Context()); err != nil || len(clusters) != 0 {
		t.Errorf("what the agent knows: %v, %v", clusters, err)
	}
	c.Consistent = true
	if clusters, err := c.Clusters(t.Context()); err != nil || len(clusters) != 1 {
		t.Errorf("consistent: %v, %v", clusters, err)
	}
	w.behind = func() error { return cluster.ErrNotLeader }
	var status *client.StatusError
	if _, err := c.Clusters(t.Context()); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
		t.Errorf("without a leader: %v", err)
	}
}

func TestNodesWaitsForANewerState(t *testing.T) {
	w := newWorld(t)
	w.demo()
	c := w.serve()
	index := w.snap().Index()
	type result struct {
		nodes []api.Node
		index uint64
		err   error
	}
	got := make(chan result, 1)
	before := w.looks.Load()
	go func() {
		nodes, newer, err := c.Nodes(t.Context(), client.NodeQuery{After: index})
		got <- result{nodes, newer, err}
	}()
	for w.looks.Load() == before {
		<-time.After(time.Millisecond)
	}
	select {
	case r := <-got:
		t.Fatalf("it did not wait: %+v", r)
	default:
	}
	w.do(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: w.node("tk0").UUID, Forget: true}}})
	r := <-got
	if r.err != nil || r.index != index+1 || len(r.nodes) != 2 || r.nodes[0].Phase != "removing" {
		t.Errorf("%+v", r)
	}
	// A state that is newer already is answered at once.
	if _, newer, err := c.Nodes(t.Context(), client.NodeQuery{After: index}); err != nil || newer != index+1 {
		t.Errorf("at once: index %d, %v", newer, err)
	}
}

func TestNodesDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		a := w.call("GET", "/v1/nodes?after=1000", nil)
		if took := time.Since(start); a.status != http.StatusOK || took != 20*time.Second {
			t.Errorf("%d after %s", a.status, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, "GET", "/v1/nodes?after=1000", nil))
		if rec.Code != http.StatusServiceUnavailable || w.log.Len() > 0 {
			t.Errorf("a client that went: %d, logged %q", rec.Code, w.log.String())
		}
	})
}

func TestEventsFollow(t *testing.T) {
	w := newWorld(t)
	w.demo()
	c := w.serve()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan api.Event)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Events(ctx, 2, client.Following, func(e api.Event) {
			select {
			case got <- e:
			case <-ctx.Done():
			}
		})
	}()
	var past []api.Event
	if err := c.Events(t.Context(), 2, client.Once, func(e api.Event) { past = append(past, e) }); err != nil || len(past) < 5 {
		t.Fatalf("%d events, %v", len(past), err)
	}
	for _, want := range past {
		if e := <-got; e != want {
			t.Errorf("got %+v, want %+v", e, want)
		}
	}
	w.do(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: w.node("tk1").UUID, Forget: true}, {UUID: w.node("tk0").UUID, Forget: true}}})
	for _, node := range []string{"tk1", "tk0"} {
		if e := <-got; e.Type != state.EventNodeRemoving || e.Node != node || e.Index != w.snap().Index() || e.Time == "" {
			t.Errorf("got %+v, want the removal of %s", e, node)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("after cancel: %v", err)
	}
}

func TestConsoleCarriesBothWays(t *testing.T) {
	w := newWorld(t)
	w.demo()
	c := w.serve()
	var status *client.StatusError
	if _, err := c.Console(t.Context(), "tk0"); !errors.As(err, &status) || status.Status != http.StatusConflict {
		t.Errorf("of a node that is off: %v", err)
	}
	here, guest := net.Pipe()
	w.console = here
	console, err := c.Console(t.Context(), "tk0")
	if err != nil {
		t.Fatal(err)
	}
	talk(t, console, guest, "to the guest\n")
	talk(t, guest, console, "\x00\xff from the guest\n")
	talk(t, guest, console, strings.Repeat("x", 1<<20)+"\n")
	if err := console.Close(); err != nil {
		t.Error(err)
	}
	if _, err := guest.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the guest's end after a detach: %v", err)
	}
}

func TestConsoleEndsWhenTheGuestDoes(t *testing.T) {
	w := newWorld(t)
	w.demo()
	here, guest := net.Pipe()
	w.console = here
	console, err := w.serve().Console(t.Context(), "tk0")
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Close(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(console); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	_ = console.Close()
}

// talk writes a line to one end and expects it at the other.
func talk(t *testing.T, from io.Writer, to io.Reader, line string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(from, line)
		sent <- err
	}()
	got, err := bufio.NewReader(to).ReadString('\n')
	if got != line || err != nil {
		t.Errorf("got %.40q, %v; want %.40q", got, err, line)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestOpenAPIListsWhatIsServed(t *testing.T) {
	w := newWorld(t)
	doc := decode[struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct{ Summary string }
	}](w, "/v1/openapi.json")
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" {
		t.Errorf("%+v", doc)
	}
	var got []string
	for path, methods := range doc.Paths {
		for method, op := range methods {
			got = append(got, method+" "+path)
			if op.Summary == "" {
				t.Errorf("%s %s has no summary", method, path)
			}
			// Whatever is listed is served: no route answers as the mux does.
			a := w.call(strings.ToUpper(method), strings.NewReplacer("{name}", "x").Replace(path), "{}")
			kind := a.header.Get("Content-Type")
			if a.status == http.StatusMethodNotAllowed || kind != "application/json" && path != "/v1/backup" {
				t.Errorf("%s %s is listed and answers %d %s", method, path, a.status, a.body)
			}
		}
	}
	slices.Sort(got)
	golden(t, "routes.txt", strings.Join(got, "\n")+"\n")
}
