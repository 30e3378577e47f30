package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cmd/internal/api"
)

// How long an answer may take: to a read of a node here and to one of a node elsewhere,
// and to a change.
const (
	readHere      = 2 * time.Second
	readElsewhere = 6 * time.Second
	changeAnswers = 15 * time.Second
)

// asked is a request to a Redfish service.
type asked struct {
	method, path, body string
	// fits are the statuses besides 503 that fit, whatever the fault is.
	fits []int
	// then is done with the Location of what was made.
	then string
}

// kind is a short name of a request.
func (q asked) kind() string {
	kind := q.method + " " + path.Base(q.path)
	var reset struct{ ResetType string }
	if err := json.Unmarshal([]byte(q.body), &reset); err == nil && reset.ResetType != "" {
		kind += " " + reset.ResetType
	}
	return kind
}

// redfishRequests are requests of every kind about a node. What they make they remove.
func redfishRequests(n api.Node, image string) []asked {
	system, manager := "/redfish/v1/Systems/"+n.UUID, "/redfish/v1/Managers/"+n.UUID
	drive := manager + "/VirtualMedia/Cd"
	done := []int{200, 202, 204}
	return []asked{
		{method: "GET", path: system, fits: []int{200}},
		{method: "GET", path: system + "/Bios", fits: []int{200}},
		{method: "GET", path: drive, fits: []int{200}},
		{method: "GET", path: "/redfish/v1/Systems", fits: []int{200}},
		{method: "PATCH", path: system, body: `{"Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"}}`, fits: done},
		{method: "PATCH", path: system, body: `{"AssetTag":"a"}`, fits: done},
		{method: "PATCH", path: system + "/Bios/Settings", body: `{"Attributes":{"BootTimeout":7}}`, fits: done},
		{method: "POST", path: system + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, fits: done},
		{method: "POST", path: system + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"ForceRestart"}`, fits: append([]int{409}, done...)},
		{method: "POST", path: system + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"ForceOff"}`, fits: append([]int{409}, done...)},
		{method: "POST", path: system + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"Nonsense"}`, fits: []int{400}},
		{method: "POST", path: drive + "/Actions/VirtualMedia.InsertMedia", body: `{"Image":"` + image + `"}`, fits: done},
		{method: "POST", path: drive + "/Actions/VirtualMedia.EjectMedia", body: `{}`, fits: done},
		{method: "POST", path: system + "/Storage/1/Volumes", body: `{"RAIDType":"RAID0","CapacityBytes":1048576}`, fits: []int{201, 202, 400, 404, 409}, then: "DELETE"},
		{method: "POST", path: "/redfish/v1/SessionService/Sessions", body: `{"UserName":"` + n.BMC.Username + `","Password":"` + n.BMC.Password + `"}`, fits: []int{201}, then: "DELETE"},
		{method: "POST", path: "/redfish/v1/AccountService/Accounts", body: `{"UserName":"other","Password":"correct horse","RoleId":"ReadOnly"}`, fits: []int{201, 400}, then: "DELETE"},
		{method: "POST", path: "/redfish/v1/EventService/Subscriptions", body: `{"Destination":"` + image + `","Protocol":"Redfish","Context":"c"}`, fits: []int{201}, then: "DELETE"},
		{method: "POST", path: "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate",
			body: `{"ImageURI":"http://192.0.2.9/bios-9.1.bin","Targets":["` + system + `"]}`, fits: []int{202}},
	}
}

// answered is what came back.
type answered struct {
	status   int
	location string
	retry    string
	took     time.Duration
	body     []byte
}

// redfish sends a request to a host's service, as the node's own account. The time is also
// that of the connection: each request makes its own.
func (h *host) redfish(ctx context.Context, c *http.Client, n api.Node, method, ref, body string) (a answered, err error) {
	began := time.Now()
	r, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("https://%s:8000%s", h.bmcAddress(n), ref), strings.NewReader(body))
	if err != nil {
		return a, err
	}
	r.SetBasicAuth(n.BMC.Username, n.BMC.Password)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Prefer", "wait=2") // not as long for an image as otherwise
	resp, err := c.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.body, err = io.ReadAll(resp.Body)
	a.status, a.location, a.retry, a.took = resp.StatusCode, resp.Header.Get("Location"), resp.Header.Get("Retry-After"), time.Since(began)
	return a, err
}

// bmcAddress is where the host's service listens.
func (h *host) bmcAddress(n api.Node) string {
	if n.BMC.Address == "127.0.0.1" {
		return n.BMC.Address
	}
	return h.Address()
}

// wrong says what is wrong with an answer, by DSP0266 §12.1 and RFC 9110: a status that does
// not fit, no extended information with an error, no Retry-After with 503, or too late.
func (a answered) wrong(q asked, limit time.Duration) string {
	var problems []string
	if !slices.Contains(q.fits, a.status) && a.status != http.StatusServiceUnavailable {
		problems = append(problems, "the status does not fit")
	}
	var body struct {
		Error struct {
			Code, Message string
			Info          []struct{ MessageID string } `json:"@Message.ExtendedInfo"`
		}
	}
	if a.status >= 400 {
		if err := json.Unmarshal(a.body, &body); err != nil || body.Error.Code == "" || len(body.Error.Info) == 0 || body.Error.Info[0].MessageID == "" {
			problems = append(problems, "no extended information")
		}
	}
	if seconds, err := strconv.Atoi(a.retry); a.status == http.StatusServiceUnavailable && (err != nil || seconds < 1 || seconds > 60) {
		problems = append(problems, fmt.Sprintf("Retry-After is %q", a.retry))
	}
	if a.took > limit {
		problems = append(problems, fmt.Sprintf("later than %s", limit))
	}
	return strings.Join(problems, ", ")
}

// askAll sends all requests about a node to a host at the same time, and checks the
// answers; it returns a line of what was answered.
func (h *host) askAll(t *testing.T, situation string, n api.Node, image string, elsewhere bool) {
	t.Helper()
	c := h.https()
	defer c.CloseIdleConnections()
	var mu sync.Mutex
	var work sync.WaitGroup
	requests := redfishRequests(n, image)
	row := make([]string, len(requests))
	for i, q := range requests {
		row[i] = q.kind() + " –"
		work.Go(func() {
			limit := changeAnswers
			if q.method == http.MethodGet {
				limit = readHere
				if elsewhere {
					limit = readElsewhere
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit+5*time.Second)
			defer cancel()
			a, err := h.redfish(ctx, c, n, q.method, q.path, q.body)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %s asks for %s: %s %s: no answer: %v", situation, h.Name(), n.Name, q.method, q.path, err)
				return
			}
			row[i] = fmt.Sprintf("%s %d %.1fs", q.kind(), a.status, a.took.Seconds())
			if problem := a.wrong(q, limit); problem != "" {
				t.Errorf("%s: %s asks for %s: %s %s %s: %d after %s: %s: %s", situation, h.Name(), n.Name, q.method, q.path, q.body, a.status,
					a.took.Round(time.Millisecond), problem, bytes.TrimSpace(a.body))
			}
			if q.then != "" && a.status == http.StatusCreated {
				then, err := h.redfish(ctx, c, n, q.then, a.location, "")
				if err != nil || then.status != http.StatusNoContent && then.status != http.StatusServiceUnavailable {
					t.Errorf("%s: %s %s: %d, %v", situation, q.then, a.location, then.status, err)
				}
			}
		})
	}
	work.Wait()
	t.Logf("%s: %s asks for %s: %s", situation, h.Name(), n.Name, strings.Join(row, ", "))
}

// crawled is how many resources readAll reads.
const crawled = 150

// readAll reads what the service root leads to: each resource is there, and at once.
func (h *host) readAll(t *testing.T, situation string, n api.Node) {
	t.Helper()
	c := h.https()
	defer c.CloseIdleConnections()
	todo, seen := []string{"/redfish/v1/"}, map[string]bool{"/redfish/v1/": true}
	slowest, worst := time.Duration(0), ""
	for i := 0; i < len(todo) && i < crawled; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		a, err := h.redfish(ctx, c, n, http.MethodGet, todo[i], "")
		cancel()
		if err != nil || a.status != http.StatusOK || a.took > readHere {
			t.Errorf("%s: GET %s: %d after %s, %v", situation, todo[i], a.status, a.took, err)
			continue
		}
		if a.took > slowest {
			slowest, worst = a.took, todo[i]
		}
		var payload any
		if err := json.Unmarshal(a.body, &payload); err != nil {
			continue // metadata is XML
		}
		for _, ref := range references(payload) {
			if !seen[ref] && strings.HasPrefix(ref, "/redfish/v1/") && !strings.HasSuffix(ref, "/SSE") {
				seen[ref] = true
				todo = append(todo, ref)
			}
		}
	}
	t.Logf("%s: %d resources read, the slowest after %s: %s", situation, min(len(todo), crawled), slowest.Round(time.Millisecond), worst)
}

// references are the paths that a payload has.
func references(v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["@odata.id"].(string); ok {
			ref, _, _ = strings.Cut(ref, "#")
			out = append(out, ref)
		}
		for _, member := range v {
			out = append(out, references(member)...)
		}
	case []any:
		for _, member := range v {
			out = append(out, references(member)...)
		}
	}
	return out
}

// freezeAgent stops the agent's process (SIGSTOP): its kernel still takes what is sent.
func (h *host) freezeAgent() (thaw func()) {
	h.t.Helper()
	pid := strings.TrimSpace(h.run("cat", dataDir+"/agent.lock"))
	h.run("kill", "-STOP", pid)
	return func() { h.t.Helper(); h.run("kill", "-CONT", pid) }
}

// redfishGoesOn asks two hosts of a mesh of three, of which the third fails in every way,
// and then one alone.
func redfishGoesOn(t *testing.T, hosts []*host) {
	leader := leaderOf(t, hosts)
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == leader })
	at, other := rest[0], rest[1]
	at.tenks("apply", "-f", at.write("three.yml", strings.Replace(spread("three", "", 3), "ironic_config: {resource_class: small, network_interface: noop}", "", 1)), "--wait=2m")
	image := at.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 64<<10)) })) + "/x.iso"
	on := map[string]api.Node{}
	for _, n := range at.nodes() {
		if n.Cluster == "three" {
			on[n.Hypervisor] = n
		}
	}
	here, there, far := on[at.Name()], on[leader.Name()], on[other.Name()]
	at.askAll(t, "all is well", here, image, false)
	at.askAll(t, "all is well", there, image, true)
	at.readAll(t, "all is well", here)

	thaw := other.freezeAgent()
	var both sync.WaitGroup
	both.Go(func() {
		// By a connection that is there: many others wait for theirs to be made.
		reset := asked{method: "POST", path: "/redfish/v1/Systems/" + far.UUID + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`}
		a, err := at.redfish(t.Context(), at.https(), far, reset.method, reset.path, reset.body)
		if problem := a.wrong(reset, changeAnswers); err != nil || problem != "" {
			t.Errorf("a reset by a frozen peer: %d after %s, %v: %s", a.status, a.took, err, problem)
		}
		t.Logf("a peer is frozen: a reset first: %d after %s", a.status, a.took.Round(time.Millisecond))
	})
	at.askAll(t, "a peer is frozen", far, image, true)
	at.askAll(t, "a peer is frozen", here, image, false)
	both.Wait()
	thaw()
	at.wait(30*time.Second, "an answer of the peer that goes on", func() bool {
		a, err := at.redfish(t.Context(), at.https(), far, http.MethodGet, "/redfish/v1/Systems/"+far.UUID, "")
		return err == nil && a.status == http.StatusOK
	})

	if err := leader.Isolate(t.Context()); err != nil {
		t.Fatal(err)
	}
	both.Go(func() { at.askAll(t, "the leader is cut off", there, image, true) })
	both.Go(func() { at.askAll(t, "the leader is cut off", here, image, false) })
	both.Go(func() { leader.askAll(t, "alone", there, image, false) })
	both.Go(func() { leader.askAll(t, "alone", here, image, true) })
	both.Wait()
	if err := leader.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	both.Go(func() { at.askAll(t, "no quorum", there, image, true) })
	both.Go(func() { at.askAll(t, "no quorum", here, image, false) })
	both.Wait()
	at.readAll(t, "no quorum", here)
}
