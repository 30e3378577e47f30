package hostops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// The first and the longest time until work that failed is tried again.
const (
	trialFirst = time.Second
	trialMax   = time.Minute
)

// trial is work that failed, and when to try again. Other work is tried at once.
type trial struct {
	what     string
	err      error
	failures int
	next     time.Time
}

// outcome is what became of a program.
type outcome struct {
	// changed says that something was written.
	changed bool
	// host are errors of bridges by interface name, nodes those of nodes by UUID.
	host, nodes map[string]error
}

// apply carries a program out. Nodes are worked on at the same time, at most
// Config.Parallel.
func (h *Host) apply(ctx context.Context, p program, now have) outcome {
	out := outcome{host: map[string]error{}, nodes: map[string]error{}}
	writes := h.linkWrites.Load() + h.driverWrites.Load()
	h.hostSteps(ctx, p.before, p.links, now, out.host)
	incomplete := h.nodeWork(ctx, p.nodes, out.nodes)
	if !incomplete {
		h.hostSteps(ctx, p.after, p.links, now, out.host)
	}
	h.forgetStuck(p)
	out.changed = h.linkWrites.Load()+h.driverWrites.Load() != writes
	return out
}

// hostSteps carries out steps that belong to no node. A failure concerns the
// bridges that the step is about.
func (h *Host) hostSteps(ctx context.Context, steps []layerStep, want link.Want, now have, errs map[string]error) {
	for _, s := range steps {
		err := h.hostStep(ctx, s, now)
		if err == nil {
			continue
		}
		for _, name := range blamed(s, want) {
			errs[name] = errors.Join(errs[name], err)
		}
	}
}

// blamed are the bridges that a step is about: the one that it names, else those that its link
// joins to others. One that concerns no wanted bridge has its link's name.
func blamed(s layerStep, want link.Want) []string {
	var out []string
	for _, b := range want.Bridges {
		switch {
		case b.Name == s.Bridge:
			return []string{b.Name}
		case s.Link == "":
		case b.Name == s.Link, b.Device == s.Link, slices.Contains(b.Ways(), s.Link):
			out = append(out, b.Name)
		}
	}
	if out == nil {
		return []string{s.Link}
	}
	return out
}

// linkStep carries out one step; a conflict is an error without any call.
func (h *Host) linkStep(ctx context.Context, s layerStep) error {
	if s.Op == link.OpConflict {
		return errors.New(s.Reason)
	}
	h.linkWrites.Add(1)
	if s.Op != "" {
		if err := h.cfg.Links.Apply(ctx, s.Step); err != nil {
			return err
		}
	}
	if s.then.Op == "" {
		return nil
	}
	if s.then.Op == ovs.OpBridge || s.then.Op == ovs.OpPort {
		if err := h.switched.set(h.store, true); err != nil {
			return err
		}
	}
	return h.cfg.Switches.Apply(ctx, s.then)
}

// nodeWork works on nodes; incomplete says that one which should go did not. Links of nodes that go
// are taken away outside the limit: that is waiting for the kernel, and as long for all as for one.
func (h *Host) nodeWork(ctx context.Context, nodes []work, errs map[string]error) (incomplete bool) {
	var mu sync.Mutex // guards errs, and h.trials while nodes are worked on
	var remains atomic.Bool
	var g errgroup.Group
	g.SetLimit(h.cfg.Parallel)
	var links sync.WaitGroup
	for _, w := range nodes {
		what := w.describe()
		mu.Lock()
		t, tried := h.trials[w.node]
		if tried && t.what == what && time.Now().Before(t.next) {
			errs[w.node] = t.err
			mu.Unlock()
			remains.Store(remains.Load() || w.kind != kindEnsure)
			continue
		}
		mu.Unlock()
		done := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			h.tried(w.node, what, err)
			if err != nil {
				errs[w.node] = err
				remains.Store(remains.Load() || w.kind != kindEnsure)
			}
		}
		g.Go(func() error {
			err := h.workOn(ctx, w)
			if err != nil || w.kind != kindRemove {
				done(err)
				return nil
			}
			links.Go(func() { done(h.linkSteps(ctx, w.links)) })
			return nil
		})
	}
	_ = g.Wait() // failures are in errs
	links.Wait()
	return remains.Load()
}

// tried records how work went. A driver that is busy is asked again by the next
// pass.
func (h *Host) tried(node, what string, err error) { noteTrial(h.trials, node, what, err) }

func noteTrial(trials map[string]trial, of, what string, err error) {
	if err == nil || transient(err) {
		delete(trials, of)
		return
	}
	t := trials[of]
	if t.what != what {
		t = trial{what: what}
	}
	t.err = err
	t.next = time.Now().Add(min(trialFirst<<min(t.failures, 10), trialMax))
	t.failures++
	trials[of] = t
}

// describe identifies work: the same again is the same work.
func (w work) describe() string {
	parts := []string{string(w.kind), w.driver}
	if w.spec != nil {
		parts = append(parts, w.spec.Digest(), fmt.Sprint(w.spec.Epoch))
	}
	for _, s := range w.links {
		parts = append(parts, s.String())
	}
	return strings.Join(parts, "\n")
}

// workOn does a node's work, but for taking its links away.
func (h *Host) workOn(ctx context.Context, w work) error {
	switch w.kind {
	case kindRemove:
		if err := h.call(w.driver, func(d driver.Driver) error { return d.Remove(ctx, w.node) }); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		return nil
	case kindStop:
		h.log.WarnContext(ctx, "node runs here and the mesh has it elsewhere: it is switched off, its disks stay", "node", w.node)
		h.powerRequests.Add(1)
		err := h.call(w.driver, func(d driver.Driver) error {
			return d.Power(ctx, w.node, driver.PowerRequest{Action: state.ActionOff})
		})
		if err != nil {
			return fmt.Errorf("switch off: %w", err)
		}
		return nil
	}
	h.relinked(ctx, w, true)
	if err := h.linkSteps(ctx, w.links); err != nil || w.spec == nil {
		return err
	}
	if err := h.call(w.driver, func(d driver.Driver) error { return d.Ensure(ctx, *w.spec) }); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	h.relinked(ctx, w, false)
	return nil
}

// call makes a writing call to a driver, if there is one to call.
func (h *Host) call(name string, do func(driver.Driver) error) error {
	if name == "" {
		return nil
	}
	d, err := h.driverOf(name)
	if err != nil {
		return err
	}
	h.driverWrites.Add(1)
	return do(d)
}

// relinked remembers that links of a running guest are made anew, before they are,
// and that its driver knows.
func (h *Host) relinked(ctx context.Context, w work, pending bool) {
	c, ok := h.known(w.node)
	if ok && w.relinks {
		c.remember(ctx, func(r *row) { r.Relinked = pending })
	}
}

// linkSteps carries out a node's steps. A failure ends them, but for a conflict,
// which says that one port cannot be had.
func (h *Host) linkSteps(ctx context.Context, steps []layerStep) error {
	var errs error
	for _, s := range steps {
		err := h.linkStep(ctx, s)
		errs = errors.Join(errs, err)
		if err != nil && s.Op != link.OpConflict {
			break
		}
	}
	return errs
}
