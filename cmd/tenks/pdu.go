package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
)

func (t *tool) pduCommand() *cobra.Command {
	return group("pdu", "show PDUs, switch their outlets", t.pduList(), t.pduShow(),
		t.pduTurn("on", "give nodes power: those without a BMC start, others by their restore policy"),
		t.pduTurn("off", "cut nodes' power"), t.pduTurn("reboot", "cut nodes' power, and give it back"))
}

func (t *tool) pduList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "list the PDUs of the clusters", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pdus, err := t.client().PDUs(c.Context())
			if err != nil {
				return err
			}
			return t.print(pdus, func() table {
				tab := table{head: []string{"PDU", "CLUSTER", "OUTLETS", "ON", "COMMUNITY", "USER"}}
				for _, p := range pdus {
					on := 0
					for _, o := range p.Outlets {
						if o.State == "on" {
							on++
						}
					}
					community := "no"
					if p.Community {
						community = "yes"
					}
					tab.row(p.Name, p.Cluster, strconv.Itoa(len(p.Outlets)), strconv.Itoa(on), community, p.User)
				}
				return tab
			})
		}}
}

func (t *tool) pduShow() *cobra.Command {
	return &cobra.Command{Use: "show PDU", Short: "show the outlets of a PDU", Args: args(1, 1, "one PDU"),
		ValidArgsFunction: t.pduNames,
		RunE: func(c *cobra.Command, a []string) error {
			pdus, err := t.client().PDUs(c.Context())
			if err != nil {
				return err
			}
			for _, p := range pdus {
				if p.Name == a[0] {
					return t.print(p, func() table { return outletTable(p) })
				}
			}
			return fmt.Errorf("pdu %q: not found; see tenks pdu list", a[0])
		}}
}

func outletTable(p api.PDU) table {
	tab := table{head: []string{"OUTLET", "STATE", "NODE", "HYPERVISOR", "ADDRESS"}}
	for _, o := range p.Outlets {
		address := ""
		if o.Port != 0 {
			address = fmt.Sprintf("snmp://%s:%d", o.Address, o.Port)
		}
		tab.row(strconv.Itoa(o.Number), o.State, o.Node, o.Hypervisor, address)
	}
	return tab
}

// pduNames completes the names of PDUs.
func (t *tool) pduNames(c *cobra.Command, done []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(done) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	pdus, err := t.client().PDUs(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, p := range pdus {
		names = append(names, p.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) pduTurn(word, short string) *cobra.Command {
	return &cobra.Command{Use: word + " NODE...", Short: short, Args: args(1, 1000, "one node or more"),
		ValidArgsFunction: t.nodeNames,
		RunE: func(c *cobra.Command, a []string) error {
			return t.turnOutlets(c.Context(), word, a)
		}}
}

func (t *tool) turnOutlets(ctx context.Context, word string, nodes []string) error {
	return t.eachChassis(nodes, func(name string) (api.Chassis, error) { return t.client().Outlet(ctx, name, word) })
}
