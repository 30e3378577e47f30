// Package ironic makes Ironic match the declared clusters: nodes, ports, traits,
// and the way to the provision state "available". It runs on the leader only.
//
// Run blocks and is what a leader runs; it starts goroutines within a pass and
// waits for them. Every decision is taken anew from a snapshot and from what Ironic
// answers (next, nextRemoval: pure), so a crash between any two calls is repaired
// by the next pass, of this leader or another. Only objects that carry the mesh's
// mark in "extra" are touched. No gophercloud type leaves the package.
package ironic

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// Config is what an Enroller needs. Zero values of the numbers mean the defaults.
type Config struct {
	// Source is read by Run; Do alone does not need it.
	Source reconcile.Source
	// Report proposes statuses that changed; it returns once they are in the log. A
	// node is announced as enrolling before anything of it is made in Ironic.
	Report func(ctx context.Context, nodes []state.NodeIronicReport) error
	// Mesh is the mesh's ID, which is in every mark.
	Mesh string
	// Since is the log index with which the mesh's generation began: what Ironic remembers of
	// the log may be of one that was lost.
	Since uint64
	// Parallel bounds the requests to one Ironic at a time. Default 8.
	Parallel int
	// Period is the time between looks at Ironic when nothing changes. Default 30 s.
	Period time.Duration
	// Poll is the time between looks while Ironic is at work; it grows fivefold while
	// nothing moves. Default 1 s.
	Poll time.Duration
	// Retry and RetryMax bound the backoff after a failure, of an Ironic or of a
	// node. Default 1 s and 30 s.
	Retry, RetryMax time.Duration
	// Timeout bounds one request. Default 60 s: Ironic answers some after its
	// conductor did.
	Timeout time.Duration
	Log     *slog.Logger
}

func (c *Config) defaults() {
	c.Parallel = cmp.Or(c.Parallel, 8)
	c.Period = cmp.Or(c.Period, 30*time.Second)
	c.Poll = cmp.Or(c.Poll, time.Second)
	c.Retry = cmp.Or(c.Retry, time.Second)
	c.RetryMax = cmp.Or(c.RetryMax, 30*time.Second)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Enroller enrols nodes. Its methods are for one goroutine at a time.
type Enroller struct {
	cfg   Config
	sites map[state.IronicAccess]*site
}

// New returns an Enroller that has not talked to anything yet.
func New(cfg Config) *Enroller {
	cfg.defaults()
	return &Enroller{cfg: cfg, sites: map[state.IronicAccess]*site{}}
}

// Run makes pass after pass until ctx ends, and returns nil then: when the state
// changed, soon while Ironic is at work, with backoff while it is down, and every
// Period anyway. It closes the Enroller's connections.
func (e *Enroller) Run(ctx context.Context) error {
	defer e.Close()
	l := reconcile.Loop{Name: "enrolment", Source: e.cfg.Source, Retry: e.cfg.Retry, Next: e.untilDue, Least: e.cfg.Poll / 4, Log: e.cfg.Log,
		Do: func(ctx context.Context, snap *state.Snapshot) error { return e.pass(ctx, snap, false) }}
	return l.Run(ctx)
}

// Do makes one pass over every Ironic that is not in backoff. It may be repeated at
// any time, and is what a reconcile.Loop calls (with a Period of about a second,
// as a loop does not know of the shorter waits that Run makes). Trouble with Ironic
// is in the nodes' statuses; the error is one of Report.
func (e *Enroller) Do(ctx context.Context, snap *state.Snapshot) error {
	return e.pass(ctx, snap, true)
}

// Close closes idle connections. The Enroller may be used again after it.
func (e *Enroller) Close() {
	for access, s := range e.sites {
		s.close()
		delete(e.sites, access)
	}
}

// pass visits every Ironic; unless always is set, only those that are due.
func (e *Enroller) pass(ctx context.Context, snap *state.Snapshot, always bool) error {
	work, limits, orphans := gather(snap)
	e.adopt(work)
	var g errgroup.Group
	for access, nodes := range work {
		s := e.sites[access]
		s.limits = limits[access]
		if s.inBackoff() || !always && !s.due(nodes) {
			continue
		}
		g.Go(func() error { return s.pass(ctx, nodes) })
	}
	err := g.Wait()
	return errors.Join(err, e.report(ctx, orphans))
}

// adopt makes a site for every Ironic that has work and drops the others.
func (e *Enroller) adopt(work map[state.IronicAccess][]*state.Node) {
	for access, s := range e.sites {
		if work[access] == nil {
			s.close()
			delete(e.sites, access)
		}
	}
	for access := range work {
		if e.sites[access] == nil {
			e.sites[access] = newSite(e, access)
		}
	}
}

// untilDue is the time until some Ironic wants to be looked at.
func (e *Enroller) untilDue() time.Duration {
	wait := e.cfg.Period
	for _, s := range e.sites {
		wait = min(wait, time.Until(s.next))
	}
	return max(wait, 0)
}

func (e *Enroller) report(ctx context.Context, reports []state.NodeIronicReport) error {
	if len(reports) == 0 {
		return nil
	}
	return e.cfg.Report(ctx, reports)
}

// gather sorts the nodes that concern Ironic by the Ironic they are in. Nodes that
// leave a cluster without access to Ironic get their report at once.
func gather(snap *state.Snapshot) (work map[state.IronicAccess][]*state.Node, limits map[state.IronicAccess]state.IronicLimits, orphans []state.NodeIronicReport) {
	work, limits = map[state.IronicAccess][]*state.Node{}, map[state.IronicAccess]state.IronicLimits{}
	for _, c := range snap.Clusters() {
		if c.Ironic != nil {
			limits[*c.Ironic] = tighter(limits[*c.Ironic], c.IronicLimits)
		}
		for _, n := range reached(snap, snap.NodesOf(c.Name)) {
			switch {
			case !concerned(n):
			case n.Removing && n.Ironic.Phase == "":
				// It was never announced, so nothing of it can be in Ironic.
				orphans = append(orphans, state.NodeIronicReport{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicGone}})
			case c.Ironic != nil:
				work[*c.Ironic] = append(work[*c.Ironic], n)
			case n.Removing:
				orphans = appendChanged(orphans, n, state.IronicStatus{Phase: n.Ironic.Phase, ProvisionState: n.Ironic.ProvisionState,
					Error: "the cluster no longer says which Ironic has the node: declare it again, or remove with --forget"})
			}
		}
	}
	return work, limits, orphans
}

// tighter bounds an Ironic that clusters share by the lowest of their limits.
func tighter(a, b state.IronicLimits) state.IronicLimits {
	if a.Concurrency == 0 || b.Concurrency > 0 && b.Concurrency < a.Concurrency {
		a.Concurrency = b.Concurrency
	}
	if a.Rate == 0 || b.Rate > 0 && b.Rate < a.Rate {
		a.Rate = b.Rate
	}
	return a
}

// concerned reports whether Ironic has, or shall have, something to do with a node.
func concerned(n *state.Node) bool {
	switch {
	case n.Removing:
		return !n.IronicDone()
	case n.Enrol == nil:
		// What is no longer declared keeps its record, which is looked at.
		return n.Ironic.Phase != "" && n.Ironic.Phase != state.IronicGone
	}
	return n.Ironic.Phase != "" || enrollable(n)
}

// enrollable reports whether the node is there for Ironic to manage.
func enrollable(n *state.Node) bool {
	return n.Enrol != nil && !n.Removing && n.Placement != nil && n.Host.Phase == state.HostReady
}

func appendChanged(reports []state.NodeIronicReport, n *state.Node, s state.IronicStatus) []state.NodeIronicReport {
	if n.Ironic == s {
		return reports
	}
	return append(reports, state.NodeIronicReport{UUID: n.UUID, Status: s})
}
