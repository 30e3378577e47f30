package conform

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// malformed are bodies that are no JSON object.
var malformed = []string{`{"a":`, `{"a":1}}`, `[]`, `"x"`, "\x00\xff"}

// checkBodies checks that what is no JSON is refused everywhere (DSP0266 §8.3).
func (c *crawl) checkBodies() {
	if !c.o.Write {
		return
	}
	for _, r := range c.order {
		allow := methods(r.header)
		for _, m := range []string{http.MethodPost, http.MethodPatch} {
			if r.status != http.StatusOK || !slices.Contains(allow, m) {
				continue
			}
			for _, body := range malformed {
				a := c.expect("http-body", fmt.Sprintf("%.10q", body), request{method: m, uri: r.uri, body: body}, []int{http.StatusBadRequest},
					"MalformedJSON", "UnrecognizedRequestBody", "PropertyValueTypeError")
				c.checkEveryAnswer(m, r.uri, a)
			}
			c.expect("http-body", "of text", request{method: m, uri: r.uri, body: "a=1", header: map[string]string{"Content-Type": "text/plain"}},
				[]int{http.StatusUnsupportedMediaType, http.StatusBadRequest})
		}
	}
}

// checkPatches checks PATCH where Allow has it (DSP0266 §7.7).
func (c *crawl) checkPatches() {
	for _, r := range c.order {
		if c.o.Write && r.payload != nil && slices.Contains(methods(r.header), http.MethodPatch) {
			c.checkPatch(r)
		}
	}
}

func (c *crawl) checkPatch(r *resource) {
	patch := func(name, body string, header map[string]string, status int, keys ...string) answer {
		return c.expect("http-patch", name, request{method: http.MethodPatch, uri: r.uri, body: body, header: header}, []int{status}, keys...)
	}
	patch("of an unknown property", `{"NoSuchProperty":1}`, nil, http.StatusBadRequest, "PropertyUnknown")
	patch("of Id", `{"Id":"x"}`, nil, http.StatusBadRequest, "PropertyNotWritable", "PropertyUnknown")
	patch("of annotations only", `{"@odata.id":`+quote(r.uri)+`}`, nil, http.StatusBadRequest, "NoOperation")
	patch("of nothing", `{}`, nil, http.StatusBadRequest, "NoOperation", "MalformedJSON", "UnrecognizedRequestBody", "EmptyJSON")
	patch("with a stale ETag", `{"NoSuchProperty":1}`, map[string]string{"If-Match": `"stale"`}, http.StatusPreconditionFailed, "PreconditionFailed")
	for _, path := range r.payload.writable {
		if typed, ok := wrongType(r.body, path); ok {
			patch("of "+path+" with a wrong type", typed, nil, http.StatusBadRequest, "PropertyValueTypeError", "PropertyNotWritable", "PropertyUnknown")
		}
	}
	c.checkSamePatch(r)
}

// wrongType is a body that gives a property at the top an object; ok is false for
// others, and for what is one.
func wrongType(body map[string]any, path string) (string, bool) {
	switch body[path].(type) {
	case nil, map[string]any, []any:
		return "", false
	}
	return fmt.Sprintf(`{%s:{"a":1}}`, quote(path)), true
}

// checkSamePatch writes present values: one that is writable must be taken, with the
// ETag in either spelling, and the resource must stay what it is.
func (c *crawl) checkSamePatch(r *resource) {
	taken := false
	for _, path := range r.payload.writable {
		v, ok := valueAt(r.body, path)
		if !ok || v == nil || strings.Contains(path, "@") || taken {
			continue
		}
		body := nested(path, v)
		a := c.do(request{method: http.MethodPatch, uri: r.uri, body: body})
		if a.status == http.StatusBadRequest {
			keys := c.checkError("PATCH "+body, r.uri, a)
			if !slices.Contains(keys, "PropertyNotWritable") && !slices.Contains(keys, "PropertyUnknown") {
				c.find(Finding{Resource: r.uri, Property: path, Rule: "http-patch", Text: fmt.Sprintf("the present value is refused: %v", keys)})
			}
			continue
		}
		if a.status != http.StatusOK && a.status != http.StatusNoContent && a.status != http.StatusAccepted {
			c.find(Finding{Resource: r.uri, Property: path, Rule: "http-patch", Text: fmt.Sprintf("PATCH of the present value answers %d %.80s", a.status, a.raw)})
			continue
		}
		taken = true
		c.checkIfMatch(r, body)
		c.checkMixedPatch(r, path, v)
	}
	plain := slices.DeleteFunc(slices.Clone(r.payload.writable), func(path string) bool { return strings.Contains(path, "@") })
	if !taken && len(plain) > 0 {
		c.warnf("http-patch", r.uri, "no present value could be written, of %s", strings.Join(shorten(plain), ", "))
	}
}

// checkIfMatch writes with the present ETag, which clients spell in two ways.
func (c *crawl) checkIfMatch(r *resource, body string) {
	for i := range 2 {
		tag := c.do(request{method: http.MethodGet, uri: r.uri}).header.Get("ETag")
		if tag == "" {
			return
		}
		h := map[string]string{"If-Match": spellings(tag)[i]}
		q := request{method: http.MethodPatch, uri: r.uri, body: body, header: h}
		if a := c.do(q); a.status >= 300 {
			c.problem("http-etag", q, "If-Match: %s with the present ETag answers %d", h["If-Match"], a.status)
		}
	}
	q := request{method: http.MethodPatch, uri: r.uri, body: body, header: map[string]string{"If-Match": "*"}}
	if a := c.do(q); a.status >= 300 {
		c.problem("http-etag", q, "If-Match: * answers %d", a.status)
	}
}

// checkMixedPatch writes a good and a bad property together: the good one is taken,
// and the answer says what was not.
func (c *crawl) checkMixedPatch(r *resource, path string, v any) {
	body := strings.TrimSuffix(nested(path, v), "}") + `,"NoSuchProperty":1}`
	q := request{method: http.MethodPatch, uri: r.uri, body: body}
	a := c.do(q)
	if a.status != http.StatusOK || !strings.Contains(string(a.raw), "PropertyUnknown") {
		c.problem("http-patch", q, "of a good and an unknown property answers %d %.80s, want 200 with PropertyUnknown in an annotation", a.status, a.raw)
	}
}

// valueAt returns the value at a path of objects.
func valueAt(body map[string]any, path string) (any, bool) {
	if strings.Contains(path, "[") {
		return nil, false
	}
	name, rest, more := strings.Cut(path, ".")
	v, ok := body[name]
	if !more {
		return v, ok
	}
	obj, _ := v.(map[string]any)
	return valueAt(obj, rest)
}

// nested is the JSON object that has v at the path.
func nested(path string, v any) string {
	name, rest, more := strings.Cut(path, ".")
	if more {
		return fmt.Sprintf("{%s:%s}", quote(name), nested(rest, v))
	}
	return fmt.Sprintf("{%s:%s}", quote(name), encode(v))
}

// checkActions sends actions what they must refuse.
func (c *crawl) checkActions() {
	for _, r := range c.order {
		actions, _ := r.body["Actions"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(actions)) {
			if target, _ := at(actions[name], "target").(string); target != "" && strings.HasPrefix(name, "#") {
				c.checkAction(r, name, target)
			}
		}
	}
}

func (c *crawl) checkAction(r *resource, name, target string) {
	a := c.expect("http-action", "of an action's target", request{method: http.MethodGet, uri: target}, []int{http.StatusMethodNotAllowed, http.StatusNotFound})
	if a.status == http.StatusMethodNotAllowed && !slices.Contains(methods(a.header), http.MethodPost) {
		c.failf("http-allow", target, "Allow of the 405 is %q, want POST", a.header.Get("Allow"))
	}
	c.expect("auth", "without credentials", request{method: http.MethodPost, uri: target, body: "{", open: true}, []int{http.StatusUnauthorized})
	if !c.o.Write {
		return
	}
	bad := []int{http.StatusBadRequest}
	c.expect("http-action", "with half a body", request{method: http.MethodPost, uri: target, body: `{"a":`}, bad, "MalformedJSON", "UnrecognizedRequestBody")
	c.expect("http-action", "with an unknown parameter", request{method: http.MethodPost, uri: target, body: `{"NoSuchParameter":1}`}, bad,
		"ActionParameterUnknown", "ActionParameterNotSupported", "ActionParameterMissing", "PropertyUnknown")
	schema, short, _ := strings.Cut(strings.TrimPrefix(name, "#"), ".")
	sp := c.schemas.space(schema)
	if sp == nil || sp.actions[short] == nil {
		return
	}
	for _, p := range sp.actions[short].parameters {
		if !p.nullable {
			c.expect("http-action", "without "+p.name, request{method: http.MethodPost, uri: target, body: `{}`}, bad, "ActionParameterMissing")
			break
		}
	}
	c.checkParameterValues(r, name, target)
}

// checkParameterValues sends parameters values that they do not take.
func (c *crawl) checkParameterValues(r *resource, name, target string) {
	actions, _ := r.body["Actions"].(map[string]any)
	description, _ := actions[name].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(description)) {
		parameter, ok := strings.CutSuffix(key, "@Redfish.AllowableValues")
		if !ok {
			continue
		}
		for value, keys := range map[string][]string{
			`"NoSuchValue"`: {"ActionParameterValueNotInList", "ActionParameterValueFormatError", "PropertyValueNotInList", "ActionParameterMissing"},
			`{"a":1}`:       {"ActionParameterValueTypeError", "PropertyValueTypeError", "ActionParameterMissing"},
		} {
			c.expect("http-action", parameter+" "+value, request{method: http.MethodPost, uri: target, body: `{` + quote(parameter) + `:` + value + `}`},
				[]int{http.StatusBadRequest}, keys...)
		}
	}
}

// checkCreates sends collections a member without what the schema requires of one
// (Redfish.RequiredOnCreate).
func (c *crawl) checkCreates() {
	for _, r := range c.order {
		if !c.o.Write || r.payload == nil || r.payload.t == nil || !slices.Contains(methods(r.header), http.MethodPost) {
			continue
		}
		members := c.schemas.props(r.payload.t)["Members"]
		if members == nil {
			continue
		}
		t := c.schemas.newest(members.typ, "")
		for _, name := range slices.Sorted(maps.Keys(c.schemas.props(t))) {
			if !c.schemas.props(t)[name].notes.requiredOnCreate {
				continue
			}
			c.expect("http-create", "without "+name, request{method: http.MethodPost, uri: r.uri, body: `{"Oem":{}}`}, []int{http.StatusBadRequest},
				"CreateFailedMissingReqProperties", "PropertyMissing", "PropertyUnknown")
			break
		}
	}
}
