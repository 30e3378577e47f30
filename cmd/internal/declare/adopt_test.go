package declare

import (
	"slices"
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

// tk0 is what a host has of a node that demo declares.
func tk0(change ...func(*Found)) Found {
	port := func(i, physnet string) FoundPort {
		return FoundPort{MAC: "7a:00:00:00:00:0" + i, Device: "br" + i, Mapped: []string{physnet},
			Link: state.OriginLink{Tap: "p-tk0-" + i + "-tap", Peer: "p-tk0-" + i + "-br", PeerMAC: "7a:00:00:00:00:1" + i, Bridge: "brtenks" + i, BridgeMAC: "7a:00:00:00:00:2" + i}}
	}
	f := Found{Hypervisor: "hv1", UUID: "0e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11", Driver: "libvirt", BootMode: state.BootUEFI, NVRAM: "/nvram/tk0_VARS.fd",
		Volumes: []FoundVolume{{state.OriginVolume{Path: "/pool/tk0vol0", Format: "qcow2"}, 4 << 30}},
		Ports:   []FoundPort{port("0", "physnet1"), port("1", "physnet2")}}
	for _, c := range change {
		c(&f)
	}
	return f
}

func TestAdoptionTakesOverWhatIsFoundAndDoesNothingElse(t *testing.T) {
	m := newMesh(t)
	want := demo(3, named(state.NamedNode{Name: "tk0", Hypervisor: "hv1", BMCPort: 6235}))
	p := m.plan(want, Options{Adopt: &Adoption{Found: map[string]Found{"tk0": tk0()}, Ironic: map[string]string{"tk0": "ironic-uuid"}}})
	if got, want := summary(p), []string{"adopt tk0"}; !slices.Equal(got, want) || p.Steps[0].Hypervisor != "hv1" {
		t.Fatalf("%q on %s, want %q", got, p.Steps[0].Hypervisor, want)
	}
	m.apply(p.Command)
	n, _ := m.snap().NodeByName("tk0")
	wantOrigin := &state.Origin{Hypervisor: "hv1", BMCPort: 6235, IronicUUID: "ironic-uuid", NVRAM: "/nvram/tk0_VARS.fd",
		Volumes: []state.OriginVolume{{Path: "/pool/tk0vol0", Format: "qcow2"}}, Links: []state.OriginLink{tk0().Ports[0].Link, tk0().Ports[1].Link}}
	if n.UUID != tk0().UUID || !n.AdoptIronic || !n.Origin.Equal(wantOrigin) || n.Ports[1].MAC != "7a:00:00:00:00:01" {
		t.Errorf("%s, ports %v, origin %+v", n.UUID, n.Ports, n.Origin)
	}
	// What is missing is made by an apply, and what was taken over stays.
	if got, want := summary(m.plan(want, Options{})), []string{"create tk1", "create tk2"}; !slices.Equal(got, want) {
		t.Errorf("an apply: %q, want %q", got, want)
	}
}

func TestWhatDoesNotMatchIsNotAdopted(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Found)
		want   string
	}{
		"a problem":       {func(f *Found) { f.Problem = "is transient" }, "is transient"},
		"another driver":  {func(f *Found) { f.Driver = "fake" }, "it is one of driver fake, not libvirt"},
		"firmware":        {func(f *Found) { f.BootMode = state.BootBIOS }, "its firmware is bios, not uefi"},
		"disks":           {func(f *Found) { f.Volumes = append(f.Volumes, f.Volumes[0]) }, "it has 2 disks, not 1"},
		"no disk":         {func(f *Found) { f.Volumes = nil }, "it has no disks"},
		"a larger disk":   {func(f *Found) { f.Volumes[0].CapacityBytes++ }, "more than the 4294967296 that are declared"},
		"NICs":            {func(f *Found) { f.Ports = f.Ports[1:] }, "it has 1 NICs, not 2"},
		"a NIC's problem": {func(f *Found) { f.Ports[1].Problem = "is in no bridge" }, "NIC 1: is in no bridge"},
		"another physnet": {func(f *Found) { f.Ports[0].Mapped = []string{"physnet9"} }, "NIC 0 is in bridge brtenks0, which is joined to br0: agent.yml of its host has physnet9 for physnet physnet1"},
		"another UUID":    {func(f *Found) { f.UUID = "1e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11" }, "the domain has UUID 1e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11, not 0e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			want := demo(2, named(state.NamedNode{Name: "tk0", UUID: tk0().UUID}, state.NamedNode{Name: "tk1"}))
			other := tk0(func(f *Found) {
				f.UUID = "2e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11"
				f.Ports[0].MAC, f.Ports[1].MAC = "7a:00:00:00:00:08", "7a:00:00:00:00:09"
			})
			a := &Adoption{Found: map[string]Found{"tk0": tk0(c.change), "tk1": other}}
			if _, err := Cluster(m.snap(), want, Options{Random: m.seed, Adopt: a}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			a.Partial = true
			p := m.plan(want, Options{Adopt: a})
			if got := summary(p); !slices.Equal(got, []string{"adopt tk1"}) || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], c.want) {
				t.Errorf("in part: %q, notes %q", got, p.Notes)
			}
		})
	}
	m := newMesh(t)
	if _, err := Cluster(m.snap(), demo(1), Options{Random: m.seed, Adopt: &Adoption{}}); err == nil || !strings.Contains(err.Error(), "there is nothing to take over") {
		t.Errorf("without names: %v", err)
	}
}

func TestASpecWithMoreNodesThanItCountsAdoptsNone(t *testing.T) {
	m := newMesh(t)
	m.do(demo(3))
	m.place()
	want := demo(2, named(state.NamedNode{Name: "old"}))
	if _, err := Cluster(m.snap(), want, Options{Random: m.seed, Adopt: &Adoption{Found: map[string]Found{"old": tk0()}}}); err == nil || !strings.Contains(err.Error(), "as many nodes as it counts already: 2") {
		t.Errorf("error %v: the next apply would remove one of them", err)
	}
}

func TestAnApplyAfterAnAdoptionChangesNothing(t *testing.T) {
	m := newMesh(t)
	want := demo(1, named(state.NamedNode{Name: "tk0", Hypervisor: "hv1"}), func(c *state.Cluster) { c.Specs[0].VolumePrefix = "disk" })
	m.apply(m.plan(want, Options{Adopt: &Adoption{Found: map[string]Found{"tk0": tk0()}}}).Command)
	if p := m.plan(want, Options{}); !p.Empty(m.snap()) {
		t.Errorf("%q: %q", summary(p), texts(p.Steps[0]))
	}
}
