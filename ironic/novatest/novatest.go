// Package novatest is what a client that manages flavors sees of a cloud: a Keystone with one
// account, Nova's flavors and Placement's resource providers, with the answers and refusals of
// the real ones (release Zed). Start listens on loopback until the test ends.
package novatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say how the cloud behaves.
type Options struct {
	// MaxPage is the most flavors in a list. Default 1000.
	MaxPage int
	// Member is an account that may manage nothing.
	Member bool
}

// The account.
const (
	Username = "operator"
	Password = "planted-cloud-password"
	token    = "planted-token"
)

// Fault is what happens to a request instead of an answer.
type Fault int

// The faults.
const (
	None Fault = iota
	// CutBefore closes the connection before the request has any effect.
	CutBefore
	// CutAfter closes it after the effect, so that the client never learns of it.
	CutAfter
	// Down answers 503.
	Down
)

// Cloud is a running fake. Its methods are safe for concurrent use.
type Cloud struct {
	opts   Options
	server *httptest.Server

	// mu guards all below.
	mu        sync.Mutex
	flavors   []*flavor
	made      int
	providers map[string]*Provider
	traits    map[string]bool
	log       []string
	fault     func(method, path string) Fault
}

// Provider is a resource provider.
type Provider struct {
	// Total and Reserved by resource class.
	Total, Reserved map[string]int
	Traits          []string
}

// Start runs a cloud until the test ends.
func Start(t testing.TB, opts Options) *Cloud {
	t.Helper()
	if opts.MaxPage == 0 {
		opts.MaxPage = 1000
	}
	c := &Cloud{opts: opts, providers: map[string]*Provider{}, traits: map[string]bool{"HW_CPU_X86_VMX": true}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /identity/v3/auth/tokens", c.authenticate)
	c.handle(mux, "GET /compute/v2.1/flavors/detail", c.list)
	c.handle(mux, "POST /compute/v2.1/flavors", c.create)
	c.handle(mux, "DELETE /compute/v2.1/flavors/{id}", c.remove)
	c.handle(mux, "POST /compute/v2.1/flavors/{id}/os-extra_specs", c.set)
	c.handle(mux, "DELETE /compute/v2.1/flavors/{id}/os-extra_specs/{key}", c.unset)
	mux.HandleFunc("GET /placement/{$}", versions)
	c.handle(mux, "GET /placement/resource_providers/{id}/inventories", c.inventories)
	c.handle(mux, "GET /placement/resource_providers/{id}/traits", c.providerTraits)
	c.handle(mux, "GET /placement/traits", c.listTraits)
	c.handle(mux, "PUT /placement/traits/{name}", c.putTrait)
	c.server = httptest.NewServer(mux)
	t.Cleanup(c.server.Close)
	return c
}

// CloudsYAML is an entry "lab" for the cloud's account.
func (c *Cloud) CloudsYAML(password string) string {
	return fmt.Sprintf(`clouds:
  lab:
    region_name: RegionOne
    auth:
      auth_url: %s/identity/v3
      username: %s
      password: %s
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
`, c.server.URL, Username, password)
}

// Endpoints are the URLs of Nova and Placement, and Token is what requests to them carry.
func (c *Cloud) Endpoints() (nova, placement, auth string) {
	return c.server.URL + "/compute/v2.1", c.server.URL + "/placement", token
}

// Intercept has each request to Nova and Placement ask what becomes of it; nil: it is answered.
func (c *Cloud) Intercept(fault func(method, path string) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fault
}

// Writes returns and forgets the requests so far that changed something, as "POST /flavors".
func (c *Cloud) Writes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(c.log), func(line string) bool { return strings.HasPrefix(line, "GET ") })
	c.log = nil
	return out
}

// Requests counts the requests to Nova and Placement since the last Writes.
func (c *Cloud) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log)
}

// Traits are the custom traits that Placement knows, sorted.
func (c *Cloud) Traits() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Sorted(maps.Keys(c.traits))
	return slices.DeleteFunc(out, func(name string) bool { return !strings.HasPrefix(name, "CUSTOM_") })
}

// SetProvider makes, or with nil deletes, a resource provider.
func (c *Cloud) SetProvider(uuid string, p *Provider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p == nil {
		delete(c.providers, uuid)
		return
	}
	c.providers[uuid] = p
}

// answer is what a request is answered with.
type answer struct {
	status int
	body   any
}

// handle answers requests that carry the token.
func (c *Cloud) handle(mux *http.ServeMux, pattern string, serve func(r *http.Request) answer) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, path, _ := strings.Cut(r.URL.Path[1:], "/")
		path = "/" + strings.TrimPrefix(path, "v2.1/")
		c.log = append(c.log, r.Method+" "+path)
		fault := None
		if c.fault != nil {
			fault = c.fault(r.Method, path)
		}
		switch fault {
		case CutBefore:
			panic(http.ErrAbortHandler)
		case Down:
			write(w, answer{http.StatusServiceUnavailable, nil})
			return
		}
		a := answer{http.StatusUnauthorized, map[string]any{"error": map[string]any{"code": 401, "title": "Unauthorized",
			"message": "The request you have made requires authentication."}}}
		if r.Header.Get("X-Auth-Token") == token {
			a = serve(r)
		}
		if fault == CutAfter {
			panic(http.ErrAbortHandler)
		}
		write(w, a)
	})
}

func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	if a.body != nil {
		_ = json.NewEncoder(w).Encode(a.body) // a client that has gone
	}
}

// authenticate is all of Keystone that a client needs (Identity API v3, "Password
// authentication with scoped authorization").
func (c *Cloud) authenticate(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct{ Name, Password string }
				}
			}
		}
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	user := body.Auth.Identity.Password.User
	if err != nil || user.Name != Username || user.Password != Password {
		write(w, answer{http.StatusUnauthorized, map[string]any{"error": map[string]any{"code": 401, "title": "Unauthorized",
			"message": "The request you have made requires authentication."}}})
		return
	}
	service := func(kind, path string) any {
		return map[string]any{"type": kind, "name": kind, "id": kind, "endpoints": []any{map[string]any{"id": kind, "interface": "public",
			"region": "RegionOne", "region_id": "RegionOne", "url": c.server.URL + path}}}
	}
	w.Header().Set("X-Subject-Token", token)
	write(w, answer{http.StatusCreated, map[string]any{"token": map[string]any{
		"methods": []string{"password"}, "expires_at": time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"),
		"user":    map[string]any{"id": "u", "name": user.Name, "domain": map[string]any{"id": "default", "name": "Default"}},
		"catalog": []any{service("compute", "/compute/v2.1"), service("placement", "/placement")},
	}}})
}
