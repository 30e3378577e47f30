package conform

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// checkSlash checks that a URI with a slash at its end is the same resource, or none.
func (c *crawl) checkSlash() {
	for _, r := range c.order {
		if r.uri == rootURI || r.body == nil || r.body["@odata.id"] == nil {
			continue
		}
		a := c.do(request{method: http.MethodGet, uri: r.uri + "/"})
		switch {
		case a.status == http.StatusNotFound || a.status > 300 && a.status < 309:
		case a.status != http.StatusOK || a.body["@odata.id"] != r.uri:
			c.failf("http-slash", r.uri, "with a slash at its end answers %d with @odata.id %s", a.status, show(a.body["@odata.id"]))
		}
	}
}

// checkStream checks the stream of events: what it is, not what comes in it.
func (c *crawl) checkStream() {
	service, _ := at(c.resources[rootURI].body, "EventService.@odata.id").(string)
	if c.resources[service] == nil {
		return
	}
	uri, _ := c.resources[service].body["ServerSentEventUri"].(string)
	if uri == "" {
		return
	}
	c.expect("auth", "without credentials", request{method: http.MethodGet, uri: uri, open: true}, []int{http.StatusUnauthorized})
	r, err := c.newRequest(http.MethodGet, c.o.Base+uri, http.NoBody)
	if err != nil {
		c.err = err
		return
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("X-Auth-Token", c.token)
	resp, err := c.client.Do(r)
	if err != nil {
		c.failf("sse", uri, "%v", err)
		return
	}
	if t := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(t, "text/event-stream") {
		c.failf("sse", uri, "answers %d with Content-Type %q, want text/event-stream", resp.StatusCode, t)
	}
	_ = resp.Body.Close() // it was never read to its end
}

// userPassword is that of the accounts that checkAccounts makes.
const userPassword = "Passw0rd-conform"

// checkAccounts checks what the roles of the standard may do (DSP0266 §13.2.10). It
// makes accounts, and deletes them again.
func (c *crawl) checkAccounts() {
	service, _ := at(c.resources[rootURI].body, "AccountService.@odata.id").(string)
	if !c.o.Write || c.o.User == "" || c.resources[service] == nil {
		return
	}
	accounts, _ := at(c.resources[service].body, "Accounts.@odata.id").(string)
	if r := c.resources[accounts]; r == nil || !slices.Contains(methods(r.header), http.MethodPost) {
		return
	}
	for _, role := range []string{"ReadOnly", "Operator"} {
		c.checkRole(accounts, role)
	}
}

// checkRole makes an account with a role, and tries what it may do.
func (c *crawl) checkRole(accounts, role string) {
	user := "conform" + strings.ToLower(role)
	body := `{"UserName":"` + user + `","Password":"` + userPassword + `","RoleId":"` + role + `"}`
	post := request{method: http.MethodPost, uri: accounts, body: body}
	a := c.do(post)
	own := pathOf(a.header.Get("Location"))
	if a.status != http.StatusCreated || own == "" {
		c.problem("account", post, "of a %s answers %d with Location %q %.80s", role, a.status, own, a.raw)
		return
	}
	if a.body["Password"] != nil || strings.Contains(string(a.raw), userPassword) {
		c.problem("account", post, "the answer has the password in it")
	}
	if a.body != nil {
		checkPayload(c.schemas, &c.report, own, a.body)
	}
	c.expect("account", "of one that is there", post, []int{http.StatusBadRequest, http.StatusConflict}, "ResourceAlreadyExists")
	with := basic(user, userPassword)
	as := func(method, uri, body string) request {
		return request{method: method, uri: uri, body: body, open: true, header: with}
	}
	forbidden := []int{http.StatusForbidden}
	if a := c.do(as(http.MethodGet, own, "")); a.status != http.StatusOK || a.body["RoleId"] != role {
		c.failf("account", own, "GET by its user answers %d with RoleId %s", a.status, show(a.body["RoleId"]))
	}
	c.expect("account", "by a "+role, as(http.MethodPost, accounts, body), forbidden, "InsufficientPrivilege")
	c.expect("account", "by a "+role, as(http.MethodPatch, own, `{"RoleId":"Administrator"}`), []int{http.StatusForbidden, http.StatusBadRequest})
	for _, r := range c.order {
		if slices.Contains(methods(r.header), http.MethodPatch) && !strings.HasPrefix(r.uri, accounts) {
			want := map[string]int{"ReadOnly": http.StatusForbidden, "Operator": http.StatusBadRequest}[role]
			if strings.HasPrefix(r.uri, rootURI+"Managers") { // what an Operator may change there is up to the service
				continue
			}
			c.expect("account", "by a "+role, as(http.MethodPatch, r.uri, `{"NoSuchProperty":1}`), []int{want})
		}
	}
	c.checkPassword(own, user)
	del := request{method: http.MethodDelete, uri: own}
	if a := c.do(del); a.status >= 300 {
		c.problem("account", del, "answers %d", a.status)
	}
	c.expect("account", "by a user that was deleted", as(http.MethodGet, accounts, ""), []int{http.StatusUnauthorized})
}

// checkPassword changes a user's own password.
func (c *crawl) checkPassword(own, user string) {
	next := userPassword + "2"
	patch := request{method: http.MethodPatch, uri: own, body: `{"Password":"` + next + `"}`, open: true, header: basic(user, userPassword)}
	if a := c.do(patch); a.status >= 300 || strings.Contains(string(a.raw), next) {
		c.problem("account", patch, "of one's own password answers %d, or has it in it", a.status)
		return
	}
	c.expect("account", "with the old password", request{method: http.MethodGet, uri: own, open: true, header: basic(user, userPassword)},
		[]int{http.StatusUnauthorized})
	if a := c.do(request{method: http.MethodGet, uri: own, open: true, header: basic(user, next)}); a.status != http.StatusOK {
		c.failf("account", own, "GET with the new password answers %d", a.status)
	}
}

func basic(user, password string) map[string]string {
	return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}
