package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cmd/internal/daemon"
	"tenks/config"
	"tenks/raftfsm"
)

func (t *tool) joinCommand() *cobra.Command {
	var host hostFlags
	var tokenFile string
	c := &cobra.Command{
		Use: "join TOKEN", Short: "make this host a peer of a mesh, and start its agent", Args: args(0, 1, "a join token"),
		Long: `Join makes this host a peer of the mesh that the token is of, and starts its agent.
A peer of the mesh makes tokens: tenks token create. It may be repeated. Instead of
the token, - reads it from standard input.`,
		Example: "  tenks join tnk1.… --zone rack-b --physnet physnet1=eth1\n  tenks join --token-file /root/token",
		RunE: func(c *cobra.Command, a []string) error {
			text, err := t.joinToken(a, tokenFile)
			if err != nil {
				return err
			}
			return t.join(c.Context(), text, host)
		},
	}
	host.add(c)
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token; - for standard input (default: $TENKS_TOKEN)")
	return c
}

// tokenVariable holds a join token.
const tokenVariable = "TENKS_TOKEN"

// joinToken finds the token: an argument shows in the process list, the others do not.
func (t *tool) joinToken(a []string, file string) (string, error) {
	if len(a) == 1 && a[0] == "-" {
		a, file = nil, "-"
	}
	switch {
	case len(a) == 1:
		return a[0], nil
	case file == "-":
		b, err := io.ReadAll(io.LimitReader(t.in, 1<<16))
		return string(b), err
	case file != "":
		b, err := os.ReadFile(file)
		return string(b), err
	}
	if text := os.Getenv(tokenVariable); text != "" {
		return text, os.Unsetenv(tokenVariable) // the agent that is started does not get it
	}
	return "", usagef("tenks join takes a join token; tenks token create, on a peer of the mesh, makes one")
}

func (t *tool) join(ctx context.Context, text string, host hostFlags) error {
	token, err := pki.ParseToken(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	p := t.paths()
	agent, err := t.joinFile(ctx, p, host)
	if err != nil {
		return err
	}
	if cluster.Estranged(p.Mesh, token) {
		if err := t.stopAgent(ctx, p.Dir); err != nil {
			return err
		}
	}
	address := func(port int) string { return net.JoinHostPort(agent.Advertise, strconv.Itoa(port)) }
	err = cluster.Join(ctx, cluster.JoinConfig{Dir: p.Mesh, Token: token, Now: time.Now, Level: raftfsm.Level, Peer: cluster.Peer{Name: agent.Name,
		Address: address(agent.Mesh.Port), Gossip: address(agent.Mesh.GossipPort), Zone: agent.Zone}})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if host.foreground {
		return runAgent(ctx, p.Config, "info", t.err)
	}
	if daemon.PID(p.Dir) == 0 {
		if err := t.startAgent(ctx, p); err != nil {
			return err
		}
	}
	st, err := t.client().Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "joined mesh %q as %s: %d peers; leader %s; agent %d runs, its log is %s\n",
		st.Mesh, agent.Name, st.Peers, st.Leader, daemon.PID(p.Dir), t.agentLog(p))
	return nil
}

// joinFile writes agent.yml unless it is there, and returns what it says.
func (t *tool) joinFile(ctx context.Context, p daemon.Paths, host hostFlags) (config.Agent, error) {
	file, err := host.file(p.Dir)
	if err != nil {
		return config.Agent{}, err
	}
	agent, err := ensureFile(p, file)
	if err != nil {
		return config.Agent{}, err
	}
	return daemon.Resolve(ctx, agent)
}
