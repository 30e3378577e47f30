package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tenks/cluster"
	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/recovery"
)

func (t *tool) recoverCommand() *cobra.Command {
	return group("recover", "a mesh that lost the majority of its voters", t.recoverStatus(), t.recoverReset(), t.recoverRebuild())
}

// recoverFlags are those of what makes a new generation.
type recoverFlags struct {
	generation uint64
	force, yes bool
}

func (f *recoverFlags) add(c *cobra.Command, force string) {
	c.Flags().Uint64Var(&f.generation, "generation", 0, "number of the new generation (default: the next)")
	c.Flags().BoolVar(&f.force, "force", false, force)
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
}

func (t *tool) recoverStatus() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "what this host has of the mesh, and who answers", Args: noArgs,
		Long: `Status reads this host's files and asks the voters. It changes nothing and needs no
agent; while one runs, its log is in use and is not read.`,
		RunE: func(c *cobra.Command, _ []string) error {
			p := t.paths()
			running := recovery.Stopped
			if daemon.PID(p.Dir) != 0 {
				running = recovery.Runs
			}
			r, err := recovery.Status(c.Context(), p.Place(), running)
			if err != nil {
				return err
			}
			return t.print(r, func() table { return recoverTable(r) })
		}}
}

func recoverTable(r recovery.Report) table {
	tab := table{}
	tab.row("peer", r.Peer+" "+r.PeerID)
	tab.row("generation", strconv.FormatUint(r.Generation, 10)+" "+r.Recovery)
	tab.row("log", r.Log)
	if r.Log == "whole" {
		tab.row("log index", fmt.Sprintf("%d (term %d), %d nodes", r.Index, r.Term, r.Nodes))
	}
	for _, v := range r.Voters {
		state := "does not answer: " + v.Error
		switch {
		case v.ID == r.PeerID && v.Answers:
			state = "this host; its agent runs"
		case v.Answers && v.Leader != "":
			state = fmt.Sprintf("answers, generation %d, log index %d, leader %s", v.Generation, v.Index, v.Leader)
		case v.Answers:
			state = fmt.Sprintf("answers, generation %d, log index %d, without a leader", v.Generation, v.Index)
		case v.ID == r.PeerID:
			state = "this host; its agent is stopped"
		}
		tab.row("voter", v.Name+": "+state)
	}
	quorum := "no majority of the voters"
	if r.Quorum {
		quorum = "a majority of the voters, this host counted in"
	}
	tab.row("quorum", quorum)
	tab.row("part", r.Part)
	tab.row("backups", fmt.Sprintf("%d %s", r.Backups, r.Newest))
	tab.row("advice", r.Advice)
	return tab
}

func (t *tool) recoverReset() *cobra.Command {
	var o recoverFlags
	c := &cobra.Command{
		Use: "reset", Short: "go on with the log of this host alone", Args: noArgs,
		Long: `Reset makes this host the only voter of its mesh, with the state that its own log
holds, after the majority of the voters was lost for good. The agent must be stopped. Run
it on one survivor only: the one whose log index is the highest (tenks recover status).
The mesh's generation goes up, which keeps the old voters out: when they are back, they
come over by themselves. Guests, their disks and their BMCs are not touched.`,
		Example: "  tenks recover status\n  systemctl stop tenks\n  tenks recover reset\n  systemctl start tenks",
		RunE: func(c *cobra.Command, _ []string) error {
			return t.recoverMesh(o, func(p recovery.Place, ro recovery.Options) (*recovery.Step, error) {
				return recovery.PrepareReset(c.Context(), p, ro)
			})
		},
	}
	o.add(c, "also while a majority can work, or another survivor knows more")
	return c
}

func (t *tool) recoverRebuild() *cobra.Command {
	var o recoverFlags
	var from recovery.Sources
	c := &cobra.Command{
		Use: "rebuild", Short: "make the mesh's state anew of what its peers know of themselves", Args: noArgs,
		Long: `Rebuild is for a mesh all of whose voters are gone. Every agent keeps what concerns its
host in part.tnk, in its data directory: copy those of all hosts here. The agent here must
be stopped; those of other hosts may run. An older backup adds what parts do not hold: the
authority's key, clusters as they were declared, Ironic's address. Guests are not touched.`,
		Example: "  tenks recover rebuild --from /root/parts --backup /srv/tenks.tnk",
		RunE: func(c *cobra.Command, _ []string) error {
			return t.recoverMesh(o, func(p recovery.Place, ro recovery.Options) (*recovery.Step, error) {
				return recovery.PrepareRebuild(c.Context(), p, from, ro)
			})
		},
	}
	o.add(c, "also while the mesh works, or without the parts of some hosts")
	c.Flags().StringArrayVar(&from.Parts, "from", nil, "part file of another host, or a directory of such (*.tnk); may be repeated")
	c.Flags().StringVar(&from.Backup, "backup", "", "backup to lay the parts over (default: this host's log, or its newest backup)")
	return c
}

// recoverMesh prepares, asks and does what makes a new generation of the mesh on this host.
func (t *tool) recoverMesh(o recoverFlags, prepare func(recovery.Place, recovery.Options) (*recovery.Step, error)) error {
	p := t.paths()
	if !cluster.Exists(p.Mesh) {
		return fmt.Errorf("%s: this host is in no mesh", p.Dir)
	}
	if pid := daemon.PID(p.Dir); pid != 0 {
		return fmt.Errorf("agent %d runs: stop it first (systemctl stop tenks, or kill %d)", pid, pid)
	}
	s, err := prepare(p.Place(), recovery.Options{Number: o.generation, Force: o.force, Now: time.Now()})
	if err != nil {
		return err
	}
	for _, line := range s.Summary {
		fmt.Fprintln(t.out, line)
	}
	if !o.yes {
		if in, ok := t.in.(*os.File); !ok || !term.IsTerminal(int(in.Fd())) {
			return errors.New("nothing was done: this is not a terminal to ask at; --yes goes on")
		}
		if err := t.question("Do this?"); err != nil {
			return err
		}
	}
	if err := s.Do(); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "done: this host is in generation %d; start its agent\n", s.Generation.Number)
	for _, line := range s.Follow {
		fmt.Fprintln(t.out, "  "+line)
	}
	return nil
}
