package declare

import (
	"strings"
	"testing"

	"tenks/raftfsm/state"
	"tenks/sched"
)

func withPool(c state.Cluster, ranges ...state.AddressRange) state.Cluster {
	c.BMCPool = ranges
	return c
}

func TestAPoolThatIsDeclaredLater(t *testing.T) {
	four := state.AddressRange{First: "192.0.2.1", Last: "192.0.2.4"}
	m := newMesh(t)
	m.do(demo(2))
	m.apply(state.PlaceNodes{Placements: sched.Place(m.snap(), nil).Placements})
	_, err := Cluster(m.snap(), withPool(demo(2), four), Options{Random: m.seed})
	if want := `its hypervisor hv1 has no link in the BMC network of 192.0.2.1-192.0.2.4`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a host that cannot serve it: %v, want %s", err, want)
	}
	h, _ := m.snap().Hypervisor("hv1")
	changed := *h
	changed.Networks = []string{"192.0.2.3/24"}
	m.apply(state.PutHypervisor{Hypervisor: changed})
	addresses := func() (out []string) {
		for _, n := range m.snap().Nodes() {
			out = append(out, n.BMCAddress)
		}
		return out
	}
	expect := func(want ...string) {
		t.Helper()
		if got := addresses(); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	p := m.do(withPool(demo(2), four))
	expect("192.0.2.2", "192.0.2.4")
	if got, want := strings.Join(texts(p.Steps[0]), "; "), "bmc.address a port of its host → 192.0.2.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p := m.plan(withPool(demo(2), four), Options{}); !p.Empty(m.snap()) {
		t.Errorf("again: %+v", p.Steps)
	}
	m.do(withPool(demo(2), state.AddressRange{First: "192.0.2.4", Last: "192.0.2.9"}))
	expect("192.0.2.5", "192.0.2.4")
	if _, err := Cluster(m.snap(), withPool(demo(2), state.AddressRange{First: "192.0.2.3", Last: "192.0.2.4"}), Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), "no BMC address of 192.0.2.3-192.0.2.4 is free in the networks of its hypervisor hv1") {
		t.Errorf("too small a pool: %v", err)
	}
	m.do(demo(2)) // they have their ports of before
	expect("", "")

	pooled := withPool(demo(3), state.AddressRange{First: "192.0.2.1", Last: "192.0.2.9"})
	m.do(pooled)
	m.apply(state.PlaceNodes{Placements: sched.Place(m.snap(), nil).Placements})
	_, err = Cluster(m.snap(), demo(3), Options{Random: m.seed})
	if want := "was made with a BMC address and has no port: keep bmc.addresses, or remove the node"; len(addresses()) != 3 || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v: %v", addresses(), err)
	}
}
