package sched

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

func pooled(ranges ...string) func(*state.Node) {
	return func(n *state.Node) {
		for _, r := range ranges {
			first, last, _ := strings.Cut(r, "-")
			n.BMCPool = append(n.BMCPool, state.AddressRange{First: first, Last: last})
		}
	}
}

func at(address string) func(*state.Node) {
	return func(n *state.Node) { n.BMCAddress = address }
}

func networks(of ...string) func(*state.Hypervisor) {
	return func(h *state.Hypervisor) { h.Networks = of }
}

// addressesOf is a result as text: name=host/address …, and why others were refused.
func addressesOf(r Result) string {
	var parts []string
	for _, p := range r.Placements {
		parts = append(parts, fmt.Sprintf("%s=%s/%s", strings.TrimPrefix(p.UUID, "u-"), p.Hypervisor, p.BMCAddress))
	}
	for _, p := range r.Refusals {
		_, why, _ := strings.Cut(p.Reason, ": ")
		parts = append(parts, why)
	}
	return strings.Join(parts, "; ")
}

func TestWhichAddressABMCGets(t *testing.T) {
	lab := networks("192.0.2.11/24", "2001:db8::11/64")
	four := pooled("192.0.2.10-192.0.2.13")
	tests := map[string]struct {
		hosts []*state.Hypervisor
		nodes []*state.Node
		want  string
	}{
		"the lowest free one, which is no host's": {
			[]*state.Hypervisor{hypervisor("h1", lab)}, []*state.Node{node("a", four), node("b", four), node("c", four)},
			"a=h1/192.0.2.10; b=h1/192.0.2.12; c=h1/192.0.2.13"},
		"none where the pool is used up": {
			[]*state.Hypervisor{hypervisor("h1", lab)}, []*state.Node{node("a", four), node("b", four), node("c", four), node("d", four)},
			"a=h1/192.0.2.10; b=h1/192.0.2.12; c=h1/192.0.2.13; host-h1: bmc: no address of 192.0.2.10-192.0.2.13 is free: 3 of 4 are nodes', 1 are hosts' or the network's"},
		"none that another cluster's node has": {
			[]*state.Hypervisor{hypervisor("h1", lab)}, []*state.Node{node("a", on("h1", 0), at("192.0.2.12")), node("b", on("h9", 0), at("192.0.2.10")), node("c", four)},
			"c=h1/192.0.2.13"},
		"the one that it has": {
			[]*state.Hypervisor{hypervisor("h1", lab)}, []*state.Node{node("a", four, at("192.0.2.13")), node("b", four)},
			"a=h1/192.0.2.13; b=h1/192.0.2.10"},
		"only in the network of the one that it has": {
			[]*state.Hypervisor{hypervisor("h1"), hypervisor("h2", networks("198.51.100.1/24")), hypervisor("h3", lab)}, []*state.Node{node("a", four, at("192.0.2.13"))},
			"a=h3/192.0.2.13"},
		"no host in its network": {
			[]*state.Hypervisor{hypervisor("h1"), hypervisor("h2", networks("198.51.100.1/24"))}, []*state.Node{node("a", four, at("192.0.2.13"))},
			"host-h1: bmc: no link in the BMC network of 192.0.2.13; host-h2: bmc: no link in the BMC network of 192.0.2.13"},
		"no host in the pool's network": {
			[]*state.Hypervisor{hypervisor("h1")}, []*state.Node{node("a", four)},
			"host-h1: bmc: no link in the BMC network of 192.0.2.10-192.0.2.13"},
		"in the network of each host": {
			[]*state.Hypervisor{hypervisor("h1", networks("192.0.2.0/28")), hypervisor("h2", networks("198.51.100.0/24"))},
			[]*state.Node{node("a", pooled("192.0.2.1-192.0.2.9", "198.51.100.1-198.51.100.9")), node("b", pooled("192.0.2.1-192.0.2.9", "198.51.100.1-198.51.100.9"))},
			"a=h1/192.0.2.2; b=h2/198.51.100.1"},
		"not that of the network, nor of its broadcasts": {
			[]*state.Hypervisor{hypervisor("h1", networks("192.0.2.8/30", "2001:db8::/126"))},
			[]*state.Node{node("a", pooled("192.0.2.0-192.0.2.20")), node("b", pooled("192.0.2.0-192.0.2.20")), node("c", pooled("192.0.2.0-192.0.2.20")), node("d", pooled("2001:db8::-2001:db8::9"))},
			"a=h1/192.0.2.9; b=h1/192.0.2.10; d=h1/2001:db8::1; host-h1: bmc: no address of 192.0.2.0-192.0.2.20 is free: 2 of 4 are nodes', 2 are hosts' or the network's"},
		"without a port for IPMI or Redfish": {
			[]*state.Hypervisor{hypervisor("h1", lab, func(h *state.Hypervisor) { h.BMC, h.Redfish = state.PortRange{}, 0 })}, []*state.Node{node("a", four), node("b", four, redfish)},
			"a=h1/192.0.2.10; b=h1/192.0.2.12"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := addressesOf(Place(load(t, tt.hosts, tt.nodes), nil)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestANodeMovesWithItsAddress(t *testing.T) {
	four, lab := pooled("192.0.2.10-192.0.2.13"), networks("192.0.2.11/24")
	nodes := []*state.Node{node("a", four, at("192.0.2.13"), on("h1", 0)), node("b", four, on("h1", 6231))}
	snap := load(t, []*state.Hypervisor{hypervisor("h1", lab), hypervisor("h2"), hypervisor("h3", networks("192.0.2.12/24"))}, nodes)
	r := Move(snap, snap.Nodes())
	// What got a port before there was a pool keeps one.
	if got, want := addressesOf(r), "a=h3/192.0.2.13; b=h2/"; got != want || r.Placements[1].BMC.Port != 6231 {
		t.Errorf("got %s, %+v, want %s", got, r.Placements, want)
	}
}

// TestALargePoolIsQuick places 4,000 nodes of one pool, of which the last do not fit, on 500
// hosts that are each in a network of its own, too.
func TestALargePoolIsQuick(t *testing.T) {
	var hosts []*state.Hypervisor
	var nodes []*state.Node
	for i := range 500 {
		hosts = append(hosts, hypervisor(fmt.Sprintf("h%03d", i), networks(fmt.Sprintf("172.16.%d.1/24", i%256), "10.0.0.0/8"),
			func(h *state.Hypervisor) {
				h.Capacity = state.Resources{VCPUs: 100, MemoryMB: 1 << 20, DiskGB: 1 << 20}
			}))
	}
	for i := range 4000 {
		nodes = append(nodes, node(fmt.Sprintf("tk%d", i), pooled("10.0.0.1-10.0.15.100")))
	}
	snap := load(t, hosts, nodes)
	start := time.Now()
	r := Place(snap, nil)
	if took := time.Since(start); len(r.Placements) != 15*256+100 || took > 3*time.Second {
		t.Errorf("%d placed in %s", len(r.Placements), took)
	}
}
