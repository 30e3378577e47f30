// Package ironictest is an Ironic that behaves: nodes, ports and traits over HTTP,
// provision states that take their time, locks, and the refusals of the real API
// (release 2023.1) that matter to a client. Start listens on loopback and runs the
// server's goroutines; Close ends them.
package ironictest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say how the Ironic behaves.
type Options struct {
	// Verify, Clean and Undeploy are how long those take.
	Verify, Clean, Undeploy time.Duration
	// AutomatedClean makes nodes pass "cleaning" and "clean wait" on their way to
	// available.
	AutomatedClean bool
	// Username and Password switch HTTP basic authentication on.
	Username, Password string
	// Token is one that requests must carry, as Keystone gives it. It is the answer
	// of the small Keystone at /identity/v3 to Username and Password, too.
	Token string
	// MaxPage is the most rows in a list. Default 1000.
	MaxPage int
	// Latency is added to every request.
	Latency time.Duration
	// Inspect is how long an inspection takes.
	Inspect time.Duration
	// MaxMinor is the newest API version, 1.N. Default 86.
	MaxMinor int
}

// Fault is what happens to a request instead of an answer.
type Fault int

// The faults.
const (
	None Fault = iota
	// CutBefore closes the connection before the request has any effect.
	CutBefore
	// CutAfter closes it after the effect, so that the client never learns of it.
	CutAfter
)

// Ironic is a running fake. Its methods are safe for concurrent use.
type Ironic struct {
	opts Options
	addr string
	// ctx is for opening the listener.
	ctx      context.Context //nolint:containedctx // the test's
	handlers sync.WaitGroup

	// mu guards all below.
	mu        sync.Mutex
	server    *http.Server
	served    chan struct{}
	nodes     map[string]*node
	ports     map[string]*port
	groups    map[string]map[string]any
	order     []string
	log       []string
	failures  []failure
	intercept func(n int, method, path string) Fault
	before    func(method, path string)
	// throttle is what all requests are refused with; 0: they are not.
	throttle   int
	retryAfter string
	requests   int
	running    int
	most       int
	verifyErr  map[string]string
	// These fail a node's next ones, by UUID.
	cleanErr, inspectErr, undeployErr, unrescueErr map[string][]string
	// images are Glance's: names by UUID.
	images  map[string]string
	locks   map[string]int
	dropped []string
}

type failure struct {
	status  int
	message string
}

// Start runs an Ironic until the test ends.
func Start(t testing.TB, opts Options) *Ironic {
	t.Helper()
	if opts.MaxPage == 0 {
		opts.MaxPage = 1000
	}
	if opts.MaxMinor == 0 {
		opts.MaxMinor = 86
	}
	i := &Ironic{undeployErr: map[string][]string{}, unrescueErr: map[string][]string{}, cleanErr: map[string][]string{}, inspectErr: map[string][]string{}, images: map[string]string{},
		groups: map[string]map[string]any{}, opts: opts, addr: "127.0.0.1:0", ctx: t.Context(), nodes: map[string]*node{}, ports: map[string]*port{},
		verifyErr: map[string]string{}, locks: map[string]int{}}
	if err := i.Up(); err != nil {
		t.Fatalf("ironictest: %v", err)
	}
	t.Cleanup(i.Down)
	return i
}

// Up makes the API reachable at the same address as before.
func (i *Ironic) Up() error {
	var lc net.ListenConfig
	l, err := lc.Listen(i.ctx, "tcp", i.addr)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.addr = l.Addr().String()
	i.server = &http.Server{Handler: i.handler(), ReadHeaderTimeout: time.Minute}
	i.served = make(chan struct{})
	go func(s *http.Server, done chan struct{}) {
		defer close(done)
		_ = s.Serve(l)
	}(i.server, i.served)
	return nil
}

// Down makes connections to the API refused. It may be repeated.
func (i *Ironic) Down() {
	i.mu.Lock()
	server, served := i.server, i.served
	i.server = nil
	i.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	<-served
	i.handlers.Wait()
}

// URL is the API's endpoint, without the version.
func (i *Ironic) URL() string { return "http://" + i.addr }

// FailNext makes the next requests that write fail with these, one each.
func (i *Ironic) FailNext(status int, message string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failures = append(i.failures, failure{status, message})
}

// Throttle refuses all requests with a status and, if it is not empty, a Retry-After; 0: no more.
func (i *Ironic) Throttle(status int, retryAfter string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.throttle, i.retryAfter = status, retryAfter
}

// Intercept is asked for every request, numbered from 1. Nil: no faults.
func (i *Ironic) Intercept(f func(n int, method, path string) Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.intercept, i.requests = f, 0
}

// LockNext makes the next n writes to a node answer that it is locked.
func (i *Ironic) LockNext(uuid string, n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.locks[uuid] = n
}

// FailVerify makes verification of a node fail with this, until it is set to "".
func (i *Ironic) FailVerify(uuid, message string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.verifyErr[uuid] = message
}

// FailClean makes the next cleanings of a node fail, one with each message.
func (i *Ironic) FailClean(uuid string, messages ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cleanErr[uuid] = messages
}

// FailInspect makes the next inspections of a node fail, one with each message.
func (i *Ironic) FailInspect(uuid string, messages ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inspectErr[uuid] = messages
}

// FailUndeploy makes the next undeployments of a node fail, one with each message.
func (i *Ironic) FailUndeploy(uuid string, messages ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.undeployErr[uuid] = messages
}

// FailUnrescue makes the next ones of a node fail, one with each message.
func (i *Ironic) FailUnrescue(uuid string, messages ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unrescueErr[uuid] = messages
}

// AddImage has Glance know an active image.
func (i *Ironic) AddImage(uuid, name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.images[uuid] = name
}

// DropImage has Glance know it no longer.
func (i *Ironic) DropImage(uuid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.images, uuid)
}

// Drop makes a field ("/properties/rack") have no value after every change of a node.
func (i *Ironic) Drop(paths ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dropped = paths
}

// Before is called before each request is answered, and may do what another client would.
// Nil: nothing.
func (i *Ironic) Before(f func(method, path string)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.before = f
}

// ResetLog forgets the requests made so far.
func (i *Ironic) ResetLog() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.log, i.most = nil, 0
}

// Log returns the requests since ResetLog, as "METHOD path".
func (i *Ironic) Log() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.log)
}

// Writes returns the requests since ResetLog that could change something.
func (i *Ironic) Writes() []string {
	return slices.DeleteFunc(i.Log(), func(s string) bool {
		return strings.HasPrefix(s, "GET ") || strings.Contains(s, "/identity/")
	})
}

// MostAtOnce is the highest number of requests that were in work at a time.
func (i *Ironic) MostAtOnce() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.most
}

// Node returns a node as its owner would see it, secrets in the clear; nil if
// there is none.
func (i *Ironic) Node(uuid string) map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := i.nodes[uuid]
	if n == nil {
		return nil
	}
	n.settle()
	return maps.Clone(n.doc)
}

// Nodes returns the UUIDs of all nodes, sorted.
func (i *Ironic) Nodes() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Sorted(maps.Keys(i.nodes))
}

// Ports returns the ports of a node, or all for "", in the order of their MACs.
func (i *Ironic) Ports(node string) []map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []map[string]any
	for _, p := range i.ports {
		if node == "" || p.doc["node_uuid"] == node {
			out = append(out, maps.Clone(p.doc))
		}
	}
	slices.SortFunc(out, func(a, b map[string]any) int {
		return strings.Compare(a["address"].(string), b["address"].(string))
	})
	return out
}

// PortGroups returns the port groups of a node, in the order of their names.
func (i *Ironic) PortGroups(node string) []map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []map[string]any
	for _, g := range i.groups {
		if g["node_uuid"] == node {
			out = append(out, maps.Clone(g))
		}
	}
	slices.SortFunc(out, func(a, b map[string]any) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	return out
}

// Set writes fields of a node behind the API's back, as another client or Ironic
// itself might have; an absent node is made.
func (i *Ironic) Set(uuid string, fields map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := i.nodes[uuid]
	if n == nil {
		n = newNode(map[string]any{"uuid": uuid, "driver": "fake-hardware"})
		i.nodes[uuid] = n
		i.order = append(i.order, uuid)
	}
	if _, moves := fields["provision_state"]; moves {
		n.moved()
	}
	maps.Copy(n.doc, fields)
	n.pending = nil
}

// AddPort makes a port behind the API's back.
func (i *Ironic) AddPort(node, mac string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	uuid := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(i.ports))
	i.ports[uuid] = &port{doc: map[string]any{"uuid": uuid, "node_uuid": node, "address": mac, "extra": map[string]any{},
		"local_link_connection": map[string]any{}, "physical_network": nil, "pxe_enabled": true, "portgroup_uuid": nil}}
}

// Forget removes a node and its ports behind the API's back.
func (i *Ironic) Forget(uuid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop(uuid)
}

func (i *Ironic) drop(uuid string) {
	delete(i.nodes, uuid)
	i.order = slices.DeleteFunc(i.order, func(u string) bool { return u == uuid })
	maps.DeleteFunc(i.ports, func(_ string, p *port) bool { return p.doc["node_uuid"] == uuid })
	maps.DeleteFunc(i.groups, func(_ string, g map[string]any) bool { return g["node_uuid"] == uuid })
}
