package flavor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// site is one cloud.
type site struct {
	k         *Keeper
	access    state.IronicAccess
	transport *http.Transport
	nova      *nova
	// failing counts failures, of the cloud or of single flavors; down says that it is the cloud.
	failing cloud.Backoff
	down    bool
	// next is when to look again; seen is the newest declaration of the last look.
	next time.Time
	seen seen
}

// seen tells whether any of a set of clusters was declared anew.
type seen struct {
	count int
	index uint64
}

func look(clusters []*state.Cluster) seen {
	l := seen{count: len(clusters)}
	for _, c := range clusters {
		l.index = max(l.index, c.ModifyIndex)
	}
	return l
}

func newSite(k *Keeper, access state.IronicAccess) *site {
	return &site{k: k, access: access, transport: cloud.Transport(1)}
}

func (s *site) close() { s.transport.CloseIdleConnections() }

func (s *site) due(clusters []*state.Cluster) bool {
	if s.down && s.failing.Waiting() {
		return false
	}
	return s.seen != look(clusters) || !time.Now().Before(s.next)
}

// reportError marks an error of Report, which is not Nova's.
type reportError struct{ error }

func (e reportError) Unwrap() error { return e.error }

// pass brings about what is declared, as far as it goes. The error is one of Report.
func (s *site) pass(ctx context.Context, clusters []*state.Cluster) error {
	s.seen = look(clusters)
	var reports []state.ClusterFlavorReport
	failed := false
	have, err := s.list(ctx)
	for _, c := range clusters {
		var status state.FlavorStatus
		if err == nil {
			status, err = s.cluster(ctx, c, have)
		}
		if r, ok := err.(reportError); ok { //nolint:errorlint // made by announce, never wrapped
			s.next = time.Time{} // what was not reported is found again
			return r.error
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			status = c.FlavorStatus
			status.Error = s.scrub(fmt.Sprintf("%s: %s; will retry", label(s.access), cloud.Describe(err)))
		}
		failed = failed || status.Problem() != ""
		reports = appendChanged(reports, c, status)
	}
	s.schedule(ctx, failed, err)
	err = s.k.report(ctx, reports)
	if err != nil && !s.down { // else it is not due before, and Run would not wait until then
		s.next = time.Time{}
	}
	return err
}

func (s *site) list(ctx context.Context) ([]record, error) {
	if s.nova == nil {
		n, err := connect(ctx, s.access, s.transport, s.k.cfg.Timeout)
		if err != nil {
			return nil, err
		}
		s.nova = n
	}
	return s.nova.list(ctx)
}

// schedule decides when to look again.
func (s *site) schedule(ctx context.Context, failed bool, err error) {
	if err != nil && !s.down {
		s.k.cfg.Log.WarnContext(ctx, "nova is of no use now; will retry", "cloud", s.access.Cloud, "err", s.scrub(cloud.Describe(err)))
	}
	if err == nil && s.down {
		s.k.cfg.Log.InfoContext(ctx, "nova answers again", "cloud", s.access.Cloud)
	}
	s.down = err != nil
	if s.down {
		s.nova = nil
		s.transport.CloseIdleConnections()
	}
	if !failed {
		s.failing, s.next = cloud.Backoff{}, time.Now().Add(s.k.cfg.Period)
		return
	}
	s.failing.Fail(s.k.cfg.Retry, s.k.cfg.RetryMax)
	s.failing.NotBefore(cloud.RetryAfter(err))
	s.next = s.failing.Until
}

// cluster works on one cluster. The error says that Nova is of no use now.
func (s *site) cluster(ctx context.Context, c *state.Cluster, have []record) (state.FlavorStatus, error) {
	declared := c.Flavors
	if c.Removing {
		declared = nil
	}
	o := owner{s.k.cfg.Mesh, c.Name}
	todo := decide(declared, o, have)
	if err := s.announce(ctx, c, todo); err != nil {
		return state.FlavorStatus{}, err
	}
	status := state.FlavorStatus{Begun: len(declared) > 0, Index: c.ModifyIndex}
	if err := s.nova.know(ctx, customTraits(declared)); err != nil {
		if ctx.Err() != nil || blamesCloud(err) {
			return status, err
		}
		status.Error = s.scrub("placement: " + cloud.Describe(err))
	}
	for _, w := range todo {
		r, err := s.flavor(ctx, o, w)
		if err != nil {
			return status, err
		}
		if r.ID == "" && w.Want == nil {
			continue // gone
		}
		status.Begun = true
		status.Flavors = append(status.Flavors, r)
	}
	if !status.Begun {
		return state.FlavorStatus{}, nil
	}
	if status.Problem() != "" {
		status.Index = c.FlavorStatus.Index
	}
	slices.SortStableFunc(status.Flavors, func(a, b state.FlavorReport) int { return strings.Compare(a.Name, b.Name) })
	return status, nil
}

// announce says that there may be flavors before the first one is made: a cluster that is then
// destroyed, under whichever leader, stays until they are gone.
func (s *site) announce(ctx context.Context, c *state.Cluster, todo []work) error {
	makes := slices.ContainsFunc(todo, func(w work) bool {
		return slices.ContainsFunc(w.Steps, func(st step) bool { return st.Kind == create })
	})
	if !makes || c.FlavorStatus.Begun {
		return nil
	}
	begun := c.FlavorStatus
	begun.Begun = true
	if err := s.k.cfg.Report(ctx, []state.ClusterFlavorReport{{Cluster: c.Name, Status: begun}}); err != nil {
		return reportError{err}
	}
	// What is reported of a cluster that is gone is skipped, and flavors that are made for it
	// would be nobody's.
	snap, _ := s.k.cfg.Source.Snapshot()
	if now, ok := snap.Cluster(c.Name); !ok || !now.FlavorStatus.Begun {
		return reportError{fmt.Errorf("cluster %s: is gone, or not announced yet", c.Name)}
	}
	return nil
}

// flavor takes the steps of one flavor. The error says that Nova is of no use now; another
// refusal is in the report.
func (s *site) flavor(ctx context.Context, o owner, w work) (state.FlavorReport, error) {
	r := state.FlavorReport{Name: w.Name, ID: w.ID, Error: w.Problem}
	for _, st := range w.Steps {
		id, err := s.nova.do(ctx, st, o, w, r.ID)
		if err != nil && (ctx.Err() != nil || blamesCloud(err)) {
			return r, err
		}
		if err != nil {
			r.Error = s.scrub(fmt.Sprintf("%s it: %s", st.Kind, cloud.Describe(err)))
			s.k.cfg.Log.WarnContext(ctx, "flavor is not as declared; will retry", "cluster", o.cluster, "flavor", w.Name, "err", r.Error)
			return r, nil
		}
		r.ID = id
		s.k.cfg.Log.InfoContext(ctx, "flavor changed", "cluster", o.cluster, "flavor", w.Name, "step", string(st.Kind), "id", id)
	}
	return r, nil
}

// blamesCloud reports whether an error is no answer to the request that was made.
func blamesCloud(err error) bool {
	switch code, _ := cloud.Answer(err); code {
	case 0, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// label names the cloud in messages.
func label(a state.IronicAccess) string {
	if a.Cloud == "" {
		return "nova"
	}
	return "nova of cloud " + a.Cloud
}

func (s *site) scrub(text string) string {
	return cloud.Scrub(text, cloud.SecretsOf(s.access)...)
}
