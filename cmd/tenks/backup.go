package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/client"
	"tenks/cmd/internal/recovery"
)

func (t *tool) backupCommand() *cobra.Command {
	return group("backup", "the mesh's whole state as a file", t.backupSave(), t.backupList(), t.backupInspect(), t.backupVerify(), t.backupRestore())
}

func (t *tool) backupSave() *cobra.Command {
	var file string
	var force, stale bool
	c := &cobra.Command{
		Use: "save", Short: "write a backup of the mesh's state", Args: noArgs,
		Long: `Save writes everything that the mesh knows to a file of mode 0600. It holds the
mesh's keys and every password: keep it as you keep those. Guests' disks are not in it.`,
		Example: "  tenks backup save -f /srv/tenks.tnk",
		RunE: func(c *cobra.Command, _ []string) error {
			mode, fresh := recovery.Never, client.Current
			if force {
				mode = recovery.Replace
			}
			if stale {
				fresh = client.Stale
			}
			r, err := t.client().Backup(c.Context(), fresh)
			if err != nil {
				return err
			}
			defer r.Close()
			if file == "" {
				file = "tenks-" + time.Now().UTC().Format("20060102T150405Z") + ".tnk"
			}
			info, err := recovery.Save(file, r, mode)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("backup: %w: --force replaces it", err)
			}
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			fmt.Fprintf(t.out, "%s: log index %d, %d clusters, %d nodes; it holds keys and passwords\n", info.File, info.Index, info.Clusters, info.Nodes)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "file to write (default: tenks-TIME.tnk here)")
	c.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	c.Flags().BoolVar(&stale, "stale", false, "without asking a leader: what this peer has, for a mesh that has none")
	return c
}

func (t *tool) backupList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "list the backups that the agent of this host made", Args: noArgs,
		Long: `List shows the backups in the agent's data directory. An agent that follows the log
makes one a day and keeps seven, unless agent.yml says otherwise (backup).`,
		RunE: func(*cobra.Command, []string) error {
			list, err := recovery.List(t.paths().Backups)
			if err != nil {
				return err
			}
			if list == nil {
				list = []recovery.Entry{}
			}
			return t.print(list, func() table {
				tab := table{head: []string{"FILE", "TIME", "INDEX", "BYTES"}}
				for _, e := range list {
					tab.row(e.File, e.Time.Format(time.RFC3339), strconv.FormatUint(e.Index, 10), strconv.FormatInt(e.Bytes, 10))
				}
				return tab
			})
		}}
}

func (t *tool) backupInspect() *cobra.Command {
	return &cobra.Command{Use: "inspect FILE", Short: "say what is in a backup", Args: args(1, 1, "one file"),
		RunE: func(_ *cobra.Command, a []string) error {
			_, i, err := recovery.ReadBackup(a[0])
			if err != nil {
				return err
			}
			return t.print(i, func() table {
				tab := table{}
				tab.row("mesh", i.Mesh+" "+i.MeshID)
				tab.row("generation", strconv.FormatUint(i.Generation, 10))
				tab.row("index", strconv.FormatUint(i.Index, 10))
				tab.row("newest event", i.Time)
				tab.row("peers", strconv.Itoa(i.Peers))
				tab.row("hypervisors", strconv.Itoa(i.Hypervisors))
				tab.row("clusters", strconv.Itoa(i.Clusters))
				tab.row("nodes", strconv.Itoa(i.Nodes))
				tab.row("bytes", strconv.FormatInt(i.Bytes, 10))
				return tab
			})
		}}
}

func (t *tool) backupVerify() *cobra.Command {
	return &cobra.Command{Use: "verify FILE", Short: "check that a backup is whole and can be restored", Args: args(1, 1, "one file"),
		RunE: func(_ *cobra.Command, a []string) error {
			_, i, err := recovery.ReadBackup(a[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(t.out, "%s is good: mesh %s, log index %d\n", a[0], i.Mesh, i.Index)
			return nil
		}}
}

func (t *tool) backupRestore() *cobra.Command {
	var o recoverFlags
	c := &cobra.Command{
		Use: "restore FILE", Short: "go on with the state of a backup, on this host", Args: args(1, 1, "one file"),
		Long: `Restore makes this host the only voter of its mesh, with the state of a backup. The
agent must be stopped. Other peers come over by themselves. What was declared after the
backup is forgotten; guests that it does not know are left alone.`,
		RunE: func(c *cobra.Command, a []string) error {
			return t.recoverMesh(o, func(p recovery.Place, ro recovery.Options) (*recovery.Step, error) {
				return recovery.PrepareRestore(c.Context(), p, a[0], ro)
			})
		},
	}
	o.add(c, "also a backup of an earlier generation, or while the mesh works")
	return c
}
