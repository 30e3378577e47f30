package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tenks/bmc/fault"
	"tenks/cmd/internal/api"
)

func (t *tool) faultCommand() *cobra.Command {
	return group("fault", "have BMCs fail on purpose, to test what talks to them", t.faultAdd(), t.faultList(), t.faultClear())
}

func (t *tool) faultAdd() *cobra.Command {
	var r api.FaultRequest
	var share float64
	var seed uint64
	var code string
	c := &cobra.Command{Use: "add KIND", Short: "declare a fault: " + strings.Join(fault.Kinds, ", "),
		Long: `Add has the BMCs of nodes fail until a time is over, or the fault is cleared:

  drop             requests are not answered
  delay            answers come later (--delay)
  busy             node busy (IPMI), or 503 (Redfish)
  bad-credentials  logins fail as with a wrong password
  error            an unspecified error (IPMI), 500 (Redfish), or --code
  stuck-power      a power request succeeds, and nothing happens
  slow-power       a power change takes long (--delay)
  bmc-reset        the BMC is silent from now on, for a minute or --for, and forgets sessions

Which requests are hit follows from --seed, so that a test can be repeated.`,
		Example: `  tenks fault add drop --node tk0 --share 0.3 --seed 7
  tenks fault add error --cluster demo --protocol ipmi --call power --code 0xd5 --for 1m
  tenks fault add bmc-reset --hypervisor hv1 --for 90s`,
		Args: args(1, 1, "a kind"), ValidArgs: fault.Kinds,
		RunE: func(c *cobra.Command, a []string) error {
			r.Kind = a[0]
			if c.Flags().Changed("share") {
				r.Share = &share
			}
			if c.Flags().Changed("seed") {
				r.Seed = &seed
			}
			if code != "" {
				n, err := strconv.ParseUint(code, 0, 16)
				if err != nil {
					return usagef("--code %q: not a number such as 0xd5 or 502", code)
				}
				r.Code = int(n)
			}
			if !slices.Contains(fault.Kinds, r.Kind) {
				return usagef("kind %q: not one of %s", r.Kind, strings.Join(fault.Kinds, ", "))
			}
			if len(r.Nodes)+len(r.Clusters)+len(r.Hypervisors) == 0 {
				return usagef("say whose BMCs: --node, --cluster or --hypervisor")
			}
			f, err := t.client().AddFault(c.Context(), r)
			if err != nil {
				return err
			}
			return t.print(f, func() table { return faultTable([]api.Fault{f}) })
		}}
	flags := c.Flags()
	flags.StringSliceVar(&r.Nodes, "node", nil, "of these nodes' BMCs")
	flags.StringSliceVar(&r.Clusters, "cluster", nil, "of the BMCs of these clusters' nodes")
	flags.StringSliceVar(&r.Hypervisors, "hypervisor", nil, "of the BMCs on these hosts")
	flags.StringVar(&r.Protocol, "protocol", "", "ipmi or redfish (default both)")
	flags.StringVar(&r.Call, "call", "", `only requests of this name, such as "chassis control"; power or login for those of both protocols`)
	flags.Float64Var(&share, "share", 1, "how much of the requests is hit")
	flags.Uint64Var(&seed, "seed", 0, "decides which (default random)")
	flags.StringVar(&r.For, "for", "", "how long it lasts, at most 24h (default 10m; bmc-reset 1m)")
	flags.StringVar(&r.Delay, "delay", "", "how late it is (default 5s; slow-power 2m)")
	flags.StringVar(&code, "code", "", "what error answers: a completion code or an HTTP status")
	return c
}

func (t *tool) faultList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "list faults, and how many requests they hit", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			faults, err := t.client().Faults(c.Context())
			if err != nil {
				return err
			}
			return t.print(faults, func() table { return faultTable(faults) })
		}}
}

func (t *tool) faultClear() *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "clear ID...", Short: "end faults", Args: args(0, 1000, "IDs, or --all"),
		RunE: func(c *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return usagef("%s takes IDs, or --all; see %s --help", c.CommandPath(), c.CommandPath())
			}
			if all {
				return t.client().ClearFaults(c.Context())
			}
			for _, id := range ids {
				if err := t.client().ClearFault(c.Context(), id); err != nil {
					return err
				}
			}
			return nil
		}}
	c.Flags().BoolVar(&all, "all", false, "all that there are")
	return c
}

func faultTable(faults []api.Fault) table {
	tab := table{head: []string{"ID", "KIND", "OF", "REQUESTS", "SHARE", "SEED", "DELAY", "ENDS", "HIT"}}
	for _, f := range faults {
		var of []string
		for _, names := range []struct {
			noun string
			list []string
		}{{"node ", f.Nodes}, {"cluster ", f.Clusters}, {"hypervisor ", f.Hypervisors}} {
			for _, name := range names.list {
				of = append(of, names.noun+name)
			}
		}
		var asked, hit uint64
		for _, h := range f.Hits {
			asked, hit = asked+h.Asked, hit+h.Hit
		}
		tab.row(f.ID, f.Kind, strings.Join(of, ", "), strings.TrimSpace(f.Protocol+" "+f.Call), strconv.FormatFloat(f.Share, 'g', -1, 64),
			strconv.FormatUint(f.Seed, 10), f.Delay, f.Ends, fmt.Sprintf("%d of %d", hit, asked))
	}
	return tab
}

func (t *tool) nodeAudit() *cobra.Command {
	return &cobra.Command{Use: "audit NODE on|off", Short: "note every request to a node's BMC in audit.log on its host, or do not",
		Args: args(2, 2, "a node and on or off"), ValidArgsFunction: t.nodeNames,
		RunE: func(c *cobra.Command, a []string) error {
			if !slices.Contains([]string{"on", "off"}, a[1]) {
				return usagef("audit %q: not on or off", a[1])
			}
			return t.client().Audit(c.Context(), a[0], api.AuditRequest{On: a[1] == "on"})
		}}
}
