package declare

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"tenks/raftfsm/state"
)

// atPowerOn marks a change that a running node gets at its next power-on.
const atPowerOn = " (a running node: at its next power-on)"

// differences says in words what a change does to a node; nothing means that the
// node is as declared.
func differences(n *state.Node, c *state.NodeChange) []string {
	var out []string
	add := func(differ bool, format string, args ...any) {
		if differ {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	o, w := n.Machine, c.Machine
	add(o.MemoryMB != w.MemoryMB, "memory %d MiB → %d MiB%s", o.MemoryMB, w.MemoryMB, atPowerOn)
	add(o.VCPUs != w.VCPUs, "vCPUs %d → %d%s", o.VCPUs, w.VCPUs, atPowerOn)
	add(o.BootMode != w.BootMode, "boot mode %s → %s%s", o.BootMode, w.BootMode, atPowerOn)
	add(o.SecureBoot != w.SecureBoot, "secure_boot %v → %v (unless a client of the BMC has set it)%s", o.SecureBoot, w.SecureBoot, atPowerOn)
	add(o.TPM != w.TPM, "TPM %s → %s%s", cmp.Or(o.TPM, "none"), cmp.Or(w.TPM, "none"), atPowerOn)
	add(!slices.Equal(o.Volumes, w.Volumes), "volumes %s → %s%s", volumes(o), volumes(w), atPowerOn)
	add(!slices.Equal(n.Ports, c.Ports), "physical networks %v → %v%s", o.Physnets, w.Physnets, atPowerOn)
	add(o.IronicDriver != w.IronicDriver, "Ironic driver %s → %s (now)", o.IronicDriver, w.IronicDriver)
	add(!reflect.DeepEqual(n.Enrol, c.Enrol), "Ironic configuration (now)")
	add(n.DeployKernel != c.DeployKernel || n.DeployRamdisk != c.DeployRamdisk, "deploy kernel or ramdisk (now)")
	add(n.Constraints.Spread != c.Constraints.Spread || !maps.Equal(n.Constraints.Require, c.Constraints.Require),
		"placement constraints (for nodes placed from now on)")
	add(n.OnHostLoss != c.OnHostLoss, "on_host_loss %s → %s (now)", n.OnHostLoss, c.OnHostLoss)
	add(n.OnHostLoss == c.OnHostLoss && n.StopAfterMilli != c.StopAfterMilli, "stop_after %s → %s (now)", milli(n.StopAfterMilli), milli(c.StopAfterMilli))
	add(n.BMC != c.BMC, "BMC account (now)")
	was, is := plug(n.Outlet), plug(c.Outlet)
	add(was != is, "outlet %s → %s (now)", was, is)
	add(was == is && !reflect.DeepEqual(n.Outlet, c.Outlet), "account of its PDU (now)")
	add(n.BMCAddress != c.BMCAddress, "BMC address %s → %s (now)", addressOr(n.BMCAddress), addressOr(c.BMCAddress))
	add(n.BMCAddress == c.BMCAddress && !n.BMCPool.Equal(c.BMCPool), "BMC addresses (for nodes placed from now on)")
	return out
}

func addressOr(address string) string { return cmp.Or(address, "a port of its host") }

func milli(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// needsRestart reports whether a change has a part that a running node gets only at
// its next power-on.
func needsRestart(n *state.Node, c *state.NodeChange) bool {
	o, w := n.Machine, c.Machine
	return o.MemoryMB != w.MemoryMB || o.VCPUs != w.VCPUs || o.BootMode != w.BootMode ||
		o.SecureBoot != w.SecureBoot || o.TPM != w.TPM ||
		!slices.Equal(o.Volumes, w.Volumes) || !slices.Equal(n.Ports, c.Ports)
}

// sameCluster reports whether two declarations are equal but for their indexes and
// the text they were read from.
func sameCluster(a, b *state.Cluster) bool {
	x, y := *a, *b
	x.CreateIndex, x.ModifyIndex, y.CreateIndex, y.ModifyIndex = 0, 0, 0, 0
	x.Source, y.Source = "", ""
	return reflect.DeepEqual(x, y)
}

// describe says what a new node consists of.
func describe(m state.Machine, o *state.Outlet) string {
	out := fmt.Sprintf("%d MiB, %d vCPUs, volumes %s, physical networks %v", m.MemoryMB, m.VCPUs, volumes(m), m.Physnets)
	if o != nil {
		out += ", outlet " + plug(o)
	}
	return out
}

func volumes(m state.Machine) string {
	var out []string
	for _, v := range m.Volumes {
		text := fmt.Sprintf("%.4g GiB", float64(v.CapacityBytes)/(1<<30))
		if v.Image != "" {
			text += " of " + v.Image
		}
		out = append(out, text)
	}
	return "[" + strings.Join(out, ", ") + "]"
}
