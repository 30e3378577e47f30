package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

// quarantineCommand is about nodes that this host has and the mesh has elsewhere.
func (t *tool) quarantineCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list nodes whose disks this host keeps although they were made anew elsewhere", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			nodes, err := t.client().Quarantine(c.Context())
			if err != nil {
				return err
			}
			return t.print(nodes, func() table {
				tab := table{head: []string{"NAME", "UUID", "DRIVER", "EPOCH", "POWER", "NOW ON"}}
				for _, n := range nodes {
					tab.row(n.Name, n.UUID, n.Driver, strconv.FormatUint(n.Epoch, 10), n.Power, n.Hypervisor)
				}
				return tab
			})
		}}
	drop := &cobra.Command{Use: "delete NODE", Short: "delete such a node's disks on this host, for ever", Args: args(1, 1, "a node"),
		RunE: func(c *cobra.Command, names []string) error {
			if err := t.client().DeleteQuarantined(c.Context(), names[0]); err != nil {
				return err
			}
			fmt.Fprintf(t.err, "what this host had of %s is deleted\n", names[0])
			return nil
		}}
	return group("quarantine", "nodes that this host has and the mesh has elsewhere", list, drop)
}
