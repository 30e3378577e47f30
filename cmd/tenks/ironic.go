package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
)

func (t *tool) nodeRecover() *cobra.Command {
	return &cobra.Command{Use: "recover NODE...", Short: "take nodes out of clean failed and the like in Ironic, once more",
		Args: args(1, 1000, "one node or more"), ValidArgsFunction: t.nodeNames,
		RunE: func(c *cobra.Command, a []string) error {
			for _, name := range a {
				if err := t.client().Recover(c.Context(), name); err != nil {
					return err
				}
			}
			return nil
		}}
}

// ironicDetails adds what Ironic is told of a node, as declared.
func ironicDetails(tab *table, n api.Node) {
	tab.row("ironic", strings.TrimSpace(n.Ironic.ProvisionState+" "+n.Ironic.Error))
	if !n.Enrols {
		return
	}
	var interfaces []string
	for _, kind := range slices.Sorted(maps.Keys(n.Ironic.Interfaces)) {
		interfaces = append(interfaces, kind+" "+n.Ironic.Interfaces[kind])
	}
	record := n.Ironic.UUID
	if record == n.UUID {
		record = ""
	}
	target := n.Ironic.State
	if target == "available" {
		target = ""
	}
	for _, row := range [][2]string{{"record", record}, {"taken to", target}, {"resource class", n.Ironic.ResourceClass},
		{"traits", strings.Join(n.Ironic.Traits, " ")}, {"conductor group", n.Ironic.ConductorGroup}, {"shard", n.Ironic.Shard},
		{"owner", n.Ironic.Owner}, {"lessee", n.Ironic.Lessee}, {"interfaces", strings.Join(interfaces, ", ")},
		{"port groups", strings.Join(n.Ironic.PortGroups, ", ")}} {
		if row[1] != "" {
			tab.row(row[0], row[1])
		}
	}
}
