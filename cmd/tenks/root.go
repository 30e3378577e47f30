package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/service"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is an error in how a command was called.
type usageError struct{ error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// tool is what every command has at hand: the flags that all share.
type tool struct {
	streams
	api        string
	dataDir    string
	output     string
	consistent bool
	// warned is done once people were warned.
	warned sync.Once
	// system is the service manager of this host.
	system service.Manager
}

const defaultDataDir = service.DataDir

func run(ctx context.Context, args []string, s streams) error {
	t := &tool{streams: s, system: service.Host()}
	root := t.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	return root.ExecuteContext(ctx)
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tenks",
		Short: "virtual bare-metal clusters: VMs with BMCs, enrolled in Ironic",
		Long: `Tenks runs virtual bare-metal clusters: virtual machines that behave, to OpenStack
Ironic and to people, like racked servers with a BMC.

  tenks up                 two nodes on this host, to try
  tenks apply -f FILE      make the cluster that FILE declares
  tenks node list          what there is`,
		SilenceUsage: true, SilenceErrors: true,
		Args:              known,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error { return t.checkOutput() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, c.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&t.dataDir, "data-dir", envOr("TENKS_DATA_DIR", defaultDataDir), "directory of the agent")
	flags.StringVar(&t.api, "api", os.Getenv("TENKS_API"), "agent to talk to: socket path or URL (default: the socket in --data-dir)")
	flags.BoolVar(&t.consistent, "consistent", false, "read what was acknowledged anywhere before: the default is what the agent knows, which may be a moment old")
	flags.StringVarP(&t.output, "output", "o", "table", "table, json or yaml")
	for _, c := range []*cobra.Command{
		t.upCommand(), t.downCommand(), t.initCommand(), t.agentCommand(), t.hostCommand(),
		t.planCommand(), t.applyCommand(), t.importCommand(), t.adoptCommand(), t.destroyCommand(), t.clusterCommand(), t.nodeCommand(), t.faultCommand(), t.pduCommand(), t.peerCommand(), t.joinCommand(), t.leaveCommand(), t.tokenCommand(), t.gossipKeyCommand(), t.caCommand(), t.raftCommand(), t.backupCommand(), t.recoverCommand(),
		t.statusCommand(), t.doctorCommand(), t.eventsCommand(), t.versionCommand(), t.schemaCommand(),
	} {
		root.AddCommand(c)
	}
	return root
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// client returns a client of the agent that the flags name.
func (t *tool) client() *client.Client {
	target := t.api
	if target == "" {
		target = t.paths().Socket
	}
	c := client.New(target)
	c.Warn, c.Consistent = t.warn, t.consistent
	return c
}

// warn tells people, once, why what they see may not be all.
func (t *tool) warn(text string) {
	t.warned.Do(func() { fmt.Fprintln(t.err, "tenks: warning:", text) })
}

func (t *tool) paths() daemon.Paths {
	dir, err := filepath.Abs(t.dataDir)
	if err != nil {
		dir = t.dataDir
	}
	return daemon.PathsOf(dir)
}

// args returns a check that a command has between lo and hi arguments, in words.
func args(lo, hi int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, a []string) error {
		if len(a) < lo || len(a) > hi {
			return usagef("%s takes %s; see %s --help", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}

var noArgs = args(0, 0, "no arguments")

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: known,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(subs...)
	return c
}

// known refuses words that are no command of c's.
func known(c *cobra.Command, a []string) error {
	if len(a) == 0 {
		return nil
	}
	guess := ""
	if near := c.SuggestionsFor(a[0]); len(near) > 0 {
		guess = " did you mean " + near[0] + "?"
	}
	return usagef("%s has no command %q;%s see %s --help", c.CommandPath(), a[0], guess, c.CommandPath())
}
