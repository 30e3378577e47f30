package redfish

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// readTimeout bounds how long a body may take.
const readTimeout = 30 * time.Second

// maxBody bounds a request's body in bytes, unless the row says otherwise.
const maxBody = 1 << 20

// change answers POST, PATCH and DELETE.
func (s *Service) change(w http.ResponseWriter, req *Request, rt *route) error {
	var handle func(http.ResponseWriter, *Request, *route) error
	switch method := req.HTTP.Method; {
	case method == http.MethodPost && rt.action != nil:
		handle = s.act
	case method == http.MethodPost && rt.Post != nil:
		handle = s.create
	case method == http.MethodPatch && rt.Patch != nil:
		handle = s.patch
	case method == http.MethodDelete && rt.Delete != nil:
		handle = s.remove
	default:
		return s.notAllowed(w, rt)
	}
	if !accepts(req.HTTP.Header.Values("Accept"), "application/json") {
		return fail(http.StatusNotAcceptable, msg("HeaderInvalid", "Accept"))
	}
	if err := refuseQuery(req.HTTP.URL.RawQuery); err != nil {
		return err
	}
	// Logins and actions do not wait for each other.
	if rt.action == nil && !rt.OpenPost {
		unlock, err := s.locks.lock(req.Context(), req.Path)
		if err != nil {
			return unavailable(busyRetry)
		}
		defer unlock()
	}
	return handle(w, req, rt)
}

// act carries out an action.
func (s *Service) act(w http.ResponseWriter, req *Request, rt *route) error {
	body, err := readBody(w, req, rt)
	if err != nil {
		return err
	}
	req.Path = strings.TrimSuffix(req.Path, "/Actions/"+rt.action.Name)
	c := checker{req: req, action: rt.action.short()}
	values := c.check(rt.action.Parameters, body, nil, "")
	if len(c.rejected) > 0 {
		return fail(http.StatusBadRequest, c.rejected...)
	}
	result, err := rt.action.Do(req, values)
	if err != nil {
		return err
	}
	return s.answer(w, req, result)
}

// create makes a member of a collection.
func (s *Service) create(w http.ResponseWriter, req *Request, rt *route) error {
	body, err := readBody(w, req, rt)
	if err != nil {
		return err
	}
	if rt.of != nil {
		req.Path = rt.of.pathOf(req)
	}
	c := checker{req: req, creating: true}
	values := c.check(rt.Creatable, body, nil, "")
	if len(c.rejected) > 0 {
		return fail(http.StatusBadRequest, c.rejected...)
	}
	result, err := rt.Post(req, values)
	if err != nil {
		return err
	}
	return s.answer(w, req, result)
}

// pathOf fills in the variables of the path.
func (rt *route) pathOf(req *Request) string {
	path := rt.Path
	for _, v := range req.vars {
		path = strings.Replace(path, "{"+v.name+"}", v.value, 1)
	}
	return path
}

// answer sends the result of a POST.
func (s *Service) answer(w http.ResponseWriter, req *Request, result *Result) error {
	if result == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	for key, values := range result.Header {
		w.Header()[key] = values
	}
	if result.Peer != nil {
		req.HTTP.Body = io.NopCloser(bytes.NewReader(req.raw))
		return s.forward(w, req, *result.Peer)
	}
	if result.Task != nil {
		// sushy takes the @odata.id of a body for the monitor, so there is none.
		w.Header().Set("Location", result.Task.monitor())
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	status := result.Status
	if result.Location != "" {
		w.Header().Set("Location", result.Location)
		if status == 0 {
			status = http.StatusCreated
		}
	}
	if result.Body == nil && result.Location != "" {
		doc, err := s.fetch(req, result.Location)
		if err != nil {
			return err
		}
		w.Header()["Etag"] = []string{doc.etag}
		writeJSON(w, req.HTTP, status, doc.body)
		return nil
	}
	if result.Body == nil {
		if status == 0 {
			status = http.StatusNoContent
		}
		w.WriteHeader(status)
		return nil
	}
	if status == 0 {
		status = http.StatusOK
	}
	body, err := appendObject(nil, result.Body)
	if err != nil {
		return err
	}
	writeJSON(w, req.HTTP, status, body)
	return nil
}

// precondition checks If-Match (DSP0266 §6.5.5).
func precondition(req *Request, etag string) error {
	if match := strings.Join(req.HTTP.Header.Values("If-Match"), ","); match != "" && !matches(match, etag) {
		return fail(http.StatusPreconditionFailed, msg("PreconditionFailed"))
	}
	return nil
}

// patch changes properties (DSP0266 §7.5).
func (s *Service) patch(w http.ResponseWriter, req *Request, rt *route) error {
	doc, err := s.build(req, rt)
	if err != nil {
		return err
	}
	if err = precondition(req, doc.etag); err != nil {
		return err
	}
	body, err := readBody(w, req, rt)
	if err != nil {
		return err
	}
	c := checker{req: req}
	values := c.check(rt.Writable, body, doc.object, "")
	if len(values) == 0 {
		if len(c.rejected) == 0 {
			return fail(http.StatusBadRequest, msg("NoOperation"))
		}
		return fail(http.StatusBadRequest, c.rejected...)
	}
	if err = rt.Patch(req, values); err != nil {
		return err
	}
	if req.Instead != nil {
		return s.answer(w, req, req.Instead)
	}
	if doc, err = s.build(req, rt); err != nil {
		return err
	}
	w.Header()["Etag"] = []string{doc.etag}
	if len(c.rejected) > 0 {
		return writeAnnotated(w, req, doc, c.rejected)
	}
	if strings.EqualFold(strings.ReplaceAll(req.HTTP.Header.Get("Prefer"), " ", ""), "return=minimal") {
		w.Header().Set("Preference-Applied", "return=minimal")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	writeJSON(w, req.HTTP, http.StatusOK, doc.body)
	return nil
}

// writeAnnotated sends the resource with the properties that were not changed annotated.
func writeAnnotated(w http.ResponseWriter, req *Request, doc *document, rejected []Message) error {
	o := doc.object
	for _, m := range rejected {
		name := "@Message.ExtendedInfo"
		if len(m.Related) > 0 {
			top, _, _ := strings.Cut(strings.TrimPrefix(m.Related[0], "/"), "/")
			name = top + name
		}
		have, _ := o.Get(name)
		list, _ := have.([]Object)
		o = o.with(name, append(list[:len(list):len(list)], m.info()))
	}
	body, err := appendObject(nil, o)
	if err != nil {
		return err
	}
	writeJSON(w, req.HTTP, http.StatusOK, body)
	return nil
}

// remove deletes a resource.
func (s *Service) remove(w http.ResponseWriter, req *Request, rt *route) error {
	if rt.readable() {
		doc, err := s.build(req, rt)
		if err != nil {
			return err
		}
		if err = precondition(req, doc.etag); err != nil {
			return err
		}
	}
	if err := rt.Delete(req); err != nil {
		return err
	}
	if req.Instead != nil {
		return s.answer(w, req, req.Instead)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readBody returns the JSON object in the body. No body is an empty object for actions,
// which sushy sends without one.
func readBody(w http.ResponseWriter, req *Request, rt *route) (map[string]any, error) {
	limit := rt.BodyLimit
	if limit == 0 {
		limit = maxBody
	}
	// A body that trickles in keeps its connection for so long at most.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readTimeout)) // there may be no connection
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.HTTP.Body, limit))
	req.raw = raw
	_ = control.SetReadDeadline(time.Time{})
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, fail(http.StatusRequestEntityTooLarge, msg("PayloadTooLarge"))
	}
	if err != nil {
		return nil, fail(http.StatusBadRequest, msg("UnrecognizedRequestBody"))
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		if rt.action != nil {
			return map[string]any{}, nil
		}
		return nil, fail(http.StatusBadRequest, msg("MalformedJSON"))
	}
	if contentType := req.HTTP.Header.Get("Content-Type"); contentType != "" {
		if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
			return nil, fail(http.StatusUnsupportedMediaType, msg("HeaderInvalid", "Content-Type"))
		}
	}
	return decodeObject(raw)
}

// decodeObject parses one JSON object; numbers stay as they are.
func decodeObject(raw []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fail(http.StatusBadRequest, msg("MalformedJSON"))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fail(http.StatusBadRequest, msg("MalformedJSON"))
	}
	body, isObject := v.(map[string]any)
	if !isObject {
		return nil, fail(http.StatusBadRequest, msg("UnrecognizedRequestBody"))
	}
	return body, nil
}
