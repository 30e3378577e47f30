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

// waitReady waits until every node of a cluster is ready, and enrolled if the
// cluster has an Ironic.
func (t *tool) waitReady(ctx context.Context, c *client.Client, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := t.progress()
	defer p.done()
	var last []api.Node
	var index uint64
	for {
		nodes, newer, err := c.Nodes(ctx, client.NodeQuery{Cluster: name, After: index})
		if err != nil {
			return gaveUp(ctx, err, last, limit)
		}
		index, last = newer, nodes
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
		p.show("%s", progressLine(name, done, len(nodes), reasons))
		if done == len(nodes) {
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

// gaveUp says what was missing when the time was up.
func gaveUp(ctx context.Context, err error, nodes []api.Node, limit time.Duration) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	var waiting []string
	for _, n := range nodes {
		if !settled(n) {
			waiting = append(waiting, strings.TrimSpace(n.Name+" "+n.Phase+" "+n.Reason))
		}
	}
	return fmt.Errorf("not done after %s (it goes on): %s", limit, strings.Join(waiting, "; "))
}

// waitGone waits until a cluster is no longer there.
func (t *tool) waitGone(ctx context.Context, c *client.Client, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := t.progress()
	defer p.done()
	var last []api.Node
	var index uint64
	most := 0
	for {
		nodes, newer, err := c.Nodes(ctx, client.NodeQuery{Cluster: name, After: index})
		if err != nil {
			return gaveUp(ctx, err, last, limit)
		}
		index, last = newer, nodes
		most = max(most, len(nodes))
		var reasons []string
		for _, n := range nodes {
			if n.Reason != "" {
				reasons = append(reasons, n.Name+": "+n.Reason)
			}
		}
		line := fmt.Sprintf("%s [%s] %d/%d removed", name, bar(most-len(nodes), most), most-len(nodes), most)
		if len(reasons) > 0 {
			line += "; " + reasons[0]
		}
		p.show("%s", line)
		if _, err := c.Cluster(ctx, name); isNotFound(err) {
			return nil
		}
	}
}

func isNotFound(err error) bool {
	var s *client.StatusError
	return errors.As(err, &s) && s.Status == 404
}
