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

func (t *tool) gossipKeyCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list the keys that gossip is encrypted with, by their hashes", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			keys, err := t.client().Keys(c.Context())
			if err != nil {
				return err
			}
			return t.print(keys.Gossip, func() table { return gossipKeyTable(keys.Gossip) })
		}}
	rotate := t.rotateCommand("replace the gossip key, step by step, on all peers",
		`Rotate makes a new gossip key. All peers first accept it, then use it, then forget the
old one. It waits for peers that are there; those that are lost keep the old key
accepted until they are back or removed, unless --force. The mesh goes on with a
rotation by itself if this command is interrupted. Removing a peer starts one, too.`,
		(*client.Client).RotateGossipKey, gossipRows)
	return group("gossip-key", "the key that gossip between peers is encrypted with", list, rotate)
}

func (t *tool) caCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list the authorities that peers trust", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			keys, err := t.client().Keys(c.Context())
			if err != nil {
				return err
			}
			return t.print(keys.Authorities, func() table { return authorityTable(keys.Authorities) })
		}}
	rotate := t.rotateCommand("replace the certificate authority, step by step, on all peers",
		`Rotate makes a new certificate authority. All peers first trust it, then get
certificates of it, then trust the old one no longer. Lost peers keep the old one
trusted until they are back or removed, or their certificates are over, unless
--force. Join tokens that were made before are good for as long as the old one is
trusted. The mesh goes on with a rotation by itself if this command is interrupted.`,
		(*client.Client).RotateAuthority, authorityRows)
	return group("ca", "the authority that signs peers' certificates", list, rotate)
}

func gossipKeyTable(keys []api.GossipKey) table {
	tab := table{head: []string{"ID", "STATE", "ADDED", "WAITS FOR"}}
	for _, k := range keys {
		tab.row(k.ID, k.State, k.Added, strings.Join(k.Waiting, ","))
	}
	return tab
}

func authorityTable(list []api.Authority) table {
	tab := table{head: []string{"PIN", "STATE", "ADDED", "EXPIRES", "WAITS FOR"}}
	for _, c := range list {
		tab.row(c.Pin[:min(16, len(c.Pin))], c.State, c.Added, c.Expires, strings.Join(c.Waiting, ","))
	}
	return tab
}

// keyRow is a key of either kind.
type keyRow struct {
	name, state string
	waiting     []string
}

func gossipRows(k api.Keys) []keyRow {
	var out []keyRow
	for _, g := range k.Gossip {
		out = append(out, keyRow{"gossip key " + g.ID, g.State, g.Waiting})
	}
	return out
}

func authorityRows(k api.Keys) []keyRow {
	var out []keyRow
	for _, c := range k.Authorities {
		out = append(out, keyRow{"authority " + c.Pin[:min(16, len(c.Pin))], c.State, c.Waiting})
	}
	return out
}

func (t *tool) rotateCommand(short, long string, begin func(*client.Client, context.Context, api.RotateRequest) error, rows func(api.Keys) []keyRow) *cobra.Command {
	var r api.RotateRequest
	var wait time.Duration
	c := &cobra.Command{Use: "rotate", Short: short, Long: long, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			agent := t.client()
			if err := begin(agent, c.Context(), r); err != nil {
				return err
			}
			return t.waitRotated(c.Context(), agent, wait, rows)
		}}
	c.Flags().BoolVar(&r.Force, "force", false, "do not wait for lost peers; also for a rotation that is under way")
	c.Flags().DurationVar(&wait, "wait", 5*time.Minute, "wait until it is done, at most this long; 0: do not")
	return c
}

// waitRotated shows how far a rotation is until it is done, or only lost peers are left
// to wait for.
func (t *tool) waitRotated(ctx context.Context, c *client.Client, limit time.Duration, rows func(api.Keys) []keyRow) error {
	if limit <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := t.progress()
	defer p.done()
	for last := ""; ; {
		keys, err := c.Keys(ctx)
		if err == nil {
			var done bool
			if last, done = rotationStep(rows(keys), keys.Lost); last != "" {
				p.show("%s", last)
			}
			if done {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("not done after %s, and goes on by itself: %s", limit, last)
			}
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// rotationStep says what a rotation does now, and whether there is nothing more to wait
// for.
func rotationStep(rows []keyRow, lost []string) (line string, done bool) {
	for _, state := range []string{api.KeyComing, api.KeyGoing} {
		for _, k := range rows {
			if k.state != state {
				continue
			}
			line = k.name + ": every peer accepts it"
			if state == api.KeyGoing {
				line = k.name + ": no peer needs it any longer"
			}
			if len(k.waiting) == 0 {
				return line, false
			}
			word := "not accepted everywhere yet"
			if state == api.KeyGoing {
				word = "still needed"
			}
			line = fmt.Sprintf("%s: %s: waiting for %s", k.name, word, some(k.waiting))
			away := !slices.ContainsFunc(k.waiting, func(name string) bool { return !slices.Contains(lost, name) })
			if away && state == api.KeyGoing {
				return line + ", which cannot be reached: it goes once that is back or removed, or with --force", true
			}
			return line, false
		}
	}
	if len(rows) == 0 {
		return "", false
	}
	return rows[0].name + " is in use, and no other is accepted", true
}

// some lists names, the first few.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
