package conform

import (
	"encoding/json"
	"net/http"
	"strings"
)

// checkSessions checks the life of a session (DSP0266 §13.3.4).
func (c *crawl) checkSessions() {
	if c.o.User == "" {
		return
	}
	uri := c.sessionsURI()
	for _, to := range []string{uri, uri + "/Members"} {
		c.checkSession(to)
	}
	post := func(name, body string, status []int, keys ...string) {
		a := c.expect("http-session", name, request{method: http.MethodPost, uri: uri, body: body, open: true}, status, keys...)
		if strings.Contains(string(a.raw), "no-such-password") {
			c.failf("http-session", uri, "POST %s: the answer has the password in it", name)
		}
	}
	bad := []int{http.StatusBadRequest}
	post("of a wrong password", `{"UserName":`+quote(c.o.User)+`,"Password":"no-such-password"}`, []int{http.StatusUnauthorized})
	post("without a password", `{"UserName":`+quote(c.o.User)+`}`, bad, "CreateFailedMissingReqProperties", "PropertyMissing")
	post("with a number", `{"UserName":1,"Password":"no-such-password"}`, bad, "PropertyValueTypeError")
	post("with half a body", `{"UserName":`, bad, "MalformedJSON", "UnrecognizedRequestBody")
	post("without a body", "", bad)
}

func quote(s string) string { return encode(s) }

// encode returns the JSON of a value that came from JSON.
func encode(v any) string {
	b, _ := json.Marshal(v) // such a value never fails
	return string(b)
}

// checkSession makes a session at a URI, uses it and ends it.
func (c *crawl) checkSession(at string) {
	post := request{method: http.MethodPost, uri: at, open: true, body: `{"UserName":` + quote(c.o.User) + `,"Password":` + quote(c.o.Password) + `}`}
	a := c.do(post)
	token, uri := a.header.Get("X-Auth-Token"), pathOf(a.header.Get("Location"))
	if a.status != http.StatusCreated || len(token) < 22 || !strings.HasPrefix(uri, strings.TrimSuffix(at, "/Members")+"/") {
		c.problem("http-session", post, "answers %d with a token of %d characters and Location %q", a.status, len(token), uri)
		return
	}
	c.checkEveryAnswer("POST", at, a)
	if a.body == nil || a.body["@odata.id"] != uri || a.body["Password"] != nil {
		c.problem("http-session", post, "body is %s, want the session without its password", show(a.body))
	} else {
		checkPayload(c.schemas, &c.report, uri, a.body)
	}
	with := map[string]string{"X-Auth-Token": token}
	get := request{method: http.MethodGet, uri: uri, open: true, header: with}
	if a := c.do(get); a.status != http.StatusOK || a.body["UserName"] != c.o.User || strings.Contains(string(a.raw), token) {
		c.problem("http-session", get, "answers %d with UserName %s, or with the token in it", a.status, show(a.body["UserName"]))
	}
	list := request{method: http.MethodGet, uri: strings.TrimSuffix(at, "/Members"), open: true, header: with}
	if a := c.do(list); !strings.Contains(string(a.raw), `"`+uri+`"`) {
		c.problem("http-session", list, "answers %d without the new session", a.status)
	}
	del := request{method: http.MethodDelete, uri: uri, open: true, header: with}
	if a := c.do(del); a.status != http.StatusNoContent && a.status != http.StatusOK {
		c.problem("http-session", del, "answers %d", a.status)
	}
	if a := c.do(list); a.status != http.StatusUnauthorized {
		c.problem("http-session", list, "answers %d with the token of a session that has ended", a.status)
	}
	if a := c.do(request{method: http.MethodGet, uri: uri}); a.status != http.StatusNotFound {
		c.problem("http-session", get, "answers %d after the session has ended", a.status)
	}
}
