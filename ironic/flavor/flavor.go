// Package flavor makes Nova's flavors match the declared clusters. It runs on the leader only.
//
// A Keeper compares what Nova has with what is declared and takes the steps between them
// (decide: pure); all of it may be repeated, by this leader or another. Only flavors that carry
// the mesh's mark are changed or deleted. Run blocks; it starts goroutines within a pass, one
// per cloud, and waits for them. No gophercloud type leaves the package.
package flavor

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

// Config is what a Keeper needs. Zero values of the numbers mean the defaults.
type Config struct {
	Source reconcile.Source
	// Report proposes statuses that changed; it returns once they are in the log, and is safe for
	// concurrent use. Flavors are
	// announced (FlavorStatus.Begun) before the first of a cluster is made.
	Report func(ctx context.Context, clusters []state.ClusterFlavorReport) error
	// Mesh is the mesh's ID, which is in every mark.
	Mesh string
	// Period is the time between looks at Nova when nothing changes. Default 1 min.
	Period time.Duration
	// Retry and RetryMax bound the backoff after a failure. Default 1 s and 1 min.
	Retry, RetryMax time.Duration
	// Timeout bounds one request. Default 60 s.
	Timeout time.Duration
	Log     *slog.Logger
}

func (c *Config) defaults() {
	c.Period = cmp.Or(c.Period, time.Minute)
	c.Retry = cmp.Or(c.Retry, time.Second)
	c.RetryMax = cmp.Or(c.RetryMax, time.Minute)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Keeper keeps flavors as declared. Its methods are for one goroutine at a time.
type Keeper struct {
	cfg   Config
	sites map[state.IronicAccess]*site
}

// New returns a Keeper that has not talked to anything yet.
func New(cfg Config) *Keeper {
	cfg.defaults()
	return &Keeper{cfg: cfg, sites: map[state.IronicAccess]*site{}}
}

// Run makes pass after pass until ctx ends, and returns nil then: when a declaration changed,
// with backoff while something fails, and every Period anyway. It closes the Keeper's
// connections.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.Close()
	l := reconcile.Loop{Name: "flavors", Source: k.cfg.Source, Retry: k.cfg.Retry, Next: k.untilDue, Do: k.pass, Log: k.cfg.Log}
	return l.Run(ctx)
}

// Close closes idle connections. The Keeper may be used again after it.
func (k *Keeper) Close() {
	for access, s := range k.sites {
		s.close()
		delete(k.sites, access)
	}
}

// pass visits every cloud that is due. Trouble with Nova is in the clusters' statuses; the
// error is one of Report.
func (k *Keeper) pass(ctx context.Context, snap *state.Snapshot) error {
	work, lost := gather(snap)
	for access, s := range k.sites {
		if work[access] == nil {
			s.close()
			delete(k.sites, access)
		}
	}
	var g errgroup.Group
	for access, clusters := range work {
		s := k.sites[access]
		if s == nil {
			s = newSite(k, access)
			k.sites[access] = s
		}
		if s.due(clusters) {
			g.Go(func() error { return s.pass(ctx, clusters) })
		}
	}
	err := g.Wait()
	return errors.Join(err, k.report(ctx, lost))
}

func (k *Keeper) report(ctx context.Context, reports []state.ClusterFlavorReport) error {
	if len(reports) == 0 {
		return nil
	}
	return k.cfg.Report(ctx, reports)
}

func (k *Keeper) untilDue() time.Duration {
	wait := k.cfg.Period
	for _, s := range k.sites {
		wait = min(wait, time.Until(s.next))
	}
	return max(wait, 0)
}

// gather sorts the clusters that have, or may have, flavors by the cloud that those are in.
// One that no longer says which cloud that is gets its report at once.
func gather(snap *state.Snapshot) (work map[state.IronicAccess][]*state.Cluster, lost []state.ClusterFlavorReport) {
	work = map[state.IronicAccess][]*state.Cluster{}
	for _, c := range snap.Clusters() {
		switch {
		case !c.FlavorStatus.Begun && (len(c.Flavors) == 0 || c.Removing):
			// None, or those of a cluster that goes and was told to leave them.
		case c.Ironic != nil:
			work[*c.Ironic] = append(work[*c.Ironic], c)
		default:
			status := c.FlavorStatus
			status.Error = "the cluster no longer says which cloud has its flavors: declare ironic.cloud again, or delete them there"
			lost = appendChanged(lost, c, status)
		}
	}
	return work, lost
}

func appendChanged(reports []state.ClusterFlavorReport, c *state.Cluster, s state.FlavorStatus) []state.ClusterFlavorReport {
	if c.FlavorStatus.Equal(s) {
		return reports
	}
	return append(reports, state.ClusterFlavorReport{Cluster: c.Name, Status: s})
}
