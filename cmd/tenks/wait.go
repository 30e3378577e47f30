package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/raftfsm/state"
)

// settled reports whether a node has come where it is going.
func settled(n api.Node) bool {
	return n.Phase == string(state.PhaseEnrolled) || n.Phase == string(state.PhaseReady) && !n.Enrols
}

// waitApplied waits until all of a cluster is as declared, as far as its file says to wait.
func (t *tool) waitApplied(ctx context.Context, c *client.Client, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := t.waitReady(ctx, c, name, limit); err != nil {
		return err
	}
	return t.waitPlacement(ctx, c, name, forPlacement(limit))
}

// waitReady waits until every node of a cluster is ready, and enrolled if the cluster has an
// Ironic, and Nova has its flavors. ctx ends after limit.
func (t *tool) waitReady(ctx context.Context, c *client.Client, name string, limit time.Duration) error {
	p := t.progress()
	defer p.done()
	var last waiting
	var index uint64
	for {
		nodes, newer, err := c.Nodes(ctx, client.NodeQuery{Cluster: name, After: index})
		if err != nil {
			return last.gaveUp(ctx, err, limit)
		}
		index, last.nodes = newer, nodes
		done := 0
		reasons := []string{}
		for _, n := range nodes {
			if settled(n) {
				done++
			} else if n.Reason != "" {
				reasons = append(reasons, n.Name+": "+n.Reason)
			}
		}
		slices.Sort(reasons)
		if last.cluster, err = c.Cluster(ctx, name); err != nil {
			return last.gaveUp(ctx, err, limit)
		}
		if why := last.cluster.FlavorsReason; why != "" {
			reasons = append(reasons, why)
		}
		p.show("%s", progressLine(name, done, len(nodes), reasons))
		if done == len(nodes) && !last.cluster.FlavorsPending {
			return nil
		}
	}
}

func progressLine(name string, done, total int, reasons []string) string {
	line := fmt.Sprintf("%s [%s] %d/%d ready", name, bar(done, total), done, total)
	if len(reasons) > 0 {
		line += fmt.Sprintf("; %d with a problem, such as %s", len(reasons), reasons[0])
	}
	return line
}

// waiting is what was seen last of what is waited for.
type waiting struct {
	nodes   []api.Node
	cluster api.Cluster
}

// gaveUp says what was missing when the time was up.
func (w waiting) gaveUp(ctx context.Context, err error, limit time.Duration) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	var missing []string
	for _, n := range w.nodes {
		if !settled(n) {
			missing = append(missing, strings.TrimSpace(n.Name+" "+n.Phase+" "+n.Reason))
		}
	}
	if w.cluster.FlavorsPending {
		missing = append(missing, strings.TrimSpace("flavors of Nova "+w.cluster.FlavorsReason))
	}
	if len(missing) == 0 {
		missing = []string{"there was no time to see its nodes: see tenks node list"}
	}
	return fmt.Errorf("not done after %s (it goes on): %s", limit, strings.Join(missing, "; "))
}

// waitGone waits until a cluster is no longer there.
func (t *tool) waitGone(ctx context.Context, c *client.Client, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := t.progress()
	defer p.done()
	var last waiting
	var index uint64
	most := 0
	for {
		nodes, newer, err := c.Nodes(ctx, client.NodeQuery{Cluster: name, After: index})
		if err != nil {
			return last.gaveUp(ctx, err, limit)
		}
		index, last.nodes = newer, nodes
		most = max(most, len(nodes))
		var reasons []string
		for _, n := range nodes {
			if n.Reason != "" {
				reasons = append(reasons, n.Name+": "+n.Reason)
			}
		}
		if last.cluster, err = c.Cluster(ctx, name); isNotFound(err) {
			p.show("%s [%s] %d/%d removed", name, bar(most, most), most, most)
			return nil
		}
		if why := last.cluster.FlavorsReason; why != "" {
			reasons = append(reasons, why)
		}
		line := fmt.Sprintf("%s [%s] %d/%d removed", name, bar(most-len(nodes), most), most-len(nodes), most)
		if len(reasons) > 0 {
			line += "; " + reasons[0]
		}
		p.show("%s", line)
	}
}

func isNotFound(err error) bool {
	var s *client.StatusError
	return errors.As(err, &s) && s.Status == 404
}
