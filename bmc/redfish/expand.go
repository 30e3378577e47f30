package redfish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// fetch builds another resource for the same caller. The path is an @odata.id.
func (s *Service) fetch(req *Request, path string) (*document, error) {
	rt, vars := s.match(path)
	if rt == nil || !rt.readable() {
		return nil, notFound(path)
	}
	sub := &Request{HTTP: req.HTTP, Service: s, Path: canonical(path), Caller: req.Caller, vars: vars}
	if !rt.Open {
		if sub.Caller == nil {
			return nil, notFound(path)
		}
		if !sub.Caller.may(rt.privilege(http.MethodGet)) && !rt.isSelf(sub) {
			return nil, notFound(path)
		}
	}
	if id := rt.systemOf(sub); id != "" {
		sys, ok := sub.Find(id)
		if !ok {
			return nil, notFound(path)
		}
		if sys.Chassis == nil {
			return s.fetchElsewhere(sub, rt, sys)
		}
		sub.System = sys
	}
	if !rt.exists(sub) {
		return nil, notFound(path)
	}
	return s.build(sub, rt)
}

// memoryWriter keeps an answer.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *memoryWriter) Header() http.Header         { return w.header }
func (w *memoryWriter) WriteHeader(status int)      { w.status = status }
func (w *memoryWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

// fetchElsewhere asks the peer that has the system.
func (s *Service) fetchElsewhere(sub *Request, rt *route, sys System) (*document, error) {
	if s.cfg.Forward == nil || isForwarded(sub.Context()) {
		return nil, unavailable(busyRetry)
	}
	r, err := http.NewRequestWithContext(sub.Context(), http.MethodGet, sub.Path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", sub.Path, err)
	}
	r.RemoteAddr = sub.HTTP.RemoteAddr
	w := &memoryWriter{header: http.Header{}, status: http.StatusOK}
	s.cfg.Forward(w, r, sys, sub.Caller)
	if w.status != http.StatusOK {
		return nil, unavailable(busyRetry)
	}
	var payload map[string]any
	if err = json.Unmarshal(w.body.Bytes(), &payload); err != nil {
		return nil, fmt.Errorf("forward %s: %w", sub.Path, err)
	}
	o := Object{{"@odata.id", sub.Path}, {"@odata.type", rt.Type}}
	for key, v := range payload {
		o = o.with(key, v)
	}
	return &document{object: o, body: w.body.Bytes(), etag: w.header.Get("Etag")}, nil
}

// An expander replaces references by what they refer to (DSP0266 §7.3.1).
type expander struct {
	service *Service
	req     *Request
	which   byte
	left    int
}

// object expands the references in o; inLinks says that they are not subordinate.
func (e *expander) object(o Object, levels int, inLinks bool) Object {
	out := make(Object, 0, len(o))
	for _, p := range o {
		links := inLinks || p.Key == "Links"
		if !strings.HasPrefix(p.Key, "@") && !strings.HasPrefix(p.Key, "#") {
			p.Value = e.value(p.Value, levels, links)
		}
		out = append(out, p)
	}
	return out
}

func (e *expander) value(v any, levels int, inLinks bool) any {
	switch v := v.(type) {
	case Object:
		return e.one(v, levels, inLinks)
	case []Object:
		out := make([]Object, len(v))
		for i, o := range v {
			out[i] = e.one(o, levels, inLinks)
		}
		return out
	}
	return v
}

func (e *expander) one(o Object, levels int, inLinks bool) Object {
	path, isRef := reference(o)
	if !isRef {
		return e.object(o, levels, inLinks)
	}
	wanted := e.which == '*' || inLinks == (e.which == '~')
	if !wanted || e.left == 0 || strings.Contains(path, "#") {
		return o
	}
	doc, err := e.service.fetch(e.req, path)
	if err != nil {
		return o
	}
	e.left--
	if levels == 1 {
		return doc.object
	}
	return e.object(doc.object, levels-1, false)
}

// reference says whether an object is nothing but a reference.
func reference(o Object) (path string, ok bool) {
	if len(o) != 1 || o[0].Key != "@odata.id" {
		return "", false
	}
	path, ok = o[0].Value.(string)
	return path, ok
}
