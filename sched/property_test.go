package sched

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenks/raftfsm/state"
)

// mesh is hypervisors and nodes drawn at random: some nodes placed (by Place
// itself, in an earlier round), some not, some only planned.
type mesh struct {
	hosts        []*state.Hypervisor
	nodes, extra []*state.Node
}

func drawMesh(t *rapid.T) mesh {
	factor := rapid.SampledFrom([]float64{0, 0.5, 1, 1.5, 4})
	zones, drivers := rapid.SampledFrom([]string{"", "a", "b"}), rapid.SampledFrom([]string{"fake", "libvirt"})
	var m mesh
	for i := range rapid.IntRange(0, 5).Draw(t, "hosts") {
		m.hosts = append(m.hosts, hypervisor(fmt.Sprintf("h%d", i), func(h *state.Hypervisor) {
			h.Zone, h.Drivers = zones.Draw(t, "zone"), []string{"fake", drivers.Draw(t, "driver")}
			h.Capacity = state.Resources{VCPUs: rapid.IntRange(0, 8).Draw(t, "vcpus"),
				MemoryMB: rapid.Uint64Range(0, 8192).Draw(t, "memory"), DiskGB: rapid.Uint64Range(0, 50).Draw(t, "disk")}
			h.Overcommit = state.Overcommit{VCPUs: factor.Draw(t, "v"), Memory: factor.Draw(t, "m"), Disk: factor.Draw(t, "d")}
			h.Networks = rapid.SampledFrom([][]string{nil, {"192.0.2.2/24"}, {"192.0.2.3/24", "198.51.100.0/30"}, {"192.0.2.0/29"}}).Draw(t, "networks")
			h.BMC.Last = h.BMC.First + rapid.IntRange(-1, 6).Draw(t, "ports")
		}))
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "nodes") {
		n := node(fmt.Sprintf("tk%d", i), func(n *state.Node) {
			n.Spec, n.CreateIndex = fmt.Sprint(i%3), rapid.Uint64Range(1, 3).Draw(t, "created")
			n.Constraints.Spread = []string{"", "zone", "hypervisor"}[i%3]
			n.BMCPool = rapid.SampledFrom([]state.AddressPool{nil, nil, {{First: "192.0.2.1", Last: "192.0.2.5"}},
				{{First: "198.51.100.0", Last: "198.51.100.9"}, {First: "192.0.2.4", Last: "192.0.2.9"}}}).Draw(t, "pool")
			if rapid.Bool().Draw(t, "alike") { // to the others of its spec
				n.Machine.Volumes = nil
				return
			}
			n.Machine.Driver, n.Machine.VCPUs = drivers.Draw(t, "driver"), rapid.IntRange(1, 4).Draw(t, "vcpus")
			n.Machine.MemoryMB = rapid.Uint64Range(1, 4096).Draw(t, "memory")
			n.Machine.Volumes[0].CapacityBytes = rapid.Uint64Range(0, 20<<30).Draw(t, "disk")
			n.Constraints.Spread = rapid.SampledFrom([]string{"", "zone", "hypervisor"}).Draw(t, "spread")
		})
		if rapid.IntRange(0, 3).Draw(t, "planned") == 0 {
			n.CreateIndex = 0
			m.extra = append(m.extra, n)
			continue
		}
		m.nodes = append(m.nodes, n)
	}
	return m
}

// record writes placements down, as the log does, in copies of the nodes.
func record(nodes []*state.Node, r Result) []*state.Node {
	out := make([]*state.Node, len(nodes))
	for i, n := range nodes {
		c := *n
		for _, p := range r.Placements {
			if p.UUID == n.UUID {
				c.Placement = &state.Placement{Hypervisor: p.Hypervisor, Epoch: 1, BMC: p.BMC}
				c.BMCAddress = p.BMCAddress
			}
		}
		out[i] = &c
	}
	return out
}

// checkHosts fails if a hypervisor is promised more than it may be, or an endpoint
// twice, or one outside its range.
func checkHosts(t *rapid.T, hosts []*state.Hypervisor, nodes []*state.Node) {
	taken := map[string]string{}
	for _, h := range hosts {
		var vcpus, memory, disk float64
		for _, n := range nodes {
			if n.Placement == nil || n.Placement.Hypervisor != h.ID {
				continue
			}
			vcpus += float64(n.Machine.VCPUs)
			memory += float64(n.Machine.MemoryMB)
			disk += float64(n.Machine.DiskBytes())
			if len(n.BMCPool) > 0 {
				checkAddress(t, hosts, nodes, h, n)
				continue
			}
			at := fmt.Sprintf("%s %+v", h.ID, n.Placement.BMC)
			if other := taken[at]; other != "" {
				t.Fatalf("%s and %s are both at %s", other, n.Name, at)
			}
			taken[at] = n.Name
			if p := n.Placement.BMC; p.Port < h.BMC.First || p.Port > h.BMC.Last || p.Address != h.BMC.Address {
				t.Fatalf("%s is at %s, the range is %+v", n.Name, at, h.BMC)
			}
			if !slices.Contains(h.Drivers, n.Machine.Driver) {
				t.Fatalf("%s is on a hypervisor without its driver", n.Name)
			}
		}
		limit := func(n, factor float64) float64 {
			if factor == 0 {
				factor = 1
			}
			return n * factor
		}
		if vcpus > limit(float64(h.Capacity.VCPUs), h.Overcommit.VCPUs) || memory > limit(float64(h.Capacity.MemoryMB), h.Overcommit.Memory) ||
			disk > limit(float64(h.Capacity.DiskGB), h.Overcommit.Disk)*(1<<30) {
			t.Fatalf("%s with %+v times %+v is promised %v vCPUs, %v MiB, %v bytes", h.ID, h.Capacity, h.Overcommit, vcpus, memory, disk)
		}
	}
}

// checkAddress fails if a node's address is not of its pool, not in its hypervisor's
// networks, or anybody else's.
func checkAddress(t *rapid.T, hosts []*state.Hypervisor, nodes []*state.Node, h *state.Hypervisor, n *state.Node) {
	switch at := n.BMCAddress; {
	case !n.BMCPool.Contains(at) || !h.Serves(at) || n.Placement.BMC != state.NoEndpoint(n.UUID):
		t.Fatalf("%s of pool %s has %q on %s with %v, endpoint %+v", n.Name, n.BMCPool, at, h.ID, h.Networks, n.Placement.BMC)
	case at == "198.51.100.0" || at == "198.51.100.3":
		t.Fatalf("%s has %s, which is not one host's", n.Name, at)
	case slices.ContainsFunc(hosts, func(h *state.Hypervisor) bool { return slices.Contains(h.Addresses(), at) }):
		t.Fatalf("%s has %s, which is a hypervisor's", n.Name, at)
	case slices.ContainsFunc(nodes, func(o *state.Node) bool { return o.UUID != n.UUID && o.BMCAddress == at }):
		t.Fatalf("%s has %s, which is another node's", n.Name, at)
	}
}

func TestPlaceKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMesh(rt)
		half := load(t, m.hosts, m.nodes[:len(m.nodes)/2])
		m.nodes = record(m.nodes, Place(half, nil)) // an earlier round
		snap := load(t, m.hosts, m.nodes)
		r := Place(snap, m.extra)

		for _, worth := range []int{0, math.MaxInt} { // always queues, never any
			if diff := cmp.Diff(r, place(snap, nil, m.extra, worth)); diff != "" {
				rt.Fatalf("with queues from %d nodes on (-want +got):\n%s", worth, diff)
			}
		}

		answered := map[string]int{}
		for _, p := range r.Placements {
			answered[p.UUID]++
		}
		for _, p := range r.Refusals {
			answered[p.UUID]++
		}
		for _, n := range slices.Concat(m.nodes, m.extra) {
			want := 1
			if n.Placement != nil {
				want = 0
			}
			if answered[n.UUID] != want {
				rt.Fatalf("node %s (placement %+v) is answered %d times", n.Name, n.Placement, answered[n.UUID])
			}
		}
		all := record(slices.Concat(m.nodes, m.extra), r)
		checkHosts(rt, m.hosts, all)

		shuffled := mesh{slices.Clone(m.hosts), slices.Clone(m.nodes), slices.Clone(m.extra)}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		random.Shuffle(len(shuffled.hosts), func(i, j int) {
			shuffled.hosts[i], shuffled.hosts[j] = shuffled.hosts[j], shuffled.hosts[i]
		})
		random.Shuffle(len(shuffled.nodes), func(i, j int) {
			shuffled.nodes[i], shuffled.nodes[j] = shuffled.nodes[j], shuffled.nodes[i]
		})
		random.Shuffle(len(shuffled.extra), func(i, j int) {
			shuffled.extra[i], shuffled.extra[j] = shuffled.extra[j], shuffled.extra[i]
		})
		if diff := cmp.Diff(r, Place(load(t, shuffled.hosts, shuffled.nodes), shuffled.extra)); diff != "" {
			rt.Fatalf("in another order (-first +second):\n%s", diff)
		}

		// What was planned is what happens once the nodes are in the log.
		created := slices.Clone(m.nodes)
		for _, n := range m.extra {
			c := *n
			c.CreateIndex = 9
			created = append(created, &c)
		}
		if diff := cmp.Diff(r, Place(load(t, m.hosts, created), nil)); diff != "" {
			rt.Fatalf("planned and then otherwise (-planned +done):\n%s", diff)
		}

		// Nothing fits that was refused before.
		if again := Place(load(t, m.hosts, all), nil); len(again.Placements) != 0 {
			rt.Fatalf("placed only the second time: %+v", again.Placements)
		}
	})
}
