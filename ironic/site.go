package ironic

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// site is one Ironic and what was learnt of it. One pass at a time uses it.
type site struct {
	e         *Enroller
	access    state.IronicAccess
	transport *http.Transport
	client    *client
	images    images
	pace      *pace
	limits    state.IronicLimits
	down      cloud.Backoff
	// next is when to look again; seen stands for the nodes as of the last look.
	next  time.Time
	seen  seen
	quiet int

	// mu guards nodes: the backoff of nodes whose requests fail.
	mu    sync.Mutex
	nodes map[string]*stepBackoff
}

// stepBackoff spaces the attempts at one step of one node. It counts from when a
// failure is seen, as an attempt may itself take a minute.
type stepBackoff struct {
	cloud.Backoff
	step string
	// tried says that the step was taken since the last failure.
	tried bool
	// problem is the reason of the last failure.
	problem string
}

// seen tells whether anything of a set of nodes changed.
type seen struct {
	count int
	index uint64
}

func newSite(e *Enroller, access state.IronicAccess) *site {
	return &site{e: e, access: access, pace: &pace{}, images: images{}, transport: cloud.Transport(e.cfg.Parallel), nodes: map[string]*stepBackoff{}}
}

func (s *site) close() { s.transport.CloseIdleConnections() }

func (s *site) inBackoff() bool { return s.down.Waiting() }

func (s *site) due(nodes []*state.Node) bool {
	return s.seen != look(nodes) || !time.Now().Before(s.next)
}

func look(nodes []*state.Node) seen {
	l := seen{count: len(nodes)}
	for _, n := range nodes {
		l.index = max(l.index, n.ModifyIndex)
	}
	return l
}

// pass brings every node as far as it gets now.
func (s *site) pass(ctx context.Context, nodes []*state.Node) error {
	s.seen = look(nodes)
	nodes, results, err := s.work(ctx, nodes)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return s.failed(ctx, nodes, results, err)
	}
	if s.down.Failures > 0 {
		s.e.cfg.Log.InfoContext(ctx, "ironic answers again", "ironic", label(s.access))
	}
	s.down = cloud.Backoff{}
	s.forget(nodes)
	s.schedule(nodes, results)
	err = s.report(ctx, nodes, results)
	if err != nil {
		s.next = time.Time{} // what was not reported is found again
	}
	return err
}

// result is what became of a node in a pass.
type result struct {
	status state.IronicStatus
	busy   bool
	done   bool
}

// work lists what Ironic has, announces what will be made, and works on the nodes
// in parallel. It returns the nodes as announced. The error says that this Ironic is
// of no use now; the results are what got done all the same.
func (s *site) work(ctx context.Context, nodes []*state.Node) ([]*state.Node, []result, error) {
	results := make([]result, len(nodes))
	if err := s.connect(ctx); err != nil {
		return nodes, results, err
	}
	nodes = s.images.resolve(ctx, nodes, s.client.glance)
	inv, err := s.client.inventory(ctx, needed(nodes), s.e.cfg.Mesh, slices.ContainsFunc(nodes, hasGroups))
	if err != nil {
		return nodes, results, err
	}
	nodes, err = s.announce(ctx, nodes, inv)
	if err != nil {
		return nodes, results, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(s.limits.Concurrency, s.e.cfg.Parallel))
	for i, n := range nodes {
		g.Go(func() (err error) {
			if ctx.Err() == nil {
				results[i], err = s.node(ctx, n, inv)
			}
			return err
		})
	}
	return nodes, results, g.Wait()
}

func hasGroups(n *state.Node) bool { return n.Enrol != nil && len(n.Enrol.PortGroups) > 0 }

func (s *site) connect(ctx context.Context) error {
	s.pace.set(s.limits.Rate)
	if s.client != nil {
		return nil
	}
	sc, session, err := connect(ctx, s.access, s.transport, s.e.cfg.Timeout)
	if err != nil {
		return err
	}
	s.client = &client{sc: sc, pace: s.pace, glance: session.Image}
	if session == nil {
		s.client.glance = nil
	}
	return nil
}

// reportError marks an error of Report, which is not Ironic's.
type reportError struct{ error }

func (e reportError) Unwrap() error { return e.error }

// announce reports nodes as enrolling before anything of them is made. So a node
// that the log knows nothing of has no record in Ironic, whoever crashed when.
func (s *site) announce(ctx context.Context, nodes []*state.Node, inv *inventory) ([]*state.Node, error) {
	announced := state.IronicStatus{Phase: state.IronicEnrolling}
	out := make([]*state.Node, len(nodes))
	var reports []state.NodeIronicReport
	for i, n := range nodes {
		out[i] = n
		if !enrollable(n) || inv.of(n.UUID, s.e.cfg.Mesh).marked(s.e.cfg.Mesh) || n.Ironic.Phase == state.IronicEnrolling {
			continue
		}
		if _, _, problem := s.target(n, inv); problem != "" {
			continue
		}
		changed := *n
		changed.Ironic = announced
		out[i] = &changed
		reports = append(reports, state.NodeIronicReport{UUID: n.UUID, Status: announced})
	}
	if err := s.e.report(ctx, reports); err != nil {
		return nodes, reportError{err}
	}
	return out, nil
}

// failed puts the Ironic into backoff and its reason into every node's status that
// the pass did not get done.
func (s *site) failed(ctx context.Context, nodes []*state.Node, results []result, err error) error {
	if r, ok := err.(reportError); ok { //nolint:errorlint // made by announce, never wrapped
		return r.error
	}
	s.client = nil
	s.transport.CloseIdleConnections()
	s.down.Fail(s.e.cfg.Retry, s.e.cfg.RetryMax)
	s.down.NotBefore(cloud.RetryAfter(err))
	s.next, s.quiet = s.down.Until, 0
	problem := cloud.Scrub(fmt.Sprintf("%s: %s; will retry", label(s.access), cloud.Describe(err)), cloud.SecretsOf(s.access)...)
	if s.down.Failures == 1 {
		s.e.cfg.Log.WarnContext(ctx, "ironic is of no use now; will retry", "ironic", label(s.access), "nodes", len(nodes), "err", problem)
	}
	for i, n := range nodes {
		if !results[i].done {
			results[i] = result{done: true, status: n.Ironic}
			results[i].status.Error = problem
		}
	}
	return s.report(ctx, nodes, results)
}

func (s *site) report(ctx context.Context, nodes []*state.Node, results []result) error {
	var reports []state.NodeIronicReport
	for i, n := range nodes {
		reports = appendChanged(reports, n, results[i].status)
	}
	return s.e.report(ctx, reports)
}

// schedule decides when to look again: soon while something is under way, less
// soon the longer nothing moves.
func (s *site) schedule(nodes []*state.Node, results []result) {
	busy, moved := false, false
	for i, n := range nodes {
		busy = busy || results[i].busy
		moved = moved || results[i].status != n.Ironic
	}
	s.quiet++
	if moved {
		s.quiet = 0
	}
	wait := s.e.cfg.Period
	if busy {
		wait = min(wait, s.e.cfg.Poll*time.Duration(1+min(s.quiet/4, 4)))
	}
	s.next = time.Now().Add(wait)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.nodes {
		if b.Waiting() && b.Until.Before(s.next) {
			s.next = b.Until
		}
	}
}

// forget drops the backoff of nodes that are no longer there.
func (s *site) forget(nodes []*state.Node) {
	alive := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		alive[n.UUID] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for uuid := range s.nodes {
		if !alive[uuid] {
			delete(s.nodes, uuid)
		}
	}
}

// held reports whether a step has to wait. One that Ironic says has failed before
// waits once for every failure.
func (s *site) held(uuid string, a action) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.nodes[uuid]
	if a.Again {
		b = s.backoffOf(uuid, a.String())
		if b.tried || b.Failures == 0 {
			b.Fail(s.e.cfg.Retry, s.e.cfg.RetryMax)
			b.tried, b.problem = false, a.Problem
		}
	}
	if b == nil || b.step != a.String() {
		return false
	}
	if b.Waiting() {
		return true
	}
	b.tried = true
	return false
}

// backoffOf returns the backoff of a step; another step's is forgotten. The caller
// holds mu.
func (s *site) backoffOf(uuid, step string) *stepBackoff {
	b := s.nodes[uuid]
	if b == nil || b.step != step {
		b = &stepBackoff{step: step}
		s.nodes[uuid] = b
	}
	return b
}

// lastProblem is why a step of the node failed that has not been overcome; empty:
// none.
func (s *site) lastProblem(uuid string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.nodes[uuid]; b != nil {
		return b.problem
	}
	return ""
}

// nodeFailed records that a step was refused.
func (s *site) nodeFailed(uuid, step, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.backoffOf(uuid, step)
	b.Fail(s.e.cfg.Retry, s.e.cfg.RetryMax)
	b.tried, b.problem = false, problem
}

// overcome forgets the failures of a node's other steps.
func (s *site) overcome(uuid, step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.nodes[uuid]; b != nil && b.step != step {
		delete(s.nodes, uuid)
	}
}

// nodeDone forgets the failures of a node.
func (s *site) nodeDone(uuid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, uuid)
}
