package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

// patience says how long something is waited for, and how often it is asked for: each time
// after twice as long, up to most.
type patience struct{ limit, each, most time.Duration }

// forPlacement is for what nova-compute does once a minute, by default.
func forPlacement(limit time.Duration) patience {
	return patience{limit: limit, each: time.Second, most: 5 * time.Second}
}

// waitPlacement waits until Placement offers every node, if the cluster file says so. ctx ends
// after the limit.
func (t *tool) waitPlacement(ctx context.Context, c *client.Client, name string, patient patience) error {
	cluster, err := c.Cluster(ctx, name)
	if err != nil || !cluster.WaitForPlacement {
		return err
	}
	p := t.progress()
	defer p.done()
	wait := patient.each
	var waiting []string // what was missing last
	for {
		offers, err := c.Placement(ctx, name)
		var status *client.StatusError
		switch {
		case err == nil:
			total := len(offers.Nodes)
			waiting = lacking(offers)
			p.show("%s", placementLine(name, total-len(waiting), total, waiting))
		case errors.As(err, &status) && (status.Status == http.StatusBadGateway || status.Status == http.StatusServiceUnavailable):
			waiting = []string{err.Error()}
			p.show("%s: %s", name, err)
		case ctx.Err() == nil:
			return err
		}
		if err == nil && len(waiting) == 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return fmt.Errorf("not in Placement after %s: %s", patient.limit, strings.Join(waiting, "; "))
		case <-timer.C:
		}
		wait = min(wait*2, patient.most)
	}
}

// lacking says of each node that Placement does not offer what it lacks.
func lacking(v api.Placement) []string {
	var out []string
	for _, n := range v.Nodes {
		if len(n.Lacks) > 0 {
			out = append(out, n.Name+" lacks "+strings.Join(n.Lacks, ", "))
		}
	}
	return out
}

func placementLine(name string, done, total int, waiting []string) string {
	line := fmt.Sprintf("%s [%s] %d/%d in Placement", name, bar(done, total), done, total)
	const shown = 3
	switch {
	case len(waiting) > shown:
		line += fmt.Sprintf("; %s; and %d more", strings.Join(waiting[:shown], "; "), len(waiting)-shown)
	case len(waiting) > 0:
		line += "; " + strings.Join(waiting, "; ")
	}
	return line
}
