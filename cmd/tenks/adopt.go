package main

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
)

// adoption is how nodes are taken over.
type adoption struct {
	partial, plan bool
	wait          string
}

func (a *adoption) add(c *cobra.Command) {
	c.Flags().BoolVar(&a.partial, "partial", false, "take over what can be, and leave the rest as it is")
	c.Flags().BoolVar(&a.plan, "plan", false, "only say what would be done")
	addWait(c, &a.wait)
}

func (t *tool) adoptCommand() *cobra.Command {
	var f applyFlags
	var a adoption
	c := &cobra.Command{
		Use: "adopt -f FILE", Short: "take over nodes that another tool made, as they are", Args: noArgs,
		Long: `Adopt takes over the nodes that a cluster file names (specs.nodes, as tenks import --state
writes them) where their hosts have them already: the domain, running or not, its disks,
its links and bridges, and its record in Ironic. Nothing is stopped, made anew or renamed, and
no other node is created, changed or removed: tenks apply does that. Either all named nodes
can be taken over or none is, unless --partial says otherwise.`,
		Example: "  tenks adopt -f cluster.yml --plan\n  tenks adopt -f cluster.yml --wait",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := f.request(t)
			if err != nil {
				return err
			}
			return t.adopt(c.Context(), r, a)
		},
	}
	c.Flags().StringVarP(&f.file, "file", "f", "", "cluster file; - for standard input")
	a.add(c)
	return c
}

func (t *tool) adopt(ctx context.Context, r api.ApplyRequest, a adoption) error {
	limit, err := waitTime(a.wait)
	if err != nil {
		return err
	}
	c := t.client()
	r.Request = uuid.NewString()
	p, err := c.Adopt(ctx, api.AdoptRequest{ApplyRequest: r, Partial: a.partial, Look: a.plan})
	if err != nil {
		return err
	}
	if err := t.print(p, func() table { return planTable(p) }); err != nil {
		return err
	}
	if limit == 0 || a.plan {
		return nil
	}
	return t.waitApplied(ctx, c, p.Cluster, limit)
}
