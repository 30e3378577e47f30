package redfish

import (
	"context"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenks/bmc/record"
)

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.cfg.Clock()
	rec := &recorder{ResponseWriter: w}
	rt, vars := s.match(r.URL.Path)
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
				panic(v)
			}
			s.cfg.Log.ErrorContext(r.Context(), "redfish: request panicked", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			if rec.status == 0 {
				s.refuse(rec, r, fail(http.StatusInternalServerError, msg("InternalError")))
			}
		}
		if s.cfg.Observe != nil {
			pattern := "other"
			if rt != nil {
				pattern = rt.Path
			}
			s.cfg.Observe(r.Method, pattern, rec.status, s.cfg.Clock().Sub(start))
		}
	}()
	commonHeaders(rec.Header(), r)
	setWriteDeadline(rec, time.Now().Add(writeTimeout))
	source := suspectOf(r.RemoteAddr, "").Source
	if !s.inFlight.enter(source) {
		s.refuse(rec, r, unavailable(busyRetry))
		return
	}
	defer s.inFlight.leave(source)
	req := &Request{HTTP: r, Service: s, Path: canonical(r.URL.Path), vars: vars}
	if err := s.serve(rec, req, rt); err != nil {
		s.refuse(rec, r, err)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.noteChange(req, rec.status)
	}
}

// canonical is the @odata.id of a path.
func canonical(path string) string {
	if path == rootPath || path == rootPath+"/" {
		return rootPath + "/"
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// writeTimeout bounds how long a request may take until its answer is sent, so that who
// does not read keeps no memory. Raw handlers may take longer.
const writeTimeout = 2 * time.Minute

// setWriteDeadline has no effect where there is no connection, as in tests.
func setWriteDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetWriteDeadline(t)
}

// odataVersion is spelled as in the specification, which is not as Go would.
const odataVersion = "OData-Version"

// commonHeaders are in every answer (DSP0266 §6.5).
func commonHeaders(h http.Header, r *http.Request) {
	h[odataVersion] = []string{"4.0"}
	h["Cache-Control"] = []string{"no-cache"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if origin := r.Header.Get("Origin"); origin != "" {
		h["Access-Control-Allow-Origin"] = []string{origin}
		h["Vary"] = []string{"Origin"}
	}
}

// known are the methods that a Redfish client may use; others are 501.
var known = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions}

// serve answers a request, or returns why not.
func (s *Service) serve(w http.ResponseWriter, req *Request, rt *route) error {
	r := req.HTTP
	if !slices.Contains(known, r.Method) {
		return fail(http.StatusNotImplemented, msg("NotImplemented"))
	}
	if v := r.Header.Get(odataVersion); v != "" && v != "4.0" {
		return fail(http.StatusPreconditionFailed, msg("HeaderInvalid", "OData-Version"))
	}
	open := rt != nil && (rt.Open || rt.OpenPost && r.Method == http.MethodPost)
	if err := s.identify(req, rt, open); err != nil {
		return err
	}
	if rt == nil {
		return notFound(req.Path)
	}
	if forwarded, err := s.resolve(w, req, rt); forwarded || err != nil {
		return err
	}
	if !open {
		if err := s.permit(req, rt); err != nil {
			return err
		}
	}
	return s.dispatch(w, req, rt)
}

// identify says who asks. In an open resource that is of use, too: what $expand shows
// depends on it.
func (s *Service) identify(req *Request, rt *route, open bool) error {
	h := req.HTTP.Header
	if open && (rt.OpenPost || h.Get("X-Auth-Token") == "" && h.Get("Authorization") == "") {
		return nil
	}
	caller, err := s.authenticate(req.HTTP)
	if err != nil {
		return err
	}
	req.Caller = caller
	record.SetUser(req.Context(), caller.UserName)
	return nil
}

// resolve looks up the system of the path, and lets another peer answer if it is there.
func (s *Service) resolve(w http.ResponseWriter, req *Request, rt *route) (forwarded bool, err error) {
	if id := rt.systemOf(req); id != "" {
		sys, ok := req.Find(id)
		if !ok {
			return false, notFound(req.Path)
		}
		if sys.Chassis == nil {
			return true, s.forward(w, req, sys)
		}
		req.System = sys
	}
	if !rt.exists(req) {
		if sys, ok := req.keptElsewhere(rt); ok {
			return true, s.forward(w, req, sys)
		}
		return false, notFound(req.Path)
	}
	return false, nil
}

// forward has the peer of a system answer.
func (s *Service) forward(w http.ResponseWriter, req *Request, sys System) error {
	if s.cfg.Forward == nil || isForwarded(req.Context()) {
		return unavailable(busyRetry)
	}
	s.cfg.Forward(w, req.HTTP, sys, req.Caller)
	return nil
}

// permit checks privileges (DSP0266 §13.2.10).
func (s *Service) permit(req *Request, rt *route) error {
	need := rt.privilege(req.HTTP.Method)
	self := rt.isSelf(req)
	if req.Caller.mustChange && !self {
		return fail(http.StatusForbidden, msg("PasswordChangeRequired", accountsPath+"/"+req.Caller.UserName))
	}
	if req.Caller.may(need) || self && req.Caller.may(ConfigureSelf) {
		return nil
	}
	return fail(http.StatusForbidden, msg("InsufficientPrivilege"))
}

func (s *Service) dispatch(w http.ResponseWriter, req *Request, rt *route) error {
	r := req.HTTP
	if rt.schema != "" {
		w.Header()["Link"] = []string{rt.schema}
	}
	if r.Method == http.MethodOptions {
		w.Header()["Allow"] = []string{rt.allow}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if raw := rt.Raw[r.Method]; raw != nil {
		w.Header()["Allow"] = []string{rt.allow}
		setWriteDeadline(w, time.Time{})
		return raw(req, w)
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if !rt.readable() {
			return s.notAllowed(w, rt)
		}
		w.Header()["Allow"] = []string{rt.allow}
		return s.get(w, req, rt)
	}
	return s.change(w, req, rt)
}

func (s *Service) notAllowed(w http.ResponseWriter, rt *route) error {
	w.Header()["Allow"] = []string{rt.allow}
	return fail(http.StatusMethodNotAllowed, msg("OperationNotAllowed"))
}

// get answers GET and HEAD.
func (s *Service) get(w http.ResponseWriter, req *Request, rt *route) error {
	if !accepts(req.HTTP.Header.Values("Accept"), "application/json") {
		return fail(http.StatusNotAcceptable, msg("HeaderInvalid", "Accept"))
	}
	q, err := parseQuery(req.HTTP.URL.RawQuery, rt)
	if err != nil {
		return err
	}
	doc, err := s.build(req, rt)
	if err != nil {
		return err
	}
	// The ETag is the resource's own: where members decide what the answer is, it says nothing.
	if q.expand == 0 && q.filter == nil && !q.only {
		w.Header()["Etag"] = []string{doc.etag}
		if match := req.HTTP.Header.Get("If-None-Match"); match != "" && matches(match, doc.etag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	body := doc.body
	if !q.plain() {
		if body, err = s.queried(req, rt, doc, q); err != nil {
			return err
		}
	}
	writeJSON(w, req.HTTP, http.StatusOK, body)
	return nil
}

// writeJSON sends a body; HEAD gets its headers only.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header()["Content-Type"] = []string{"application/json;charset=utf-8"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone
	}
}

// refuse sends an error.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := refusal(err)
	if e.Status >= http.StatusInternalServerError && e.Status != http.StatusNotImplemented {
		s.cfg.Log.WarnContext(r.Context(), "redfish: request failed", "method", r.Method, "path", r.URL.Path, "status", e.Status, "err", err)
	}
	for key, values := range e.Header {
		w.Header()[key] = values
	}
	delete(w.Header(), "Etag")
	body, err := appendObject(nil, e.body())
	if err != nil {
		body = nil
	}
	writeJSON(w, r, e.Status, body)
}

// noteChange logs who changed what. Bodies may hold secrets, and are not logged.
func (s *Service) noteChange(req *Request, status int) {
	user := ""
	if req.Caller != nil {
		user = req.Caller.UserName
	}
	s.cfg.Log.DebugContext(req.Context(), "redfish: request", "method", req.HTTP.Method, "path", req.Path, "user", user, "status", status)
}

// accepts says whether one of the Accept headers allows a media type.
func accepts(headers []string, media string) bool {
	if len(headers) == 0 {
		return true
	}
	group, _, _ := strings.Cut(media, "/")
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "" && name != "*/*" && name != group+"/*" && name != media {
				continue
			}
			if q := strings.ReplaceAll(params, " ", ""); q == "q=0" || q == "q=0.0" {
				continue
			}
			return true
		}
	}
	return false
}

// matches says whether a header of ETags has this one; weak and strong spelling are
// the same, because clients try both.
func matches(header, etag string) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	want := opaque(etag)
	for part := range strings.SplitSeq(header, ",") {
		if opaque(part) == want {
			return true
		}
	}
	return false
}

func opaque(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

type contextKey int

const callerKey contextKey = iota

// AsCaller is the context of a request that another peer forwards: it was authenticated
// there as user with role, and is for one system.
func AsCaller(ctx context.Context, user string, role string, system string) context.Context {
	return context.WithValue(ctx, callerKey, &Caller{UserName: user, Role: role, systems: []string{system}})
}

func isForwarded(ctx context.Context) bool { return ctx.Value(callerKey) != nil }
