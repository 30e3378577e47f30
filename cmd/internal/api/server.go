// Package api is the HTTP API of an agent under /v1/: routes, JSON types and
// handlers. A Server only translates: it reads snapshots, proposes commands and
// asks the local chassis. It starts nothing; its Handler is safe for concurrent
// use.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"tenks/bmc"
	"tenks/cluster"
	"tenks/cmd/internal/declare"
	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 8 << 20

// IndexHeader carries the log index that an answer is true for.
const IndexHeader = "X-Tenks-Index"

// Host is the part of this host that requests reach.
type Host interface {
	// Powers returns the power state of the nodes here, by UUID.
	Powers() map[string]state.Power
	// Chassis returns the chassis of a node here.
	Chassis(uuid string) (bmc.Chassis, bool)
	// Console attaches to the serial console of a running node.
	Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error)
}

// Config is everything a Server needs. All fields must be set.
type Config struct {
	Source reconcile.Source
	// Propose commits a command and returns its log index. A repeat with the same
	// request ID is applied once.
	Propose func(ctx context.Context, request string, c state.Command) (uint64, error)
	Host    Host
	// Mesh is the other peers.
	Mesh Mesh
	// Moves is what moves away from here. Optional.
	Moves Moves
	// Quarantine is what this host keeps of nodes that are elsewhere. Optional.
	Quarantine Quarantine
	// Adopter looks for what another tool made. Optional.
	Adopter Adopter
	// PDUs are the outlets of nodes. Optional.
	PDUs PDUs
	// Faults is what faults of BMCs do. Optional.
	Faults Faults
	// KeyRing is what the peers recognise each other by.
	KeyRing KeyRing
	// Removable says which of a cluster's nodes Ironic does not let go, and Protected which of
	// them not by force either.
	Removable, Protected func(ctx context.Context, access state.IronicAccess, nodes []*state.Node) (map[string]string, error)
	// Images says why an image that Ironic boots is not in Glance; empty: it is, or is elsewhere.
	// Optional.
	Images func(ctx context.Context, access state.IronicAccess, image string) (string, error)
	// Allowed says why the mesh may not make a change yet, as Propose would. Optional.
	Allowed func(c state.Command) error
	// Placement says what Placement lacks of nodes that Ironic has, by UUID. Optional.
	Placement func(ctx context.Context, access state.IronicAccess, nodes []*state.Node) (map[string][]string, error)
	// Parse reads a cluster file.
	Parse func(r *ApplyRequest) (state.Cluster, error)
	// Plan makes the plan for a declared cluster.
	Plan func(snap *state.Snapshot, want state.Cluster, opt declare.Options) (*declare.Plan, error)
	// Leader returns the leader's and this peer's ID.
	Leader func() (leader, self string)
	// Ready says why the agent cannot take work yet, or nil. Optional.
	Ready func() error
	// Checks are doctor's findings about the running agent.
	Checks func(ctx context.Context) []Check
	// Metrics serves /metrics.
	Metrics http.Handler
	Version string
	Log     *slog.Logger
}

// Server answers API requests.
type Server struct{ Config }

// New returns a Server.
func New(c Config) *Server { return &Server{c} }

// Handler returns the API's routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.method+" "+r.path, s.wrap(r))
	}
	mux.Handle("GET /metrics", s.Metrics)
	return http.MaxBytesHandler(mux, maxBody)
}

// route is one line of the API: what /v1/openapi.json is made of, too.
type route struct {
	method, path, summary string
	serve                 func(w http.ResponseWriter, r *http.Request) error
}

func (s *Server) routes() []route {
	return append(slices.Concat(s.meshRoutes(), s.moveRoutes(), s.quarantineRoutes(), s.keyRoutes(), s.faultRoutes(), s.adoptRoutes(), s.pduRoutes(), s.ironicRoutes()), []route{
		{"GET", "/healthz", "the agent runs", s.healthz},
		{"GET", "/readyz", "the agent's state is current", s.readyz},
		{"GET", "/v1/openapi.json", "this description", s.openAPI},
		{"GET", "/v1/version", "version of the agent", s.version},
		{"GET", "/v1/status", "the mesh at a glance", s.status},
		{"GET", "/v1/doctor", "what is wrong, and what to do", s.doctor},
		{"GET", "/v1/events", "history; ?after=INDEX, ?follow=true streams NDJSON", s.events},
		{"GET", "/v1/peers", "the peers", s.peers},
		{"POST", "/v1/plan", "what an apply would do", s.plan},
		{"POST", "/v1/apply", "declare a cluster", s.apply},
		{"GET", "/v1/clusters", "all clusters", s.clusters},
		{"GET", "/v1/clusters/{name}", "one cluster", s.cluster},
		{"GET", "/v1/clusters/{name}/placement", "whether Placement offers the enrolled nodes", s.placement},
		{"GET", "/v1/clusters/{name}/file", "the cluster file as it was applied", s.clusterFile},
		{"DELETE", "/v1/clusters/{name}", "destroy a cluster", s.destroy},
		{"POST", "/v1/clusters/{name}/quota", "limit what a cluster may declare; without a limit: show them", s.setQuota},
		{"GET", "/v1/nodes", "all nodes; ?cluster=NAME, ?secrets=true; ?after=INDEX waits for a newer state", s.nodes},
		{"GET", "/v1/nodes/{name}", "one node; ?secrets=true", s.node},
		{"DELETE", "/v1/nodes/{name}", "remove one node", s.removeNode},
		{"GET", "/v1/nodes/{name}/chassis", "power, boot override and restore policy", s.there(s.chassis)},
		{"POST", "/v1/nodes/{name}/power", "change power", s.there(s.power)},
		{"POST", "/v1/nodes/{name}/boot", "set the boot override", s.there(s.boot)},
		{"POST", "/v1/nodes/{name}/console", "attach to the serial console (Upgrade: tenks-console)", s.console},
	}...)
}

// httpError is an error with the status that it is answered with.
type httpError struct {
	status int
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

func fail(status int, err error) error { return &httpError{status, err} }

// here are the routes that are about this host: a peer that has only its part of the
// state answers them itself. Those about one node find out by themselves.
var here = []string{"/healthz", "/readyz", "/v1/openapi.json", "/v1/version", "/v1/doctor", "/v1/powers", "/v1/outlets", "/v1/nodes/{name}/outlet",
	"/v1/nodes/{name}/chassis", "/v1/nodes/{name}/power", "/v1/nodes/{name}/boot", "/v1/nodes/{name}/console",
	"/v1/quarantine", "/v1/quarantine/{name}", "/v1/foreign", "/v1/clear", "/v1/fault-counts",
	"/v1/moves/{uuid}/files", "/v1/moves/{uuid}/files/{file}"}

func (s *Server) wrap(called route) http.HandlerFunc {
	everywhere := slices.Contains(here, called.path)
	return func(w http.ResponseWriter, r *http.Request) {
		if !everywhere && s.toWhole(w, r) {
			return
		}
		if leader, _ := s.Leader(); leader == "" && !everywhere && w.Header().Get(WarningHeader) == "" {
			w.Header().Set(WarningHeader, "no peer leads the mesh: what is shown may be out of date, and nothing can be changed")
		}
		var err error
		if !everywhere {
			if r.Header.Get(wholeHeader) != "" {
				w = &telling{ResponseWriter: w, source: func() *state.Snapshot { snap, _ := s.Source.Snapshot(); return snap }}
			}
			s.catchUp(r)
			err = s.current(r)
		}
		if err == nil {
			err = called.serve(w, r)
		}
		if err == nil {
			return
		}
		status := statusOf(err)
		// A client that has gone, or an agent that stops, is nobody's fault.
		// That an agent is not ready is an answer, not a failure.
		if status >= http.StatusInternalServerError && r.URL.Path != "/readyz" && r.Context().Err() == nil {
			s.Log.WarnContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "status", status, "err", err)
		}
		writeJSON(w, status, ErrorBody{Error: err.Error()})
	}
}

func statusOf(err error) int {
	var h *httpError
	switch {
	case errors.As(err, &h):
		return h.status
	case errors.Is(err, state.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, state.ErrConflict), errors.Is(err, state.ErrWrongState), errors.Is(err, state.ErrRefused):
		return http.StatusConflict
	case errors.Is(err, state.ErrBusy), errors.Is(err, cluster.ErrNotLeader), errors.Is(err, cluster.ErrUnknown),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	case errors.Is(err, state.ErrUnsupported):
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone cannot be told so.
	_ = json.NewEncoder(w).Encode(v)
}

func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fail(http.StatusBadRequest, err)
	}
	return nil
}

func stamp(unixMilli int64) string {
	return time.UnixMilli(unixMilli).UTC().Format("2006-01-02T15:04:05.000Z")
}
