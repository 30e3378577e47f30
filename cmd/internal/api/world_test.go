package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/declare"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hypervisorID = "0123456789abcdef0123456789abcdef"

// world is a server over a real state, with a host whose chassis have no nodes
// behind them.
type world struct {
	t     *testing.T
	store *state.Store
	// log is what the server logged.
	log     bytes.Buffer
	handler http.Handler
	*host

	// mu guards what follows: proposals come from several requests.
	mu     sync.Mutex
	index  uint64
	refuse error
	// used is what Ironic says it uses; ironicErr that it says nothing.
	used      map[string]string
	ironicErr error
	leader    string
	checks    []api.Check
	ring      ring
	// behind is what the state learns before a consistent read.
	behind func() error
	// looks counts how often a snapshot was taken.
	looks atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: state.New(), host: &host{chassis: map[string]*bmctest.Chassis{}}, leader: hypervisorID}
	w.handler = w.withFaults(nil)
	w.do(state.SetMesh{Mesh: state.Mesh{ID: "mesh-id", Name: "lab", Generation: 1}})
	w.do(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: hypervisorID, Name: "hv1", Address: "192.0.2.1",
		Version: "1.2.3", Physnets: []string{"physnet1"}, Drivers: []string{"fake"},
		Capacity:   state.Resources{VCPUs: 8, MemoryMB: 8192, DiskGB: 100},
		Overcommit: state.Overcommit{VCPUs: 1, Memory: 1, Disk: 1},
		BMC:        state.PortRange{Address: "192.0.2.1", First: 6230, Last: 6239}}})
	return w
}

// withFaults is the server with what counts faults.
func (w *world) withFaults(faults api.Faults) http.Handler {
	return w.with(func(c *api.Config) { c.Faults = faults })
}

// with is the server with something else.
func (w *world) with(change func(*api.Config)) http.Handler {
	config := api.Config{
		Source: w, Propose: w.propose, Host: w.host, Mesh: follower{w: w}, KeyRing: &w.ring, Removable: w.removable,
		Parse: daemon.ParseCluster, Plan: declare.Cluster,
		Leader:  func() (string, string) { return w.leader, hypervisorID },
		Checks:  func(context.Context) []api.Check { return w.checks },
		Metrics: http.NotFoundHandler(), Version: "1.2.3",
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	change(&config)
	return api.New(config).Handler()
}

// Snapshot implements reconcile.Source.
func (w *world) Snapshot() (*state.Snapshot, <-chan struct{}) {
	w.looks.Add(1)
	return w.store.Snapshot()
}

func (w *world) snap() *state.Snapshot {
	s, _ := w.store.Snapshot()
	return s
}

func (w *world) propose(_ context.Context, request string, c state.Command) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return 0, w.refuse
	}
	w.index++
	return w.index, w.store.Apply(w.index, state.Envelope{Request: request, UnixMilli: 1_700_000_000_000 + int64(w.index), Command: c})
}

func (w *world) do(c state.Command) {
	w.t.Helper()
	if _, err := w.propose(w.t.Context(), "", c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) removable(_ context.Context, _ state.IronicAccess, nodes []*state.Node) (map[string]string, error) {
	out := map[string]string{}
	for _, n := range nodes {
		if why, ok := w.used[n.UUID]; ok {
			out[n.UUID] = why
		}
	}
	return out, w.ironicErr
}

// demo applies the demo cluster and makes its nodes ready.
func (w *world) demo() {
	w.t.Helper()
	if a := w.call("POST", "/v1/apply", api.ApplyRequest{File: demoFile}); a.status != http.StatusOK {
		w.t.Fatalf("apply: %v", a)
	}
	var place state.PlaceNodes
	for i, n := range w.snap().Nodes() {
		place.Placements = append(place.Placements, state.NodePlacement{UUID: n.UUID, Hypervisor: hypervisorID,
			BMC: state.Endpoint{Address: "192.0.2.1", Port: 6230 + i}})
	}
	w.do(place)
	report := state.ReportHost{Hypervisor: hypervisorID}
	for _, n := range w.snap().Nodes() {
		report.Nodes = append(report.Nodes, state.NodeHostReport{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: state.HostStatus{
			Phase: state.HostReady, Links: []state.PortLink{{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:01", Link: "p-x-0-br"}}}})
		w.chassis[n.UUID] = bmctest.NewChassis()
	}
	w.do(report)
}

const demoFile = `cluster: demo
node_types:
  small: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 4GiB}], physical_networks: [physnet1], driver: fake}
specs: [{type: small, count: 2, ironic_config: {resource_class: baremetal}}]
ironic: {endpoint: "http://192.0.2.9:6385"}
`

// answer is what a request was answered with.
type answer struct {
	status int
	body   string
	header http.Header
}

// fault returns the text of an error, and checks its form.
func (w *world) fault(a answer) string {
	w.t.Helper()
	var e api.ErrorBody
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error == "" {
		w.t.Errorf("not an error: %d %s", a.status, a.body)
	}
	return e.Error
}

// call makes one request. body is sent as it is if it is a string, else as JSON.
func (w *world) call(method, path string, body any) answer {
	w.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, in)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Body.String(), rec.Header()}
}

// decode reads the answer of a GET.
func decode[T any](w *world, path string) (v T) {
	w.t.Helper()
	a := w.call("GET", path, nil)
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("GET %s: %d %v: %s", path, a.status, err, a.body)
	}
	return v
}

// serve listens, for requests that stream or are upgraded. The client's requests
// end with the test.
func (w *world) serve() *client.Client {
	w.t.Helper()
	s := httptest.NewUnstartedServer(w.handler)
	ctx, cancel := context.WithCancel(w.t.Context())
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Start()
	w.t.Cleanup(func() {
		cancel()
		s.CloseClientConnections()
		s.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return client.New(s.URL)
}

// host implements api.Host.
type host struct {
	chassis map[string]*bmctest.Chassis
	console io.ReadWriteCloser
}

func (h *host) Powers() map[string]state.Power {
	out := map[string]state.Power{}
	for uuid, c := range h.chassis {
		out[uuid] = c.Status().Power
	}
	return out
}

func (h *host) Chassis(uuid string) (bmc.Chassis, bool) {
	c, ok := h.chassis[uuid]
	return c, ok
}

func (h *host) Console(context.Context, string) (io.ReadWriteCloser, error) {
	if h.console == nil {
		return nil, errors.Join(state.ErrWrongState)
	}
	return h.console, nil
}

// follower is lonely, and may be behind.
type follower struct {
	lonely
	w *world
}

func (f follower) Current(context.Context) error {
	if f.w.behind == nil {
		return nil
	}
	return f.w.behind()
}

// lonely is a mesh without other peers.
type lonely struct{}

var errLonely = errors.New("there are no other peers")

func (lonely) MakeToken(context.Context, api.TokenRequest) (api.Token, error) {
	return api.Token{}, errLonely
}
func (lonely) Raft() []api.RaftPeer                                   { return []api.RaftPeer{} }
func (lonely) Transfer(context.Context, string) error                 { return errLonely }
func (lonely) Serve(http.ResponseWriter, *http.Request, string) error { return errLonely }
func (lonely) ServeWhole(http.ResponseWriter, *http.Request) error    { return errLonely }
func (lonely) Whole() bool                                            { return true }
func (lonely) PeerPowers(context.Context, []string) map[string]state.Power {
	return map[string]state.Power{}
}
