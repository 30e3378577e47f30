package ironictest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

func (i *Ironic) handler() http.Handler {
	mux := http.NewServeMux()
	type call func(r *http.Request, body any) (int, any, *refusal)
	handle := func(pattern string, f call) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, f) })
	}
	handle("GET /v1/nodes", i.listNodes)
	handle("POST /v1/nodes", i.createNode)
	handle("GET /v1/nodes/{id}", i.onNode(func(n *node, _ *http.Request, _ any) (int, any, *refusal) { return 200, show(n.doc), nil }))
	handle("PATCH /v1/nodes/{id}", i.onNode(func(n *node, r *http.Request, body any) (int, any, *refusal) {
		ops := operations(body)
		for _, op := range ops {
			path, _ := op["path"].(string)
			if why := tooNew([]string{strings.TrimPrefix(path, "/")}, minorOf(r)); why != nil {
				return 0, nil, why
			}
		}
		if why := i.patchNode(n, ops); why != nil {
			return 0, nil, why
		}
		return 200, show(n.doc), nil
	}))
	handle("DELETE /v1/nodes/{id}", i.onNode(func(n *node, _ *http.Request, _ any) (int, any, *refusal) {
		if why := deletable(n); why != nil {
			return 0, nil, why
		}
		i.drop(n.text("uuid"))
		return 204, nil, nil
	}))
	handle("PUT /v1/nodes/{id}/traits", i.onNode(func(n *node, _ *http.Request, body any) (int, any, *refusal) {
		n.doc["traits"] = body.(map[string]any)["traits"]
		return 204, nil, nil
	}))
	handle("PUT /v1/nodes/{id}/states/provision", i.onNode(func(n *node, _ *http.Request, body any) (int, any, *refusal) {
		verb, _ := body.(map[string]any)["target"].(string)
		return 202, nil, i.provision(n, verb)
	}))
	handle("PUT /v1/nodes/{id}/maintenance", i.onNode(func(n *node, _ *http.Request, body any) (int, any, *refusal) {
		n.doc["maintenance"], n.doc["maintenance_reason"] = true, body.(map[string]any)["reason"]
		return 202, nil, nil
	}))
	handle("DELETE /v1/nodes/{id}/maintenance", i.onNode(func(n *node, _ *http.Request, _ any) (int, any, *refusal) {
		n.doc["maintenance"], n.doc["maintenance_reason"], n.doc["fault"] = false, nil, nil
		return 202, nil, nil
	}))
	handle("GET /v1/portgroups", i.listGroups)
	handle("POST /v1/portgroups", i.createGroup)
	handle("PATCH /v1/portgroups/{id}", i.patchGroup)
	handle("DELETE /v1/portgroups/{id}", i.deleteGroup)
	handle("GET /identity/image/v2/images", i.listImages)
	handle("GET /identity/image/v2/images/{id}", i.showImage)
	handle("GET /v1/ports", i.listPorts)
	handle("POST /v1/ports", i.createPort)
	handle("PATCH /v1/ports/{id}", i.patchPort)
	handle("DELETE /v1/ports/{id}", i.deletePort)
	mux.HandleFunc("GET /identity/image/{$}", i.imageVersions)
	mux.HandleFunc("GET /identity/image", i.imageVersions)
	mux.HandleFunc("GET /{$}", i.versions)
	mux.HandleFunc("GET /v1/{$}", i.versions)
	mux.HandleFunc("POST /identity/v3/auth/tokens", i.token)
	return mux
}

// versions is the version document, which is open to all.
func (i *Ironic) versions(w http.ResponseWriter, r *http.Request) {
	i.arrived(r)
	defer i.left()
	v1 := map[string]any{"id": "v1", "status": "CURRENT", "min_version": "1.1", "version": fmt.Sprintf("1.%d", i.opts.MaxMinor),
		"links": []any{map[string]any{"rel": "self", "href": i.URL() + "/v1/"}}}
	answer(w, http.StatusOK, map[string]any{"name": "OpenStack Ironic API", "id": "v1", "default_version": v1,
		"version": v1, "versions": []any{v1}}, nil)
}

// serve counts, delays, fails and authenticates a request, then answers it.
func (i *Ironic) serve(w http.ResponseWriter, r *http.Request, f func(*http.Request, any) (int, any, *refusal)) {
	i.handlers.Add(1)
	defer i.handlers.Done()
	fault := i.arrived(r)
	// Before the answer: a client may send its next request as soon as it has it.
	left := sync.OnceFunc(i.left)
	defer left()
	i.delay(r)
	if before := i.hook(); before != nil {
		before(r.Method, r.URL.Path)
	}
	if fault == CutBefore {
		panic(http.ErrAbortHandler)
	}
	var body any
	if r.ContentLength != 0 {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			answer(w, 0, nil, refuse(http.StatusBadRequest, "body: %v", err))
			return
		}
	}
	status, out, why := 0, any(nil), i.throttled(w)
	if why == nil {
		why = i.admit(r)
	}
	if why == nil {
		status, out, why = i.locked(func() (int, any, *refusal) { return f(r, body) })
	}
	if fault == CutAfter {
		panic(http.ErrAbortHandler)
	}
	left()
	w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", fmt.Sprintf("1.%d", i.opts.MaxMinor))
	answer(w, status, out, why)
}

// delay is the latency, unless the client leaves before.
func (i *Ironic) delay(r *http.Request) {
	if i.opts.Latency == 0 {
		return
	}
	timer := time.NewTimer(i.opts.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

func (i *Ironic) arrived(r *http.Request) Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.log = append(i.log, r.Method+" "+r.URL.Path)
	i.requests++
	i.running++
	i.most = max(i.most, i.running)
	if i.intercept == nil {
		return None
	}
	return i.intercept(i.requests, r.Method, r.URL.Path)
}

func (i *Ironic) throttled(w http.ResponseWriter) *refusal {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.throttle == 0 {
		return nil
	}
	if i.retryAfter != "" {
		w.Header().Set("Retry-After", i.retryAfter)
	}
	return refuse(i.throttle, "Too busy.")
}

func (i *Ironic) hook() func(method, path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.before
}

func (i *Ironic) left() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.running--
}

func (i *Ironic) locked(f func() (int, any, *refusal)) (int, any, *refusal) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range i.nodes {
		n.settle()
	}
	return f()
}

// admit checks credentials, the microversion and the failures that were set.
func (i *Ironic) admit(r *http.Request) *refusal {
	if i.opts.Token != "" {
		if r.Header.Get("X-Auth-Token") != i.opts.Token {
			return refuse(http.StatusUnauthorized, "The request you have made requires authentication.")
		}
	} else if i.opts.Username != "" {
		if user, password, _ := r.BasicAuth(); user != i.opts.Username || password != i.opts.Password {
			return refuse(http.StatusUnauthorized, "Incorrect username or password")
		}
	}
	if strings.HasPrefix(r.URL.Path, "/identity/") {
		return nil // another service
	}
	if v := minorOf(r); v == 0 || v > i.opts.MaxMinor {
		return refuse(http.StatusNotAcceptable, "Version %s was requested but the minor version is not supported by this service. The supported version range is: [1.1, 1.%d].",
			r.Header.Get(headerVersion), i.opts.MaxMinor)
	}
	if fields := r.URL.Query().Get("fields"); r.URL.Path == "/v1/nodes" {
		if why := tooNew(strings.Split(fields, ","), minorOf(r)); why != nil {
			return why
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.Method != http.MethodGet && len(i.failures) > 0 {
		f := i.failures[0]
		i.failures = i.failures[1:]
		return refuse(f.status, "%s", f.message)
	}
	return nil
}

// answer writes JSON, and refusals in Ironic's double wrapping.
func answer(w http.ResponseWriter, status int, out any, why *refusal) {
	if why != nil {
		inner, _ := json.Marshal(map[string]any{"faultcode": "Client", "faultstring": why.message, "debuginfo": nil})
		status, out = why.status, map[string]any{"error_message": string(inner)}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if out != nil {
		_ = json.NewEncoder(w).Encode(out)
	}
}

func (i *Ironic) find(id string) *node {
	if n := i.nodes[id]; n != nil {
		return n
	}
	for _, n := range i.nodes {
		if n.text("name") == id {
			return n
		}
	}
	return nil
}

func (i *Ironic) onNode(f func(*node, *http.Request, any) (int, any, *refusal)) func(*http.Request, any) (int, any, *refusal) {
	return func(r *http.Request, body any) (int, any, *refusal) {
		n := i.find(r.PathValue("id"))
		if n == nil {
			return 0, nil, refuse(http.StatusNotFound, "Node %s could not be found.", r.PathValue("id"))
		}
		if why := i.lock(n.text("uuid"), r); why != nil {
			return 0, nil, why
		}
		return f(n, r, body)
	}
}

func (i *Ironic) lock(uuid string, r *http.Request) *refusal {
	if r.Method == http.MethodGet || i.locks[uuid] == 0 {
		return nil
	}
	i.locks[uuid]--
	return refuse(http.StatusConflict, "Node %s is locked by host localhost, please retry after the current operation is completed.", uuid)
}

func (i *Ironic) createNode(r *http.Request, body any) (int, any, *refusal) {
	if why := tooNew(slices.Collect(maps.Keys(body.(map[string]any))), minorOf(r)); why != nil {
		return 0, nil, why
	}
	n := newNode(body.(map[string]any))
	if n.doc["owner"] != nil {
		return 0, nil, refuse(http.StatusBadRequest, "Cannot create a node as a project scoped admin with an owner other than your own project")
	}
	if i.nodes[n.text("uuid")] != nil {
		return 0, nil, refuse(http.StatusConflict, "A node with UUID %s already exists.", n.text("uuid"))
	}
	if why := i.checkNode(n); why != nil {
		return 0, nil, why
	}
	i.nodes[n.text("uuid")] = n
	i.order = append(i.order, n.text("uuid"))
	return 201, show(n.doc), nil
}

// show masks what the API never shows.
func show(doc map[string]any) map[string]any {
	out := maps.Clone(doc)
	info, _ := doc["driver_info"].(map[string]any)
	masked := maps.Clone(info)
	for key := range masked {
		if strings.Contains(key, "password") {
			masked[key] = "******"
		}
	}
	out["driver_info"] = masked
	return out
}

func (i *Ironic) listNodes(r *http.Request, _ any) (int, any, *refusal) {
	var docs []map[string]any
	for _, uuid := range i.order {
		docs = append(docs, show(i.nodes[uuid].doc))
	}
	return i.page(r, "nodes", docs)
}

func (i *Ironic) listPorts(r *http.Request, _ any) (int, any, *refusal) {
	var docs []map[string]any
	for _, uuid := range slices.Sorted(maps.Keys(i.ports)) {
		doc := i.ports[uuid].doc
		if address := r.URL.Query().Get("address"); address == "" || doc["address"] == address {
			docs = append(docs, doc)
		}
	}
	return i.page(r, "ports", docs)
}

// page cuts a list as the API does, with its own idea of the next address.
func (i *Ironic) page(r *http.Request, name string, docs []map[string]any) (int, any, *refusal) {
	if marker := r.URL.Query().Get("marker"); marker != "" {
		at := slices.IndexFunc(docs, func(d map[string]any) bool { return d["uuid"] == marker })
		docs = docs[at+1:]
	}
	out := map[string]any{}
	if len(docs) > i.opts.MaxPage {
		docs = docs[:i.opts.MaxPage]
		out["next"] = fmt.Sprintf("http://elsewhere.invalid/v1/%s?marker=%v", name, docs[len(docs)-1]["uuid"])
	}
	wanted := strings.Split(r.URL.Query().Get("fields"), ",")
	rows := []map[string]any{}
	for _, doc := range docs {
		row := map[string]any{}
		for _, field := range wanted {
			if field != "" {
				row[field] = doc[field]
			}
		}
		rows = append(rows, row)
	}
	out[name] = rows
	return 200, out, nil
}

func (i *Ironic) createPort(r *http.Request, body any) (int, any, *refusal) {
	doc := map[string]any{"extra": map[string]any{}, "local_link_connection": map[string]any{}, "physical_network": nil, "pxe_enabled": true,
		"portgroup_uuid": nil}
	maps.Copy(doc, body.(map[string]any))
	n := i.nodes[fmt.Sprint(doc["node_uuid"])]
	if n == nil {
		return 0, nil, refuse(http.StatusBadRequest, "Node %v could not be found.", doc["node_uuid"])
	}
	if why := i.lock(n.text("uuid"), r); why != nil {
		return 0, nil, why
	}
	for _, p := range i.ports {
		if p.doc["address"] == doc["address"] {
			return 0, nil, refuse(http.StatusConflict, "A port with MAC address %v already exists.", doc["address"])
		}
	}
	if why := i.checkMember(doc); why != nil {
		return 0, nil, why
	}
	uuid := fmt.Sprintf("00000000-0000-4000-9000-%012d", time.Now().UnixNano()%1e12)
	for i.ports[uuid] != nil {
		uuid += "0"
	}
	doc["uuid"] = uuid
	i.ports[uuid] = &port{doc}
	return 201, doc, nil
}

func (i *Ironic) patchPort(r *http.Request, body any) (int, any, *refusal) {
	p := i.ports[r.PathValue("id")]
	if p == nil {
		return 0, nil, refuse(http.StatusNotFound, "Port %s could not be found.", r.PathValue("id"))
	}
	n := i.nodes[fmt.Sprint(p.doc["node_uuid"])]
	if why := i.lock(n.text("uuid"), r); why != nil {
		return 0, nil, why
	}
	free := slices.Contains([]string{"enroll", "inspecting", "inspect wait", "manageable"}, n.state()) || n.doc["maintenance"] == true
	changed := cloneDoc(p.doc)
	for _, op := range operations(body) {
		if path, _ := op["path"].(string); !free && !strings.HasPrefix(path, "/extra") {
			return 0, nil, refuse(http.StatusConflict, "Port %v can not have any connectivity attributes updated unless node %s is in a manageable state or in maintenance mode.",
				p.doc["uuid"], n.text("uuid"))
		}
		if why := applyPatch(changed, op); why != nil {
			return 0, nil, why
		}
	}
	if why := i.checkMember(changed); why != nil {
		return 0, nil, why
	}
	p.doc = changed
	return 200, p.doc, nil
}

func (i *Ironic) deletePort(r *http.Request, _ any) (int, any, *refusal) {
	if i.ports[r.PathValue("id")] == nil {
		return 0, nil, refuse(http.StatusNotFound, "Port %s could not be found.", r.PathValue("id"))
	}
	delete(i.ports, r.PathValue("id"))
	return 204, nil, nil
}
