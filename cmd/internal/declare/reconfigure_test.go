package declare

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

// machine changes the type of demo.
func machine(change func(*state.Machine)) func(*state.Cluster) {
	return func(c *state.Cluster) {
		m := c.Types["compute"]
		m.Volumes = slices.Clone(m.Volumes)
		change(&m)
		c.Types["compute"] = m
	}
}

func TestWhatLosesDataNeedsConsent(t *testing.T) {
	two := machine(func(m *state.Machine) { m.Volumes = append(m.Volumes, state.Volume{CapacityBytes: 2 << 30}) })
	for _, c := range []struct {
		name   string
		change func(*state.Machine)
		texts  []string
		loses  bool
	}{
		{"grows", func(m *state.Machine) { m.Volumes = []state.Volume{{CapacityBytes: 8 << 30}, {CapacityBytes: 2 << 30}} }, []string{"volumes[0] 4 → 8 GiB"}, false},
		{"one more", func(m *state.Machine) {
			m.Volumes = []state.Volume{{CapacityBytes: 4 << 30}, {CapacityBytes: 2 << 30}, {CapacityBytes: 1 << 30}}
		}, []string{"volumes[2] none → 1 GiB"}, false},
		{"shrinks", func(m *state.Machine) { m.Volumes = []state.Volume{{CapacityBytes: 4 << 30}, {CapacityBytes: 1 << 30}} },
			[]string{"volumes[1] 2 → 1 GiB (made anew: DATA IS LOST)"}, true},
		{"another image", func(m *state.Machine) {
			m.Volumes = []state.Volume{{CapacityBytes: 4 << 30, Image: "/i"}, {CapacityBytes: 2 << 30}}
		}, []string{"volumes[0] 4 GiB → 4 GiB of /i (made anew: DATA IS LOST)"}, true},
		{"one less", func(m *state.Machine) { m.Volumes = []state.Volume{{CapacityBytes: 4 << 30}} }, []string{"volumes[1] 2 GiB → none (DATA IS LOST)"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			m.do(demo(2, two))
			m.place()
			want := demo(2, machine(c.change))
			p := m.plan(want, Options{})
			if diff := cmp.Diff(c.texts, texts(p.Steps[0])); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if p.Steps[0].Action != Change || (len(p.Refusals) == 1) != c.loses {
				t.Errorf("%s, refusals %q", p.Steps[0].Action, p.Refusals)
			}
			if c.loses && !strings.Contains(p.Refusals[0], "data on tk0, tk1 is lost by this: add --allow-data-loss") {
				t.Errorf("refusal %q", p.Refusals[0])
			}
			m.provision(map[string]string{"tk1": "active"})
			p = m.plan(want, Options{AllowDataLoss: true})
			if (len(p.Refusals) == 1) != c.loses || c.loses && !strings.Contains(p.Refusals[0], "data on tk1 is lost by this, and Ironic uses what is on it") {
				t.Errorf("refusals with --allow-data-loss: %q", p.Refusals)
			}
			if p = m.plan(want, Options{AllowDataLoss: true, Force: true}); len(p.Refusals) != 0 {
				t.Errorf("refusals with --force: %q", p.Refusals)
			}
			m.apply(p.Command)
			made := uint64(0)
			for _, v := range m.node("tk0").Machine.Volumes {
				made += v.Made
			}
			if again := c.loses && c.name != "one less"; (made == 1) != again {
				t.Errorf("volumes %+v: made anew: %v", m.node("tk0").Machine.Volumes, again)
			}
			if p = m.plan(want, Options{}); !p.Empty(m.snap()) || len(p.Refusals) != 0 {
				t.Errorf("once it is done: %v, %q", summary(p), p.Refusals)
			}
		})
	}
}

func TestAnotherDriverMakesTheNodeAnew(t *testing.T) {
	m := newMesh(t)
	m.do(demo(2))
	m.place()
	before := m.node("tk0")
	want := demo(2, machine(func(m *state.Machine) { m.Driver = "fake" }))
	p := m.plan(want, Options{})
	if diff := cmp.Diff([]string{"recreate tk0", "recreate tk1"}, summary(p)); diff != "" {
		t.Error(diff)
	}
	if got, want := texts(p.Steps[0])[0], "driver libvirt → fake (the node is made anew: DATA IS LOST)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if len(p.Refusals) != 1 {
		t.Errorf("refusals %q", p.Refusals)
	}
	m.apply(p.Command)
	if p = m.plan(want, Options{}); !p.Empty(m.snap()) || len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], "tk0, tk1: its host takes it apart") {
		t.Errorf("meanwhile: %v, notes %q", summary(p), p.Notes)
	}
	m.host("tk0", state.HostStatus{Phase: state.HostGone})
	m.place()
	after := m.node("tk0")
	if after.Machine.Driver != "fake" || after.UUID != before.UUID || !slices.Equal(after.Ports, before.Ports) || after.BMC != before.BMC ||
		after.Placement == nil || after.Placement.BMC != before.Placement.BMC || after.Placement.Epoch == before.Placement.Epoch {
		t.Errorf("was %+v\nis %+v", before, after)
	}
	diskless := machine(func(m *state.Machine) { m.Volumes = nil })
	m = newMesh(t)
	m.do(demo(1, diskless))
	if p = m.plan(demo(1, diskless, machine(func(m *state.Machine) { m.Driver = "fake" })), Options{}); len(p.Refusals) != 0 || p.Command.Change[0].Anew {
		t.Errorf("one that is nowhere yet: %q, %+v", p.Refusals, p.Command.Change[0])
	}
}

// moved is newMesh's hypervisor with something changed.
func (m *mesh) hypervisor(change func(*state.Hypervisor)) {
	m.t.Helper()
	h, ok := m.snap().Hypervisor("hv1")
	if !ok {
		m.t.Fatal("no hv1")
	}
	now := *h
	change(&now)
	m.apply(state.PutHypervisor{Hypervisor: now})
}

func TestAnEndpointFollowsItsHostsRange(t *testing.T) {
	m := newMesh(t)
	m.do(demo(3))
	m.place()
	m.hypervisor(func(h *state.Hypervisor) {
		h.BMC = state.PortRange{Address: "192.0.2.1", First: 6232, Last: 6233}
		h.Reserved = nil
	})
	p := m.plan(demo(3), Options{})
	if diff := cmp.Diff([]string{"change tk0"}, summary(p)); diff != "" {
		t.Errorf("tk1 has no port left, tk2 keeps its own: %s", diff)
	}
	if got, want := texts(p.Steps[0]), "bmc.endpoint 192.0.2.1:6230 → 192.0.2.1:6233 (the old one is not one of its host's any longer)"; got[0] != want || p.Steps[0].When != Now {
		t.Errorf("%q, want %q", got, want)
	}
	if len(p.Notes) != 1 || p.Notes[0] != "tk1: its BMC is at a port outside of hv1's range 6232-6233: an apply of its cluster's file gives it one of that, once one is free" {
		t.Errorf("notes %q", p.Notes)
	}
	epoch := m.node("tk0").Placement.Epoch
	m.apply(p.Command)
	if at := m.node("tk0").Placement; at.BMC.Port != 6233 || at.Epoch != epoch {
		t.Errorf("tk0 is at %+v", at)
	}
	if p = m.plan(demo(3), Options{}); !p.Empty(m.snap()) || len(p.Notes) != 1 {
		t.Errorf("again: %v, notes %q", summary(p), p.Notes)
	}
	m.hypervisor(func(h *state.Hypervisor) { h.BMC = state.PortRange{Address: "192.0.2.9", First: 6230, Last: 6250} })
	if p = m.do(demo(3)); len(p.Steps) != 3 || m.node("tk0").Placement.BMC.String() != "192.0.2.9:6233" {
		t.Errorf("another address: %v, tk0 at %s", summary(p), m.node("tk0").Placement.BMC)
	}
}

func TestNotesOfWhatAnApplyDoesNotMend(t *testing.T) {
	require := func(c *state.Cluster) { c.Specs[0].Constraints.Require = map[string]string{"disk": "nvme"} }
	for _, c := range []struct {
		name    string
		declare func(*state.Cluster)
		change  func(*state.Hypervisor)
		want    string
	}{
		{"physnet", func(*state.Cluster) {}, func(h *state.Hypervisor) { h.Physnets = []string{"physnet1"} },
			"tk0…tk2: on hv1, which has no physnet2, only physnet1: its bridge stays as it is while nodes use it; map the physnet again (physnets in agent.yml)"},
		{"driver", func(*state.Cluster) {}, func(h *state.Hypervisor) { h.Drivers = []string{"fake"} },
			"tk0…tk2: on hv1, which has no libvirt, only fake: bring the driver back"},
		{"label", require, func(h *state.Hypervisor) { h.Labels = map[string]string{"disk": "hdd"} },
			"tk0…tk2: on hv1, whose label disk is hdd, nvme is required: it stays"},
		{"nothing", require, func(h *state.Hypervisor) { h.Labels = map[string]string{"disk": "nvme"} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			m.do(demo(3))
			m.place()
			m.do(demo(3, c.declare))
			m.hypervisor(c.change)
			p := m.plan(demo(3, c.declare), Options{})
			if !p.Empty(m.snap()) {
				t.Errorf("steps %v", summary(p))
			}
			if c.want == "" && len(p.Notes) > 0 || c.want != "" && (len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], c.want)) {
				t.Errorf("notes %q, want %q", p.Notes, c.want)
			}
		})
	}
}

func TestAPlanOverTheQuotaIsRefused(t *testing.T) {
	m := newMesh(t)
	m.apply(state.SetQuota{Cluster: "demo", Quota: state.Quota{Nodes: 3, MemoryMB: 2048}})
	_, err := Cluster(m.snap(), demo(4), Options{Random: m.seed})
	if want := `quota of cluster "demo": refused: nodes: 0 used, 4 asked for, the limit is 3`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	m.do(demo(3))
	bigger := demo(3, machine(func(m *state.Machine) { m.MemoryMB = 1024 }))
	if _, err = Cluster(m.snap(), bigger, Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), "memory: 1536 MiB used, 3072 MiB asked for, the limit is 2048 MiB") {
		t.Errorf("more memory: %v", err)
	}
	m.apply(state.SetQuota{Cluster: "demo", Quota: state.Quota{Nodes: 1}})
	m.do(demo(3))
	m.do(bigger) // nodes are limited, and stay as many
	m.do(demo(2))
	other := demo(9)
	other.Name = "other"
	m.do(other) // it has none
}

func TestANodeDoesNotGetWhatItsHostLacks(t *testing.T) {
	arm := func(m *state.Machine) { m.Hardware.Arch = state.ArchARM }
	for _, c := range []struct {
		name   string
		change func(*state.Machine)
		host   func(*state.Hypervisor)
		want   string
	}{
		{name: "a physnet", change: func(m *state.Machine) { m.Physnets = []string{"physnet1", "physnet3"} },
			want: "node tk0 cannot be changed: hv1: physnets: has no physnet3, only physnet1, physnet2"},
		{name: "one less of those that it has", change: func(m *state.Machine) { m.Physnets = []string{"physnet2"} }},
		{name: "one that it had before it was unmapped", change: func(m *state.Machine) { m.MemoryMB = 1024 },
			host: func(h *state.Hypervisor) { h.Physnets = []string{"physnet1"} }},
		{name: "an architecture", change: arm, want: "node tk0 cannot be changed: hv1: architecture: has no aarch64, only x86_64"},
		{name: "another driver, which makes it anew elsewhere", change: func(m *state.Machine) { m.Driver, m.Physnets = "fake", []string{"physnet3"} },
			host: func(h *state.Hypervisor) { h.Drivers = []string{"libvirt"} }, want: "no hypervisor can take node tk0: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			m.do(demo(1))
			m.place()
			if c.host != nil {
				m.hypervisor(c.host)
			}
			opt := Options{Random: m.seed, AllowDataLoss: true}
			_, err := Cluster(m.snap(), demo(1, machine(c.change)), opt)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if opt.AllowUnplaced = true; c.want != "" {
				if _, err := Cluster(m.snap(), demo(1, machine(c.change)), opt); err != nil {
					t.Errorf("with --allow-unplaced: %v", err)
				}
			}
		})
	}
}

func TestANodeDoesNotGrowToMoreThanItsHostHas(t *testing.T) {
	m := newMesh(t)
	m.do(demo(2))
	m.place()
	want := demo(2, machine(func(m *state.Machine) { m.MemoryMB = 1 << 30 }))
	_, err := Cluster(m.snap(), want, Options{Random: m.seed})
	if want := "node tk0 cannot grow: hv1: memory: 2147483648 MiB promised then, it has 1048576 MiB"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if _, err := Cluster(m.snap(), want, Options{Random: m.seed, AllowUnplaced: true}); err != nil {
		t.Errorf("with --allow-unplaced: %v", err)
	}
	// What goes makes room for what grows, though not for what is new.
	half := func(count int, gib uint64) state.Cluster {
		return demo(count, machine(func(m *state.Machine) { m.MemoryMB = gib << 10 }))
	}
	if _, err := Cluster(m.snap(), half(1, 1024), Options{Random: m.seed}); err != nil {
		t.Errorf("one goes, and the other grows: %v", err)
	}
	if _, err := Cluster(m.snap(), half(2, 1024), Options{Random: m.seed}); err == nil {
		t.Error("both grow to all that there is")
	}
	// What those that are there grow to is counted before new ones are placed.
	want = demo(3, machine(func(m *state.Machine) { m.MemoryMB = 1 << 19 }))
	if _, err = Cluster(m.snap(), want, Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), "no hypervisor can take node tk2: hv1: memory: needs 524288 MiB, 0 of 1048576 MiB free") {
		t.Errorf("one more: %v", err)
	}
}

func TestWhatAHostNoLongerHasIsSaidToItsPeople(t *testing.T) {
	m := newMesh(t)
	m.do(demo(3))
	m.place()
	if got := Misplaced(m.snap(), m.snap().Nodes()); len(got) != 0 {
		t.Errorf("as it should be: %q", got)
	}
	m.hypervisor(func(h *state.Hypervisor) { h.Physnets, h.BMC.First = []string{"physnet1"}, 6231 })
	got := Misplaced(m.snap(), m.snap().Nodes())
	want := []string{"tk0…tk2: on hv1, which has no physnet2, only physnet1: its bridge stays", "tk0: its BMC is at a port outside of hv1's range 6231-16229: an apply"}
	if len(got) != 2 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("%q, want %q", got, want)
	}
}
