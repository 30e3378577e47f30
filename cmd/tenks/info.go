package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/hostcheck"
	"tenks/config"
)

func (t *tool) clusterCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list clusters", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			clusters, err := t.client().Clusters(c.Context())
			if err != nil {
				return err
			}
			return t.print(clusters, func() table { return clusterTable(clusters) })
		}}
	show := &cobra.Command{Use: "show CLUSTER", Short: "show one cluster", Args: args(1, 1, "one cluster"),
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := t.client().Cluster(c.Context(), a[0])
			if err != nil {
				return err
			}
			err = t.print(cl, func() table { return clusterTable([]api.Cluster{cl}) })
			if err != nil || len(cl.Flavors) == 0 || t.output != "table" {
				return err
			}
			return writeTable(t.out, flavorTable(cl.Flavors))
		}}
	export := &cobra.Command{Use: "export CLUSTER", Short: "print the cluster file as it was applied", Args: args(1, 1, "one cluster"),
		RunE: func(c *cobra.Command, a []string) error {
			text, err := t.client().ClusterFile(c.Context(), a[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(t.out, text)
			return err
		}}
	return group("cluster", "look at clusters, and limit them", list, show, export, t.clusterQuota())
}

func clusterTable(clusters []api.Cluster) table {
	tab := table{head: []string{"NAME", "STATE", "NODES", "WANTED", "PHASES", "IRONIC"}}
	limited := slices.ContainsFunc(clusters, func(c api.Cluster) bool { return c.Quota != nil })
	if limited {
		tab.head = append(tab.head, "QUOTA")
	}
	for _, c := range clusters {
		cells := []string{c.Name, c.State, strconv.Itoa(c.Nodes), strconv.Itoa(c.Wanted), counts(c.ByPhase), c.Ironic}
		if limited {
			cells = append(cells, quotaText(c.Quota))
		}
		tab.row(cells...)
	}
	return tab
}

func flavorTable(flavors []api.Flavor) table {
	tab := table{head: []string{"FLAVOR", "ID", "REASON"}}
	for _, f := range flavors {
		tab.row(f.Name, f.ID, f.Reason)
	}
	return tab
}

// counts writes {"ready": 2} as "2 ready".
func counts(m map[string]int) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[key], key))
	}
	return strings.Join(out, ", ")
}

func (t *tool) peerCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list peers", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			peers, err := t.client().Peers(c.Context())
			if err != nil {
				return err
			}
			return t.print(peers, func() table { return peerTable(peers) })
		}}
	return group("peer", "the hosts of the mesh", append([]*cobra.Command{list}, t.peerChanges()...)...)
}

func peerTable(peers []api.Peer) table {
	tab := table{head: []string{"NAME", "ADDRESS", "ROLE", "STATE", "ZONE", "NODES", "VCPUS", "MEMORY", "DISK", "DRIVERS", "PHYSNETS"}}
	for _, p := range peers {
		tab.row(p.Name, p.Address, p.Role, p.State, p.Zone, strconv.Itoa(p.Nodes),
			fmt.Sprintf("%d/%d", p.Used.VCPUs, p.Capacity.VCPUs),
			fmt.Sprintf("%d/%d MiB", p.Used.MemoryMB, p.Capacity.MemoryMB),
			fmt.Sprintf("%d/%d GiB", p.Used.DiskGB, p.Capacity.DiskGB),
			strings.Join(p.Drivers, ","), strings.Join(p.Physnets, ","))
	}
	return tab
}

func (t *tool) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "the mesh at a glance", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := t.client().Status(c.Context())
			if err != nil {
				return err
			}
			return t.print(s, func() table {
				tab := table{}
				tab.row("mesh", s.Mesh+" "+s.MeshID)
				tab.row("leader", s.Leader)
				tab.row("peers", strconv.Itoa(s.Peers))
				tab.row("clusters", strconv.Itoa(s.Clusters))
				tab.row("nodes", strings.TrimSpace(fmt.Sprintf("%d %s", s.Nodes.Total, counts(s.Nodes.ByPhase))))
				tab.row("healthy", strconv.FormatBool(s.Healthy))
				for _, p := range s.Problems {
					tab.row("problem", p)
				}
				return tab
			})
		}}
}

func (t *tool) doctorCommand() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "what is wrong, and what to do", Args: noArgs,
		Long: "Doctor looks at this host and, if it runs, at the agent. It exits 1 if something is wrong.",
		RunE: func(c *cobra.Command, _ []string) error {
			checks := hostcheck.Run(c.Context(), t.wantsOVS(false))
			if _, ok := t.agentConfig().Drivers["libvirt"]; !ok {
				checks = hostcheck.WithoutGuests(checks)
			}
			running, err := t.client().Doctor(c.Context())
			if err != nil {
				running = []api.Check{{Name: "agent", State: "error", Detail: err.Error(), Fix: "tenks up, tenks init or tenks agent"}}
			}
			checks = append(checks, running...)
			return t.printChecks(checks)
		}}
}

// printChecks shows checks, and fails if one of them is an error.
func (t *tool) printChecks(checks []api.Check) error {
	if err := t.print(checks, func() table {
		tab := table{head: []string{"CHECK", "STATE", "DETAIL", "FIX"}}
		for _, c := range checks {
			tab.row(c.Name, c.State, c.Detail, c.Fix)
		}
		return tab
	}); err != nil {
		return err
	}
	wrong := 0
	for _, c := range checks {
		if c.State == "error" {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d checks found something wrong", wrong, len(checks))
	}
	return nil
}

func (t *tool) eventsCommand() *cobra.Command {
	var after uint64
	var follow bool
	c := &cobra.Command{Use: "events", Short: "what happened, oldest first", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			mode := client.Once
			if follow {
				mode = client.Following
			}
			all := []api.Event{}
			err := t.client().Events(c.Context(), after, mode, func(e api.Event) {
				if follow || t.output == "table" {
					t.printEvent(e)
					return
				}
				all = append(all, e)
			})
			if err != nil || follow || t.output == "table" {
				return err
			}
			return t.print(all, func() table { return table{} })
		}}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	c.Flags().Uint64Var(&after, "after", 0, "only events after this log index")
	return c
}

// printEvent writes one event as a line: a table cannot be laid out before its end
// is known.
func (t *tool) printEvent(e api.Event) {
	if t.output == "table" {
		name := e.Node
		if name == "" {
			name = e.Cluster
		}
		fmt.Fprintf(t.out, "%s %6d %-18s %-12s %s\n", e.Time, e.Index, e.Type, name, e.Message)
		return
	}
	_ = t.print(e, nil) // standard output that is gone ends the command by itself
}

func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "version of this program, and of the agent", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := struct {
				Version string `json:"version"`
				Agent   string `json:"agent,omitempty"`
			}{Version: version}
			v.Agent, _ = t.client().Version(c.Context()) // no agent: no version
			return t.print(v, func() table {
				tab := table{}
				tab.row("tenks", v.Version)
				if v.Agent != "" {
					tab.row("agent", v.Agent)
				}
				return tab
			})
		}}
}

func (t *tool) schemaCommand() *cobra.Command {
	return &cobra.Command{Use: "schema", Short: "print the JSON Schema of cluster files", Args: noArgs,
		Example: "  tenks schema > tenks.schema.json",
		RunE: func(*cobra.Command, []string) error {
			_, err := t.out.Write(config.Schema())
			return err
		}}
}
