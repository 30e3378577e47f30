package sched

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// filters are asked in this order; the first that refuses is named.
var filters = []struct {
	name   string
	refuse func(h *host, c *class) string
}{
	{"peer", byPeer},
	{"origin", byOrigin},
	{"driver", byDriver},
	{"architecture", byArch},
	{"physnets", byPhysnets},
	{"vcpus", byVCPUs},
	{"memory", byMemory},
	{"disk", byDisk},
	{"path", byPath},
	{"bmc", byBMCPorts},
	{"labels", byLabels},
}

// refusal is which filter refused a class of nodes a host, and why. The zero value: none
// did.
type refusal struct{ filter, why string }

func refuse(h *host, c *class) refusal {
	for _, f := range filters {
		if why := f.refuse(h, c); why != "" {
			return refusal{f.name, why}
		}
	}
	return refusal{}
}

func byPeer(h *host, _ *class) string { return h.peer.Refuses() }

func byOrigin(h *host, c *class) string {
	if c.pinned == "" || c.pinned == h.ID {
		return ""
	}
	return fmt.Sprintf("is not %s, which alone may have it", cmp.Or(c.pinnedName, c.pinned))
}

func byDriver(h *host, c *class) string { return among(c.driver, h.Drivers) }

func byPhysnets(h *host, c *class) string {
	for _, p := range c.physnets {
		if why := among(p, h.Physnets); why != "" {
			return why
		}
	}
	return ""
}

// byArch: a hypervisor that says nothing runs what all did before there were others.
func byArch(h *host, c *class) string {
	if len(h.Archs) == 0 {
		return among(c.arch, []string{state.ArchX86})
	}
	return among(c.arch, h.Archs)
}

// among says that want is not in has.
func among(want string, has []string) string {
	switch {
	case slices.Contains(has, want):
		return ""
	case len(has) == 0:
		return fmt.Sprintf("has no %s, has none at all", want)
	}
	return fmt.Sprintf("has no %s, only %s", want, strings.Join(has, ", "))
}

func byVCPUs(h *host, c *class) string {
	return fits(c.vcpus, h.vcpus, scaled(uint64(max(h.Capacity.VCPUs, 0)), h.Overcommit.VCPUs), "")
}

func byMemory(h *host, c *class) string {
	return fits(c.memoryMB, h.memoryMB, h.memoryLimit(), " MiB")
}

// byDisk counts bytes and speaks of GiB, as hypervisors do.
func byDisk(h *host, c *class) string {
	limit := times(scaled(h.Capacity.DiskGB, h.Overcommit.Disk), 1<<30)
	need, free := c.diskBytes, limit-min(limit, h.diskBytes)
	if need <= free {
		return ""
	}
	return tooMuch(need>>30+min(need&(1<<30-1), 1), free>>30, limit>>30, " GiB")
}

// byPath: a file or device of the hypervisor's is the disk of one node at most.
func byPath(h *host, c *class) string {
	for _, path := range c.paths {
		if other, taken := h.paths[path]; taken {
			return fmt.Sprintf("%s is a disk of node %s", path, other)
		}
	}
	return ""
}

// fits says why need does not fit beside used within limit.
func fits(need, used, limit uint64, unit string) string {
	free := limit - min(limit, used)
	if need <= free {
		return ""
	}
	return tooMuch(need, free, limit, unit)
}

func tooMuch(need, free, limit uint64, unit string) string {
	return fmt.Sprintf("needs %d%s, %d of %d%s free", need, unit, free, limit, unit)
}

func byLabels(h *host, c *class) string {
	for _, want := range c.labels {
		got, ok := h.Labels[want.key]
		switch {
		case !ok:
			return fmt.Sprintf("has no label %s, %s is required", want.key, want.value)
		case got != want.value:
			return fmt.Sprintf("label %s is %s, %s is required", want.key, got, want.value)
		}
	}
	return ""
}

func byBMCPorts(h *host, c *class) string {
	switch {
	case c.pooled():
		return byAddress(h, c)
	case c.shared == state.ProtocolRedfish && h.Redfish == 0:
		return "has no Redfish service"
	case c.shared == state.ProtocolSNMP && h.SNMP == 0:
		return "has no SNMP port for PDUs"
	case c.shared != "":
		return ""
	}
	if _, ok := h.freePort(); ok {
		return ""
	}
	if h.BMC.First < 1 {
		return "has no ports for BMCs"
	}
	why := fmt.Sprintf("all ports are taken: %d of %d-%d", h.BMC.Last-h.BMC.First+1, h.BMC.First, h.BMC.Last)
	if n := h.reserved(); n > 0 {
		why += fmt.Sprintf(", %d of them reserved", n)
	}
	return why
}

// scaled multiplies a capacity by an overcommit factor; 0 means 1, and what is no
// factor at all leaves nothing.
func scaled(n uint64, factor float64) uint64 {
	if factor == 0 {
		return n
	}
	switch v := float64(n) * factor; {
	case v >= math.MaxUint64:
		return math.MaxUint64
	case v > 0:
		return uint64(v)
	}
	return 0
}

// plus adds and stays at the largest number where there is none larger: a node's
// declaration may say anything.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func times(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	if high > 0 {
		return math.MaxUint64
	}
	return low
}
