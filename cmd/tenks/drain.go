package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

// drainPoll is how often a drain that is waited for is looked at.
const drainPoll = 500 * time.Millisecond

func (t *tool) drainCommand() *cobra.Command {
	var stop, ignorePins bool
	var grace time.Duration
	var wait string
	c := &cobra.Command{Use: "drain PEER", Short: "move a peer's nodes to others, and place no more on it", Args: args(1, 1, "one peer"),
		Long: "Drain moves the nodes of a peer to others, with their disks. A node moves while it is off: one that is on\n" +
			"is waited for, or stopped with --stop. Once its nodes are gone the peer's vote goes to another.\n" +
			"It is refused if a cluster file pins nodes to the peer (specs.nodes.hypervisor): --ignore-pins moves\n" +
			"those, too, and they may be anywhere from then on.\n" +
			"undrain ends it; nodes that have moved stay where they are.",
		Example: "  tenks peer drain hv3 --wait\n  tenks peer drain hv3 --stop --wait=2h",
		RunE: func(c *cobra.Command, a []string) error {
			limit, err := waitTime(wait)
			if err != nil {
				return err
			}
			r := api.DrainRequest{IgnorePins: ignorePins}
			switch {
			case stop && grace < time.Second:
				return usagef("--stop-timeout %s: at least 1s", grace)
			case stop:
				r.StopMilli = grace.Milliseconds()
			}
			cl := t.client()
			if err := cl.DrainPeer(c.Context(), a[0], r); err != nil || limit == 0 {
				return err
			}
			return t.waitDrained(c.Context(), cl, a[0], limit)
		}}
	c.Flags().BoolVar(&stop, "stop", false, "stop nodes that are on: ask the guest to shut down, then switch it off")
	c.Flags().DurationVar(&grace, "stop-timeout", 2*time.Minute, "how long a guest gets to shut down")
	c.Flags().BoolVar(&ignorePins, "ignore-pins", false, "move nodes that are pinned to the peer, too, and pin them no longer")
	addWait(c, &wait)
	return c
}

// waitDrained waits until a peer has no nodes.
func (t *tool) waitDrained(ctx context.Context, c *client.Client, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := t.progress()
	defer p.done()
	most := 0
	var peer api.Peer
	for {
		now, err := c.Peer(ctx, name)
		if err != nil && ctx.Err() != nil {
			return notDrained(ctx, peer, limit)
		}
		if err != nil {
			return err
		}
		peer = now
		most = max(most, peer.Nodes)
		p.show("%s", drainLine(peer, most))
		if peer.Nodes == 0 {
			return nil
		}
		if peer.State != "draining" {
			return fmt.Errorf("peer %s is %s now: it does not drain any longer", peer.Name, peer.State)
		}
		timer := time.NewTimer(drainPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return notDrained(ctx, peer, limit)
		case <-timer.C:
		}
	}
}

// drainLine says how far a drain is of a peer that had so many nodes.
func drainLine(p api.Peer, most int) string {
	line := fmt.Sprintf("%s [%s] %d/%d moved", p.Name, bar(most-p.Nodes, most), most-p.Nodes, most)
	var done, total uint64
	var waiting []string
	moving := 0
	for _, m := range p.Moves {
		if m.To != "" {
			moving++
			done, total = done+m.Done, total+m.Total
		}
		if m.Reason != "" {
			waiting = append(waiting, m.Node+" "+m.Reason)
		}
	}
	if moving > 0 {
		line += fmt.Sprintf(", %d moving: %d of %d MiB", moving, done>>20, total>>20)
	}
	if len(waiting) > 0 {
		slices.Sort(waiting)
		line += fmt.Sprintf("; %d waiting, such as %s", len(waiting), waiting[0])
	}
	return line
}

// notDrained says what was missing when the time was up.
func notDrained(ctx context.Context, p api.Peer, limit time.Duration) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	var left []string
	for _, m := range p.Moves {
		left = append(left, strings.TrimSpace(m.Node+" "+m.Reason))
	}
	return fmt.Errorf("not done after %s (it goes on): %d nodes are left: %s", limit, p.Nodes, strings.Join(left, "; "))
}

// showPeer prints one peer, and the moves of its nodes.
func (t *tool) showPeer(p api.Peer) error {
	if err := t.print(p, func() table { return peerTable([]api.Peer{p}) }); err != nil || t.output != "table" || len(p.Moves) == 0 {
		return err
	}
	fmt.Fprintln(t.out)
	return writeTable(t.out, moveTable(p.Moves))
}

func moveTable(moves []api.NodeMove) table {
	tab := table{head: []string{"NODE", "MOVES TO", "DONE", "REASON"}}
	for _, m := range moves {
		done := ""
		if m.To != "" {
			done = fmt.Sprintf("%d/%d MiB", m.Done>>20, m.Total>>20)
		}
		tab.row(m.Node, m.To, done, m.Reason)
	}
	return tab
}
