package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

// applyFlags are what plan and apply share.
type applyFlags struct {
	file                            string
	restart, force, forget, pending bool
	lose                            bool
	remove                          []string
}

func (f *applyFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.file, "file", "f", "", "cluster file; - for standard input")
	fl.BoolVar(&f.restart, "restart", false, "power cycle running nodes whose change needs it")
	fl.BoolVar(&f.force, "force", false, "what is done to nodes is done to those that Ironic uses, too")
	fl.BoolVar(&f.lose, "allow-data-loss", false, "make volumes and nodes anew where a change takes that: what is on them is lost")
	fl.StringSliceVar(&f.remove, "remove", nil, "these nodes go first where a count shrinks: NODE[,NODE]")
	fl.BoolVar(&f.forget, "forget-ironic", false, "leave the records of removed nodes in Ironic")
	fl.BoolVar(&f.pending, "allow-unplaced", false, "accept nodes that no hypervisor can take now")
	_ = c.RegisterFlagCompletionFunc("file", cobra.FixedCompletions([]string{"yml", "yaml"}, cobra.ShellCompDirectiveFilterFileExt))
}

func (f *applyFlags) request(t *tool) (api.ApplyRequest, error) {
	if f.file == "" {
		return api.ApplyRequest{}, usagef("-f FILE is missing: which cluster file?")
	}
	r := api.ApplyRequest{Name: f.file, Restart: f.restart, Force: f.force, Forget: f.forget, AllowUnplaced: f.pending,
		AllowDataLoss: f.lose, Remove: f.remove}
	var data []byte
	var err error
	if f.file == "-" {
		r.Name = "standard input"
		data, err = io.ReadAll(t.in)
	} else {
		data, err = os.ReadFile(f.file)
	}
	if err != nil {
		return r, err
	}
	r.File = string(data)
	err = addSecrets(&r)
	return r, err
}

func (t *tool) applyCommand() *cobra.Command {
	var f applyFlags
	var yes bool
	var wait string
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "make the cluster that a file declares", Args: noArgs,
		Long: `Apply declares a cluster: nodes are created, changed and removed until what there is
is what the file says. It may be repeated. Nodes that exist are never moved, and
never stopped unless --restart or --allow-data-loss asks for it. See tenks plan.`,
		Example: "  tenks apply -f demo.yml --wait\n  tenks apply -f demo.yml --yes --wait=10m",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := f.request(t)
			if err != nil {
				return err
			}
			limit, err := waitTime(wait)
			if err != nil {
				return err
			}
			return t.apply(c.Context(), r, confirmation{yes: yes}, limit)
		},
	}
	f.add(c)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before nodes are removed")
	addWait(c, &wait)
	return c
}

// addWait adds --wait[=DURATION].
func addWait(c *cobra.Command, wait *string) {
	c.Flags().StringVar(wait, "wait", "", "wait until it is done, at most this long")
	c.Flags().Lookup("wait").NoOptDefVal = "1h"
}

func waitTime(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, usagef("--wait=%s: not a duration such as 90s or 10m", text)
	}
	return d, nil
}

// confirmation says whether people are asked before something is removed.
type confirmation struct{ yes bool }

func (t *tool) apply(ctx context.Context, r api.ApplyRequest, ask confirmation, wait time.Duration) error {
	c := t.client()
	p, err := c.Plan(ctx, r)
	if err != nil {
		return err
	}
	if len(p.Refusals) > 0 {
		return errors.New(strings.Join(p.Refusals, "\n"))
	}
	if p.Changed {
		asked, err := t.confirm(p, ask)
		if err != nil {
			return err
		}
		if asked { // what was agreed to is what is done, or nothing
			r.Plan = p.Fingerprint
		}
		if p, err = t.commit(ctx, c, r); err != nil {
			return err
		}
	}
	if err := t.print(p, func() table { return planTable(p) }); err != nil {
		return err
	}
	if wait == 0 {
		return nil
	}
	return t.waitApplied(ctx, c, p.Cluster, wait)
}

// commit sends an apply; a repeat after a conflict plans anew, unless a plan was
// agreed to.
func (t *tool) commit(ctx context.Context, c *client.Client, r api.ApplyRequest) (api.Plan, error) {
	r.Request = uuid.NewString()
	for attempt := 0; ; attempt++ {
		p, err := c.Apply(ctx, r)
		var status *client.StatusError
		if errors.As(err, &status) && strings.Contains(status.Message, "changed meanwhile") && r.Plan == "" && attempt < 5 {
			r.Request = uuid.NewString()
			continue
		}
		return p, err
	}
}

// confirm asks on a terminal before nodes are removed; it reports whether it did.
func (t *tool) confirm(p api.Plan, ask confirmation) (asked bool, err error) {
	removals := 0
	for _, s := range p.Steps {
		if s.Action == "remove" {
			removals++
		}
	}
	in, ok := t.in.(*os.File)
	if removals == 0 || ask.yes || !ok || !term.IsTerminal(int(in.Fd())) {
		return false, nil
	}
	if err := writeTable(t.err, planTable(p)); err != nil {
		return false, err
	}
	return true, t.question(fmt.Sprintf("Remove %d nodes with their disks?", removals))
}

func (t *tool) question(text string) error {
	fmt.Fprintf(t.err, "%s [y/N] ", text)
	line, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

func (t *tool) destroyCommand() *cobra.Command {
	var r api.DestroyRequest
	var yes bool
	var wait string
	c := &cobra.Command{
		Use: "destroy CLUSTER", Short: "remove a cluster, its nodes and their disks", Args: args(1, 1, "the name of one cluster"),
		Example: "  tenks destroy demo --wait",
		RunE: func(c *cobra.Command, a []string) error {
			limit, err := waitTime(wait)
			if err != nil {
				return err
			}
			return t.destroy(c.Context(), a[0], r, confirmation{yes: yes}, limit)
		},
	}
	c.Flags().BoolVar(&r.Force, "force", false, "also nodes that Ironic uses")
	c.Flags().BoolVar(&r.Forget, "forget-ironic", false, "leave the records in Ironic")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	addWait(c, &wait)
	return c
}

func (t *tool) destroy(ctx context.Context, name string, r api.DestroyRequest, ask confirmation, wait time.Duration) error {
	c := t.client()
	cl, err := c.Cluster(ctx, name)
	if err != nil {
		return err
	}
	if in, ok := t.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) && !ask.yes {
		if err := t.question(fmt.Sprintf("Destroy cluster %s: remove %d nodes with their disks?", name, cl.Nodes)); err != nil {
			return err
		}
	}
	if err := c.Destroy(ctx, name, r); err != nil {
		return err
	}
	if wait == 0 {
		fmt.Fprintf(t.out, "cluster %s is being destroyed; see tenks cluster list\n", name)
		return nil
	}
	return t.waitGone(ctx, c, name, wait)
}
