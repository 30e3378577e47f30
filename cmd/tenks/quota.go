package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
	"tenks/config"
)

func (t *tool) clusterQuota() *cobra.Command {
	var nodes, vcpus int
	var memory, disk string
	var r api.QuotaRequest
	c := &cobra.Command{Use: "set-quota CLUSTER", Short: "limit what a cluster may declare", Args: args(1, 1, "one cluster"),
		Long: `Set-quota limits the nodes of a cluster, and their vCPUs, memory and disks in all. What
is not given stays as it is, and 0 takes one limit away. The cluster need not exist yet.
Where it has more already, that stays, and only grows no more.`,
		Example: "  tenks cluster set-quota demo --nodes 20 --memory 256GiB\n  tenks cluster set-quota demo --clear",
		RunE: func(c *cobra.Command, a []string) error {
			fl := c.Flags()
			if r.Clear && fl.NFlag() > 1 {
				return usagef("--clear takes all limits away: give it alone")
			}
			if fl.Changed("nodes") {
				r.Nodes = &nodes
			}
			if fl.Changed("vcpus") {
				r.VCPUs = &vcpus
			}
			var err error
			if r.MemoryMB, err = sizeFlag(fl.Changed("memory"), "memory", memory, 1<<20); err != nil {
				return err
			}
			if r.DiskGB, err = sizeFlag(fl.Changed("disk"), "disk", disk, 1<<30); err != nil {
				return err
			}
			q, err := t.client().SetQuota(c.Context(), a[0], r)
			if err != nil {
				return err
			}
			return t.print(q, func() table { return quotaTable(q) })
		}}
	fl := c.Flags()
	fl.IntVar(&nodes, "nodes", 0, "how many nodes")
	fl.IntVar(&vcpus, "vcpus", 0, "how many vCPUs its nodes have in all")
	fl.StringVar(&memory, "memory", "", "how much memory they have in all, such as 64GiB")
	fl.StringVar(&disk, "disk", "", "how much disk they have in all, such as 2TiB")
	fl.BoolVar(&r.Clear, "clear", false, "no limit at all")
	return c
}

// sizeFlag reads a size in units of so many bytes; nil: it was not given.
func sizeFlag(given bool, flag, text string, unit uint64) (*uint64, error) {
	if !given {
		return nil, nil //nolint:nilnil // nothing is a fine answer
	}
	size, err := config.ParseSize(text)
	if err != nil {
		return nil, usagef("--%s: %v", flag, err)
	}
	n := uint64(size) / unit
	if n == 0 && size > 0 {
		return nil, usagef("--%s %s: is less than %d MiB", flag, text, unit>>20)
	}
	return &n, nil
}

func quotaTable(q api.Quota) table {
	tab := table{head: []string{"", "USED", "LIMIT"}}
	for _, l := range quotaLines(q) {
		limit := "none"
		if l.limit > 0 {
			limit = fmt.Sprint(l.limit, l.unit)
		}
		tab.row(l.what, fmt.Sprint(l.used, l.unit), limit)
	}
	return tab
}

type quotaLine struct {
	what, unit  string
	used, limit uint64
}

func quotaLines(q api.Quota) []quotaLine {
	return []quotaLine{{"nodes", "", uint64(max(q.UsedNodes, 0)), uint64(max(q.Nodes, 0))}, {"vcpus", "", uint64(max(q.UsedVCPUs, 0)), uint64(max(q.VCPUs, 0))},
		{"memory", " MiB", q.UsedMemoryMB, q.MemoryMB}, {"disk", " GiB", q.UsedDiskGB, q.DiskGB}}
}

// quotaText is a quota in a line: what is limited, used of limit.
func quotaText(q *api.Quota) string {
	if q == nil {
		return ""
	}
	var out []string
	for _, l := range quotaLines(*q) {
		if l.limit > 0 {
			out = append(out, fmt.Sprintf("%s %d/%d%s", l.what, l.used, l.limit, l.unit))
		}
	}
	return strings.Join(out, ", ")
}
