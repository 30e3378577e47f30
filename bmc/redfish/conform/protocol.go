package conform

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

const jsonType = "application/json"

// checkProtocol checks what DSP0266 says of HTTP.
func (c *crawl) checkProtocol() {
	for _, r := range c.order {
		if r.status == http.StatusOK {
			c.checkResource(r)
		}
	}
	for _, check := range []func(){c.checkRoot, c.checkVersions, c.checkODataDocument, c.checkMetadata, c.checkRequestHeaders,
		c.checkUnknown, c.checkAuthentication, c.checkSessions, c.checkQueries, c.checkBodies, c.checkCreates, c.checkPatches, c.checkActions, c.checkSlash,
		c.checkStream, c.checkAccounts} {
		if c.err == nil {
			check()
		}
	}
}

// checkResource is what holds for each resource.
func (c *crawl) checkResource(r *resource) {
	c.checkHeaders(r)
	c.checkRestrictions(r)
	c.checkHead(r)
	c.checkConditional(r)
	if !slices.Contains(open, r.uri) {
		a := c.expect("auth", "without credentials", request{method: http.MethodGet, uri: r.uri, open: true}, []int{http.StatusUnauthorized})
		c.checkChallenge(r.uri, a)
	}
	if c.o.Write {
		c.checkMethods(r)
	}
}

// open are what needs no authentication (DSP0266 §13.2).
var open = []string{"/redfish", "/redfish/v1", rootURI, metadataURI, odataURI}

const (
	metadataURI = "/redfish/v1/$metadata"
	odataURI    = "/redfish/v1/odata"
)

// checkHeaders checks the headers of a GET (DSP0266 §8.2).
func (c *crawl) checkHeaders(r *resource) {
	c.checkEveryAnswer("GET", r.uri, answer{status: r.status, header: r.header})
	allow := methods(r.header)
	if !slices.Contains(allow, http.MethodGet) {
		c.failf("http-allow", r.uri, "Allow is %q, want GET in it", r.header.Get("Allow"))
	}
	if r.body == nil {
		return
	}
	if t := strings.ToLower(strings.ReplaceAll(r.header.Get("Content-Type"), " ", "")); t != "application/json;charset=utf-8" && t != jsonType {
		c.failf("http-type", r.uri, "Content-Type is %q", r.header.Get("Content-Type"))
	}
	c.checkDescribedBy(r)
	c.checkETag(r, allow)
}

// checkEveryAnswer checks the headers that each answer has.
func (c *crawl) checkEveryAnswer(method, uri string, a answer) {
	if v := a.header.Get("OData-Version"); v != "4.0" {
		c.failf("http-odata-version", uri, "%s: OData-Version is %q, want \"4.0\"", method, v)
	}
	if v := a.header.Get("Cache-Control"); a.status < 300 && !strings.Contains(v, "no-cache") && !strings.Contains(v, "no-store") && !strings.HasPrefix(v, "private") {
		c.failf("http-cache", uri, "%s: Cache-Control is %q, want no-cache", method, v)
	}
	if a.header.Get("Set-Cookie") != "" {
		c.failf("http-cookie", uri, "%s: sets a cookie", method)
	}
}

// methods are those of the Allow header.
func methods(h http.Header) []string {
	var out []string
	for _, m := range strings.Split(strings.Join(h.Values("Allow"), ","), ",") {
		if m = strings.TrimSpace(m); m != "" {
			out = append(out, m)
		}
	}
	return out
}

var describedBy = regexp.MustCompile(`<([^>]*)>\s*;[^,]*\brel="?describedby"?`)

// checkDescribedBy checks the link to the schema (DSP0266 §8.2.2).
func (c *crawl) checkDescribedBy(r *resource) {
	m := describedBy.FindStringSubmatch(strings.Join(r.header.Values("Link"), ", "))
	if m == nil {
		c.failf("http-link", r.uri, "Link is %q, want a schema with rel=describedby", r.header.Get("Link"))
		return
	}
	if r.payload == nil || r.payload.t == nil {
		return
	}
	schema := schemaOf(r.payload.t.space)
	if !strings.Contains(m[1], schema) {
		c.failf("http-link", r.uri, "describedby is %q, want the schema of %s", m[1], r.payload.t.full())
	}
	if v := regexp.MustCompile(`v\d+_\d+_\d+`).FindString(m[1]); v != "" && !strings.HasSuffix(r.payload.t.space, v) {
		c.failf("http-link", r.uri, "describedby is %q, want that of %s", m[1], r.payload.t.space)
	}
	if strings.HasPrefix(m[1], "/") && c.resources[m[1]] == nil {
		if a := c.do(request{method: http.MethodGet, uri: m[1]}); a.status != http.StatusOK {
			c.failf("http-link", r.uri, "describedby %q answers %d", m[1], a.status)
		}
	}
}

// checkETag checks that there is an ETag, in both places (DSP0266 §7.6).
func (c *crawl) checkETag(r *resource, allow []string) {
	tag := r.header.Get("ETag")
	if tag == "" {
		if slices.Contains(allow, http.MethodPatch) || r.payload != nil && r.payload.t != nil && r.payload.t.name == "ManagerAccount" {
			c.failf("http-etag", r.uri, "there is no ETag, but it can be changed")
			return
		}
		c.warnf("http-etag", r.uri, "there is no ETag")
		return
	}
	if !etag.MatchString(tag) {
		c.failf("http-etag", r.uri, "ETag is %q, want one in quotes", tag)
	}
	if in, ok := r.body["@odata.etag"].(string); ok && in != tag {
		c.failf("http-etag", r.uri, "ETag is %q, but @odata.etag %q", tag, in)
	}
}

// checkRestrictions holds Allow against what the schema says (Capabilities terms).
func (c *crawl) checkRestrictions(r *resource) {
	if r.payload == nil || r.payload.t == nil {
		return
	}
	t, allow := r.payload.t, methods(r.header)
	for _, m := range []struct {
		method string
		says   func(notes) *bool
	}{
		{http.MethodPost, func(n notes) *bool { return n.insertable }},
		{http.MethodPatch, func(n notes) *bool { return n.updatable }},
		{http.MethodDelete, func(n notes) *bool { return n.deletable }},
	} {
		may := m.says(c.schemas.note(t, func(n notes) bool { return m.says(n) != nil }))
		if may != nil && !*may && slices.Contains(allow, m.method) {
			c.failf("capability", r.uri, "allows %s, which %s does not", m.method, t.space)
		}
	}
	c.checkWritable(r, slices.Contains(allow, http.MethodPatch) || slices.Contains(allow, http.MethodPut))
}

// checkWritable warns if PATCH and what the schema lets clients write do not go together.
func (c *crawl) checkWritable(r *resource, patch bool) {
	// The settings that apply later are written in a resource of their own.
	if strings.HasSuffix(r.uri, "/Settings") || at(r.body, "@Redfish.Settings") != nil {
		return
	}
	may := c.schemas.note(r.payload.t, func(n notes) bool { return n.updatable != nil }).updatable
	if may != nil && *may && !patch && len(r.payload.writable) > 0 {
		c.warnf("read-only", r.uri, "no PATCH, although the schema lets clients write %s", strings.Join(shorten(r.payload.writable), ", "))
	}
	if patch && len(r.payload.writable) == 0 {
		c.warnf("nothing-to-write", r.uri, "PATCH, but no property that clients may write")
	}
}

func shorten(list []string) []string {
	if len(list) > 6 {
		return append(slices.Clone(list[:6]), "…")
	}
	return list
}

// checkHead checks HEAD: the headers of GET, and no body.
func (c *crawl) checkHead(r *resource) {
	a := c.do(request{method: http.MethodHead, uri: r.uri})
	switch {
	case a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotImplemented:
		c.warnf("http-head", r.uri, "HEAD answers %d", a.status)
		return
	case a.status != http.StatusOK || len(a.raw) > 0:
		c.failf("http-head", r.uri, "HEAD answers %d with %d bytes", a.status, len(a.raw))
	}
	for _, h := range []string{"Allow", "Content-Type", "OData-Version", "Cache-Control", "Link"} {
		if a.header.Get(h) != r.header.Get(h) {
			c.failf("http-head", r.uri, "%s is %q with HEAD, %q with GET", h, a.header.Get(h), r.header.Get(h))
		}
	}
}

// checkConditional checks that a client that has the resource is told so.
func (c *crawl) checkConditional(r *resource) {
	tag := r.header.Get("ETag")
	if tag == "" || r.body == nil {
		return
	}
	for _, spelling := range spellings(tag) {
		a := c.do(request{method: http.MethodGet, uri: r.uri, header: map[string]string{"If-None-Match": spelling}})
		switch {
		case a.status == http.StatusNotModified && len(a.raw) == 0:
		case a.status == http.StatusOK && a.header.Get("ETag") != tag:
			c.warnf("http-etag", r.uri, "changes by itself from %s to %s", tag, a.header.Get("ETag"))
			return
		default:
			c.failf("http-etag", r.uri, "If-None-Match: %s answers %d with %d bytes, want 304", spelling, a.status, len(a.raw))
		}
	}
}

// spellings are an ETag as a weak and as a strong one: clients mix them up.
func spellings(tag string) []string {
	strong := strings.TrimPrefix(tag, "W/")
	return []string{strong, "W/" + strong}
}

// checkMethods checks that what Allow does not have is refused (DSP0266 §7.1).
func (c *crawl) checkMethods(r *resource) {
	allow := methods(r.header)
	for _, m := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, "BREW"} {
		if slices.Contains(allow, m) {
			continue
		}
		a := c.expect("http-method", "that Allow does not have", request{method: m, uri: r.uri, body: "{}"},
			[]int{http.StatusMethodNotAllowed, http.StatusNotImplemented})
		if a.status == http.StatusMethodNotAllowed && !slices.Equal(methods(a.header), allow) {
			c.failf("http-allow", r.uri, "Allow of the 405 to %s is %q, that of GET %q", m, a.header.Get("Allow"), strings.Join(allow, ", "))
		}
	}
	a := c.do(request{method: http.MethodOptions, uri: r.uri})
	switch {
	case a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotImplemented:
	case a.status >= 300 || len(methods(a.header)) == 0:
		c.failf("http-options", r.uri, "OPTIONS answers %d with Allow %q", a.status, a.header.Get("Allow"))
	}
}

// checkChallenge checks that a 401 says how to log in.
func (c *crawl) checkChallenge(uri string, a answer) {
	if a.status == http.StatusUnauthorized && !strings.Contains(a.header.Get("WWW-Authenticate"), "Basic realm=") {
		c.failf("auth", uri, "WWW-Authenticate is %q, want Basic with a realm", a.header.Get("WWW-Authenticate"))
	}
	if a.status == http.StatusUnauthorized {
		c.checkEveryAnswer("401", uri, a)
	}
}

// problem adds a failure about a request.
func (c *crawl) problem(rule string, q request, format string, args ...any) {
	c.find(Finding{Resource: q.uri, Property: q.method, Rule: rule, Text: fmt.Sprintf(format, args...)})
}
