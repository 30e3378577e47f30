package conform

import (
	"net/http"
	"strings"
)

// checkRequestHeaders checks what a client's headers do (DSP0266 §8.1).
func (c *crawl) checkRequestHeaders() {
	ok := []map[string]string{
		{"Accept": ""}, {"Accept": "*/*"}, {"Accept": "application/*"}, {"Accept": "application/json;charset=utf-8"},
		{"Accept": "text/html, application/json;q=0.9"}, {"Accept": "application/json;odata.metadata=minimal"},
		{"OData-Version": "4.0"}, {"OData-MaxVersion": "4.01"}, {"Origin": "https://example.org"},
	}
	for _, h := range ok {
		a := c.do(request{method: http.MethodGet, uri: rootURI, header: h})
		if a.status != http.StatusOK || a.body == nil {
			c.failf("http-request", rootURI, "GET with %v answers %d", h, a.status)
		}
		if _, origin := h["Origin"]; origin && a.header.Get("Access-Control-Allow-Origin") == "" {
			c.failf("http-origin", rootURI, "no Access-Control-Allow-Origin for a request with Origin")
		}
	}
	for _, uri := range []string{rootURI, c.sessionsURI()} {
		c.expect("http-odata-version", "with OData-Version 5.0", request{method: http.MethodGet, uri: uri,
			header: map[string]string{"OData-Version": "5.0"}}, []int{http.StatusPreconditionFailed})
		c.expect("http-accept", "with Accept: text/plain", request{method: http.MethodGet, uri: uri,
			header: map[string]string{"Accept": "text/plain"}}, []int{http.StatusNotAcceptable})
	}
	a := c.do(request{method: http.MethodGet, uri: rootURI, body: "{}"})
	if a.status != http.StatusOK {
		c.failf("http-request", rootURI, "GET with a body answers %d, want it ignored", a.status)
	}
	a = c.do(request{method: http.MethodGet, uri: metadataURI, open: true, header: map[string]string{"Accept": "application/xml"}})
	if a.status != http.StatusOK {
		c.failf("http-accept", metadataURI, "Accept: application/xml answers %d", a.status)
	}
}

// checkUnknown checks URIs that are none.
func (c *crawl) checkUnknown() {
	for _, uri := range []string{rootURI + "NoSuchResource", rootURI + "Systems/no-such-system", rootURI + "Systems/no-such-system/Bios",
		rootURI + "Managers/..%2f..", rootURI + "Chassis/%00"} {
		c.expect("http-unknown", "of nothing", request{method: http.MethodGet, uri: uri},
			[]int{http.StatusNotFound, http.StatusBadRequest}, "ResourceMissingAtURI", "ResourceNotFound", "InvalidURI")
	}
	for _, m := range []string{http.MethodPatch, http.MethodDelete, http.MethodPost} {
		c.expect("http-unknown", "of nothing", request{method: m, uri: rootURI + "NoSuchResource", body: "{}"},
			[]int{http.StatusNotFound, http.StatusMethodNotAllowed})
	}
}

// checkAuthentication checks who is let in (DSP0266 §13.2).
func (c *crawl) checkAuthentication() {
	if c.o.User == "" {
		return
	}
	private := c.sessionsURI()
	for _, uri := range open {
		a := c.do(request{method: http.MethodGet, uri: uri, open: true})
		if a.status != http.StatusOK && (a.status < 301 || a.status > 308) {
			c.failf("auth", uri, "GET without credentials answers %d, want it open", a.status)
		}
	}
	a := c.do(request{method: http.MethodGet, uri: private, open: true, header: basic(c.o.User, c.o.Password)})
	if a.status != http.StatusOK {
		c.failf("auth", private, "GET with Basic answers %d", a.status)
	}
	refused := []int{http.StatusUnauthorized}
	for name, h := range map[string]map[string]string{
		"with a wrong password": basic(c.o.User, "wrong"), "with an unknown user": basic("nobody-known", "wrong"),
		"with an unknown token": {"X-Auth-Token": "0123456789abcdef0123456789abcdef"}, "with garbage": {"Authorization": "Basic !"},
	} {
		a := c.expect("auth", name, request{method: http.MethodGet, uri: private, open: true, header: h}, refused)
		c.checkChallenge(private, a)
		if c.o.Password != "" && strings.Contains(string(a.raw), c.o.Password) {
			c.failf("auth", private, "the answer %s has the password in it", name)
		}
	}
	// Nobody may find out what exists.
	for _, m := range []string{http.MethodPatch, http.MethodDelete, http.MethodPost, http.MethodHead} {
		uri := rootURI + "Systems"
		c.expect("auth", "without credentials", request{method: m, uri: uri, body: "{}", open: true}, []int{http.StatusUnauthorized})
	}
	c.expect("auth", "of nothing, without credentials", request{method: http.MethodGet, uri: rootURI + "NoSuchResource", open: true},
		[]int{http.StatusUnauthorized, http.StatusNotFound})
	a = c.do(request{method: http.MethodGet, uri: rootURI, open: true, header: map[string]string{"X-Auth-Token": "0123456789abcdef0123456789abcdef"}})
	if a.status != http.StatusOK && a.status != http.StatusUnauthorized {
		c.failf("auth", rootURI, "GET with a wrong token answers %d", a.status)
	}
}
