package link

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Failures are the errors of a plan: Host of the steps for no node, Nodes by UUID.
type Failures struct {
	Host  error
	Nodes map[string]error
}

// Err joins all failures, in no order; nil if there are none.
func (f Failures) Err() error {
	errs := []error{f.Host}
	for _, err := range f.Nodes {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ApplyPlan carries a plan out with at most workers nodes at a time. A node's first
// failure ends its steps, but for a conflict; a failure of the host's own steps ends
// nothing, because they concern different physnets. It returns when all is done.
func (h *Host) ApplyPlan(ctx context.Context, steps []Step, workers int) Failures {
	f := Failures{Nodes: map[string]error{}}
	batches := Batch(steps)
	for _, s := range batches.Before {
		f.Host = errors.Join(f.Host, h.Apply(ctx, s))
	}
	var mu sync.Mutex // guards f.Nodes
	var g errgroup.Group
	g.SetLimit(max(workers, 1))
	for node, steps := range batches.Nodes {
		g.Go(func() error {
			if err := h.applyAll(ctx, steps); err != nil {
				mu.Lock()
				defer mu.Unlock()
				f.Nodes[node] = err
			}
			return nil
		})
	}
	_ = g.Wait() // failures are in f
	for _, s := range batches.After {
		f.Host = errors.Join(f.Host, h.Apply(ctx, s))
	}
	return f
}

func (h *Host) applyAll(ctx context.Context, steps []Step) error {
	var errs error
	for _, s := range steps {
		err := h.Apply(ctx, s)
		errs = errors.Join(errs, err)
		if err != nil && s.Op != OpConflict {
			break
		}
	}
	return errs
}
