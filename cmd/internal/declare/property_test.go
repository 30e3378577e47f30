package declare

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tenks/raftfsm/state"
	"tenks/sched"
)

// declaration draws a cluster of up to two specs.
func declaration(t *rapid.T) state.Cluster {
	c := state.Cluster{Name: "demo", Types: map[string]state.Machine{}}
	if rapid.Bool().Draw(t, "ironic") {
		c.Ironic = &state.IronicAccess{Auth: "none"}
	}
	for _, name := range []string{"a", "b"} {
		m := state.Machine{Driver: rapid.SampledFrom([]string{"fake", "libvirt"}).Draw(t, "driver"), VCPUs: 1, BootMode: state.BootUEFI, IronicDriver: "ipmi",
			MemoryMB: rapid.SampledFrom([]uint64{64, 128}).Draw(t, "memory"),
			Physnets: rapid.SliceOfN(rapid.SampledFrom([]string{"physnet1", "physnet2"}), 0, 3).Draw(t, "physnets")}
		for range rapid.IntRange(0, 3).Draw(t, "volumes") {
			m.Volumes = append(m.Volumes, state.Volume{CapacityBytes: rapid.Uint64Range(1, 4).Draw(t, "capacity") << 30,
				Image: rapid.SampledFrom([]string{"", "/i", "/j"}).Draw(t, "image")})
		}
		c.Types[name] = m
		spec := state.Spec{Key: name + "/" + name + "/0", Type: name, Prefix: name, Count: rapid.IntRange(0, 4).Draw(t, "count"), OnHostLoss: state.LossHold}
		if rapid.Bool().Draw(t, "enrolled") {
			spec.Enrol = &state.Enrolment{ResourceClass: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "class")}
		}
		if rapid.Bool().Draw(t, "declared") {
			c.Specs = append(c.Specs, spec)
		}
	}
	return c
}

// Whatever was there: once a plan is carried out there are as many nodes of each spec as it
// asks for, they are as declared, those that stay are who they were, and there is nothing
// left to plan.
func TestAPlanThatIsCarriedOutLeavesNothingToPlan(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMesh(t)
		m.seed = rand.NewChaCha8([32]byte{2})
		for range rapid.IntRange(1, 4).Draw(rt, "times") {
			want := declaration(rt)
			before := m.snap()
			p := m.plan(want, Options{AllowDataLoss: true, Restart: rapid.Bool().Draw(rt, "restart")})
			m.apply(p.Command)
			if p := m.plan(want, Options{}); !p.Empty(m.snap()) {
				rt.Fatalf("again: %v %+v", summary(p), p.Steps)
			}
			count := map[string]int{}
			for _, n := range m.snap().NodesOf("demo") {
				if n.Removing {
					continue
				}
				count[n.Spec]++
				got := n.Machine
				got.Volumes = slices.Clone(got.Volumes)
				for i := range got.Volumes {
					got.Volumes[i].Made = 0
				}
				if d := compare(hardware, AtPowerOn, nil, &state.Node{Machine: got, Ports: n.Ports}, &state.Node{Machine: want.Types[n.Type], Ports: n.Ports}); len(d) > 0 {
					rt.Fatalf("%s: %v", n.Name, d)
				}
				if was, ok := before.Node(n.UUID); ok && (was.Name != n.Name || was.LinkName != n.LinkName || was.BMC != n.BMC) {
					rt.Fatalf("was %+v, is %+v", was, n)
				}
			}
			for _, spec := range want.Specs {
				if count[spec.Key] != spec.Count {
					rt.Fatalf("%d nodes of %s, want %d", count[spec.Key], spec.Key, spec.Count)
				}
			}
			settle(m)
		}
	})
}

// settle has nodes placed, taken apart and removed, as hosts would.
func settle(m *mesh) {
	m.place()
	for _, n := range m.snap().Nodes() {
		if n.Removing && !n.IronicDone() {
			m.apply(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicGone}}}})
		}
	}
	for _, n := range m.snap().Nodes() {
		if n.Placement != nil && n.TakenApart() {
			m.host(n.Name, state.HostStatus{Phase: state.HostGone})
		}
	}
	m.apply(state.PlaceNodes{Placements: sched.Place(m.snap(), nil).Placements})
}
