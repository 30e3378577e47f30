package conform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// rootURI is the service root.
const rootURI = "/redfish/v1/"

// crawl is one run of Crawl, from one goroutine.
type crawl struct {
	client *http.Client
	// newRequest makes a request with the context of the run.
	newRequest func(method, url string, body io.Reader) (*http.Request, error)
	o          Options
	schemas    *schemas
	report     Report
	resources  map[string]*resource
	order      []*resource
	token      string // of our session, or "" for Basic
	session    string // its URI
	registry   map[string]*registry
	// err ends the run: the service can no longer be reached.
	err error
}

// resource is the answer to a GET.
type resource struct {
	uri     string
	status  int
	header  http.Header
	raw     []byte
	body    map[string]any
	payload *payload
	from    string // where the first link was
}

// request is one that the checker makes.
type request struct {
	method, uri string
	header      map[string]string
	body        string
	// open leaves the credentials out.
	open bool
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any // nil if it was no JSON object
}

// maxBody bounds an answer.
const maxBody = 16 << 20

// do makes a request. A failure of the transport ends the crawl.
func (c *crawl) do(q request) answer {
	a, err := c.try(q)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("%s %s: %w", q.method, q.uri, err)
	}
	return a
}

func (c *crawl) try(q request) (answer, error) {
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	r, err := c.newRequest(q.method, c.o.Base+q.uri, body)
	if err != nil {
		return answer{}, err
	}
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	switch {
	case q.open:
	case c.token != "":
		r.Header.Set("X-Auth-Token", c.token)
	case c.o.User != "":
		r.SetBasicAuth(c.o.User, c.o.Password)
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	// A redirect is an answer of the service, and is judged as one.
	client := *c.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	c.report.Checked["requests"]++
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	err = errors.Join(err, resp.Body.Close())
	a := answer{status: resp.StatusCode, header: resp.Header, raw: raw}
	a.body, _ = decode(raw)
	return a, err
}

// decode reads one JSON object; numbers stay as they are written.
func decode(raw []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var body map[string]any
	if err := d.Decode(&body); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON object")
	}
	return body, nil
}

// login makes a session; a service without sessions is read with Basic.
func (c *crawl) login() error {
	if c.o.User == "" {
		return nil
	}
	creds, err := json.Marshal(map[string]string{"UserName": c.o.User, "Password": c.o.Password})
	if err != nil {
		return err
	}
	a, err := c.try(request{method: http.MethodPost, uri: c.sessionsURI(), body: string(creds), open: true})
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	c.token, c.session = a.header.Get("X-Auth-Token"), pathOf(a.header.Get("Location"))
	if a.status != http.StatusCreated || c.token == "" || c.session == "" {
		c.failf("http-session", "/redfish/v1/SessionService/Sessions", "POST answers %d with token %t and Location %q", a.status,
			c.token != "", a.header.Get("Location"))
	}
	return nil
}

// sessionsURI is where the service root says that sessions are made.
func (c *crawl) sessionsURI() string {
	a := c.do(request{method: http.MethodGet, uri: rootURI, open: true})
	uri, _ := at(a.body, "Links.Sessions.@odata.id").(string)
	if uri == "" {
		return "/redfish/v1/SessionService/Sessions"
	}
	return uri
}

func (c *crawl) logout() {
	if c.session != "" {
		_, _ = c.try(request{method: http.MethodDelete, uri: c.session}) // ends by itself otherwise
	}
}

// pathOf cuts the address off a URI.
func pathOf(uri string) string {
	if i := strings.Index(uri, "://"); i >= 0 {
		_, rest, _ := strings.Cut(uri[i+3:], "/")
		return "/" + rest
	}
	return uri
}

// everything reads all that can be reached from the service root.
func (c *crawl) everything() error {
	c.fetch(rootURI, "")
	root := c.resources[rootURI]
	if root.body == nil {
		return fmt.Errorf("GET %s: status %d without a JSON object: %w", rootURI, root.status, c.err)
	}
	for i := 0; i < len(c.order) && c.err == nil; i++ {
		r := c.order[i]
		if r.body == nil {
			continue
		}
		r.payload = checkPayload(c.schemas, &c.report, r.uri, r.body)
		for _, l := range r.payload.links {
			uri, _, _ := strings.Cut(l.to, "#")
			c.fetch(uri, r.uri+" "+l.property)
		}
		c.fetchFiles(r)
		if len(c.order) > maxResources {
			return fmt.Errorf("more than %d resources", maxResources)
		}
	}
	return c.err
}

// fetchFiles reads what a registry's or a schema's Location leads to, in this service.
func (c *crawl) fetchFiles(r *resource) {
	locations, _ := r.body["Location"].([]any)
	for _, l := range locations {
		if uri, _ := at(l, "Uri").(string); strings.HasPrefix(uri, "/") {
			c.fetch(uri, r.uri+" Location")
		}
	}
}

// fetch reads a resource once.
func (c *crawl) fetch(uri, from string) {
	if c.resources[uri] != nil {
		return
	}
	a := c.do(request{method: http.MethodGet, uri: uri})
	r := &resource{uri: uri, status: a.status, header: a.header, raw: a.raw, body: a.body, from: from}
	c.resources[uri] = r
	c.order = append(c.order, r)
	switch {
	case c.err != nil:
	case a.status != http.StatusOK:
		c.failf("link", uri, "GET answers %d; the link is in %s", a.status, from)
		r.body = nil
	case a.body == nil && strings.HasPrefix(a.header.Get("Content-Type"), jsonType):
		_, err := decode(a.raw)
		c.failf("json", uri, "%v", err)
	}
	if a.body != nil {
		if name := repeated(a.raw); name != "" {
			c.failf("json", uri, "member %q is there twice", name)
		}
	}
}

// repeated returns the name of a member that an object has twice, or "".
func repeated(raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	type frame struct {
		names map[string]bool // nil in an array
		value bool            // the next token is a value
	}
	var stack []frame
	for {
		tok, err := d.Token()
		if err != nil {
			return ""
		}
		top := len(stack) - 1
		if name, ok := tok.(string); ok && top >= 0 && stack[top].names != nil && !stack[top].value {
			if stack[top].names[name] {
				return name
			}
			stack[top].names[name], stack[top].value = true, true
			continue
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if top >= 0 {
				stack[top].value = false
			}
			f := frame{}
			if tok == json.Delim('{') {
				f.names = map[string]bool{}
			}
			stack = append(stack, f)
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		default:
			if top >= 0 {
				stack[top].value = false
			}
		}
	}
}

// checkResources looks at what needs more than one resource.
func (c *crawl) checkResources() {
	for _, r := range c.order {
		if r.payload == nil {
			continue
		}
		for _, l := range r.payload.links {
			c.checkLink(r, l)
		}
		for _, l := range r.payload.infos {
			if info := c.resources[l.to]; info != nil && info.payload != nil {
				info.payload.checkActionInfo(l.action, info.body)
			}
		}
		c.checkBios(r)
		c.checkMessages(r, "", r.body)
	}
}

// checkLink checks the end of a link (DSP0266 §9.6).
func (c *crawl) checkLink(r *resource, l link) {
	uri, pointer, inside := strings.Cut(l.to, "#")
	end := c.resources[uri]
	if end == nil || end.body == nil || end.payload == nil {
		return // reported when it was read
	}
	if inside {
		if _, ok := follow(end.body, pointer); !ok {
			c.find(Finding{Resource: r.uri, Property: l.property, Rule: "link", Text: fmt.Sprintf("%q leads to nothing", l.to)})
		}
		return
	}
	t := end.payload.t
	if l.want == "" || t == nil || c.schemas.derives(t, l.want) {
		return
	}
	want := c.schemas.typ(l.want)
	if want != nil && (want.name == "Resource" || want.name == "Item" || want.name == "ItemOrCollection") {
		return
	}
	c.find(Finding{Resource: r.uri, Property: l.property, Rule: "link-type", Text: fmt.Sprintf("%q is a %s, want a %s", l.to, t.full(), l.want)})
}

// follow finds what a JSON pointer (RFC 6901) is about.
func follow(v any, pointer string) (any, bool) {
	for _, step := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[step]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// at returns the value at a path of members, with dots between them, or nil. A dot
// within "@odata.id" and its like is none.
func at(v any, path string) any {
	name, rest, more := strings.Cut(path, ".")
	if strings.Contains(name, "@") || strings.HasPrefix(path, "#") {
		name, more = path, false
	}
	obj, _ := v.(map[string]any)
	if !more {
		return obj[name]
	}
	return at(obj[name], rest)
}

// of returns the resources of a schema, in the order of their URIs.
func (c *crawl) of(schema string) []*resource {
	var out []*resource
	for _, uri := range slices.Sorted(maps.Keys(c.resources)) {
		if r := c.resources[uri]; r.payload != nil && r.payload.t != nil && schemaOf(r.payload.t.space) == schema {
			out = append(out, r)
		}
	}
	return out
}

func (c *crawl) find(f Finding) { c.report.fail(f) }

func (c *crawl) failf(rule, uri, format string, args ...any) {
	c.report.fail(Finding{Resource: uri, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (c *crawl) warnf(rule, uri, format string, args ...any) {
	c.report.warn(Finding{Resource: uri, Rule: rule, Text: fmt.Sprintf(format, args...)})
}
