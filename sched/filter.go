package sched

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"tenks/raftfsm/state"
)

// filters are asked in this order; the first that refuses is named.
var filters = []struct {
	name   string
	refuse func(h *host, n *state.Node) string
}{
	{"driver", byDriver},
	{"physnets", byPhysnets},
	{"vcpus", byVCPUs},
	{"memory", byMemory},
	{"disk", byDisk},
	{"labels", byLabels},
	{"bmc", byBMCPorts},
}

// refuse returns which filter refuses the host for a node, and why; empty: none.
func refuse(h *host, n *state.Node) string {
	for _, f := range filters {
		if why := f.refuse(h, n); why != "" {
			return f.name + ": " + why
		}
	}
	return ""
}

func byDriver(h *host, n *state.Node) string {
	if slices.Contains(h.Drivers, n.Machine.Driver) {
		return ""
	}
	return fmt.Sprintf("has no driver %s, only %v", n.Machine.Driver, h.Drivers)
}

func byPhysnets(h *host, n *state.Node) string {
	for _, p := range n.Machine.Physnets {
		if !slices.Contains(h.Physnets, p) {
			return fmt.Sprintf("has no %s, only %v", p, h.Physnets)
		}
	}
	return ""
}

func byVCPUs(h *host, n *state.Node) string {
	limit := scaled(uint64(max(h.Capacity.VCPUs, 0)), h.Overcommit.VCPUs)
	return fits(uint64(max(n.Machine.VCPUs, 0)), uint64(max(h.used.VCPUs, 0)), limit, "")
}

func byMemory(h *host, n *state.Node) string {
	return fits(n.Machine.MemoryMB, h.used.MemoryMB, scaled(h.Capacity.MemoryMB, h.Overcommit.Memory), " MiB")
}

func byDisk(h *host, n *state.Node) string {
	const gib = 1 << 30
	limit := scaled(h.Capacity.DiskGB, h.Overcommit.Disk)
	need := n.Machine.DiskBytes()/gib + min(n.Machine.DiskBytes()%gib, 1)
	return fits(need, h.diskBytes/gib+min(h.diskBytes%gib, 1), limit, " GiB")
}

// fits says why need does not fit beside used within limit.
func fits(need, used, limit uint64, unit string) string {
	free := uint64(0)
	if limit > used {
		free = limit - used
	}
	if need <= free {
		return ""
	}
	return fmt.Sprintf("needs %d%s, %d of %d%s free", need, unit, free, limit, unit)
}

func byLabels(h *host, n *state.Node) string {
	for _, key := range slices.Sorted(maps.Keys(n.Constraints.Require)) {
		want := n.Constraints.Require[key]
		got, ok := h.Labels[key]
		switch {
		case !ok:
			return fmt.Sprintf("has no label %s, %s is required", key, want)
		case got != want:
			return fmt.Sprintf("label %s is %s, %s is required", key, got, want)
		}
	}
	return ""
}

func byBMCPorts(h *host, _ *state.Node) string {
	if _, ok := h.freePort(); ok {
		return ""
	}
	return fmt.Sprintf("no port left in %d-%d", h.BMC.First, h.BMC.Last)
}

// scaled multiplies a capacity by an overcommit factor; 0 means 1.
func scaled(n uint64, factor float64) uint64 {
	if factor == 0 {
		return n
	}
	v := float64(n) * factor
	if v >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(v)
}
