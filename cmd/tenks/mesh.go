package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
)

func (t *tool) tokenCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list join tokens", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tokens, err := t.client().Tokens(c.Context())
			if err != nil {
				return err
			}
			return t.print(tokens, func() table { return tokenTable(tokens) })
		}}
	revoke := &cobra.Command{Use: "revoke ID", Short: "make a join token useless", Args: args(1, 1, "the ID of a token"),
		RunE: func(c *cobra.Command, a []string) error { return t.client().RevokeToken(c.Context(), a[0]) }}
	return group("token", "join tokens: what lets a host into the mesh", t.tokenCreateCommand(), list, revoke)
}

func (t *tool) tokenCreateCommand() *cobra.Command {
	var ttl time.Duration
	var r api.TokenRequest
	c := &cobra.Command{Use: "create", Short: "make a join token", Args: noArgs,
		Long:    "Create makes a join token and prints it. The mesh keeps only a hash of it.",
		Example: "  tenks token create\n  tenks token create --uses 10 --ttl 1h\n  tenks token create --name hv7",
		RunE: func(c *cobra.Command, _ []string) error {
			if ttl < time.Second {
				return usagef("--ttl %s: at least 1s", ttl)
			}
			r.TTLSeconds = int64(ttl / time.Second)
			token, err := t.client().CreateToken(c.Context(), r)
			if err != nil {
				return err
			}
			if t.output != "table" {
				return t.print(token, nil)
			}
			fmt.Fprintf(t.out, "%s\n", token.Token)
			fmt.Fprintf(t.err, "On the host that is to join, before %s: tenks join TOKEN\n", token.Expires)
			if token.Bootstrap != "" {
				fmt.Fprintf(t.err, "On a host that has only curl, in a root shell; it installs Tenks from this peer first, and what is added to it is for tenks join:\n%s\n", token.Bootstrap)
			}
			return nil
		}}
	c.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long it can be used")
	c.Flags().IntVar(&r.Uses, "uses", 1, "how many hosts it lets in; -1: any number")
	c.Flags().StringVar(&r.Name, "name", "", "the only peer name that it lets in")
	return c
}

func tokenTable(tokens []api.Token) table {
	tab := table{head: []string{"ID", "STATE", "USES LEFT", "EXPIRES", "NAME", "PEERS"}}
	for _, k := range tokens {
		tab.row(k.ID, k.State, strconv.Itoa(k.Uses), k.Expires, k.Name, strings.Join(k.Peers, ","))
	}
	return tab
}

func (t *tool) raftCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list who follows the log", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			peers, err := t.client().Raft(c.Context())
			if err != nil {
				return err
			}
			return t.print(peers, func() table { return raftTable(peers) })
		}}
	transfer := &cobra.Command{Use: "transfer [PEER]", Short: "hand leadership to another voter", Args: args(0, 1, "a peer, or nothing"),
		RunE: func(c *cobra.Command, a []string) error {
			peers, err := t.client().TransferLeader(c.Context(), strings.Join(a, ""))
			if err != nil {
				return err
			}
			return t.print(peers, func() table { return raftTable(peers) })
		}}
	return group("raft", "the replicated log: who votes, who leads", list, transfer)
}

func raftTable(peers []api.RaftPeer) table {
	tab := table{head: []string{"NAME", "ROLE", "LEADER", "HEALTHY", "ID"}}
	for _, p := range peers {
		tab.row(p.Name, p.Role, yesNo(p.Leader), yesNo(p.Healthy), p.ID)
	}
	return tab
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// peerChanges are the commands that change a peer.
func (t *tool) peerChanges() []*cobra.Command {
	change := func(use, short string, do func(c *cobra.Command, name string) error) *cobra.Command {
		return &cobra.Command{Use: use + " PEER", Short: short, Args: args(1, 1, "one peer"),
			RunE: func(c *cobra.Command, a []string) error { return do(c, a[0]) }}
	}
	var force bool
	remove := change("remove", "remove a peer from the mesh: it is refused from then on", func(c *cobra.Command, name string) error {
		return t.client().RemovePeer(c.Context(), name, api.PeerRequest{Force: force})
	})
	remove.Flags().BoolVar(&force, "force", false, "also one that has nodes: they are made anew on others")
	show := change("show", "show one peer", func(c *cobra.Command, name string) error {
		p, err := t.client().Peer(c.Context(), name)
		if err != nil {
			return err
		}
		return t.showPeer(p)
	})
	return []*cobra.Command{show, remove, t.drainCommand(),
		change("undrain", "place nodes on a peer again, and end moves away from it", func(c *cobra.Command, name string) error {
			return t.client().ChangePeer(c.Context(), name, "undrain")
		}),
		change("declare-lost", "say that a peer's host is off, so that its nodes may be made anew", func(c *cobra.Command, name string) error {
			return t.client().ChangePeer(c.Context(), name, "declare-lost")
		})}
}
