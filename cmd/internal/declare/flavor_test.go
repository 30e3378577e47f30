package declare

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

func flavored(name string, flavors ...state.Flavor) state.Cluster {
	c := demo(1)
	c.Name, c.Flavors = name, flavors
	c.Ironic = &state.IronicAccess{Auth: "cloud", Cloud: "lab"}
	return c
}

func TestAPlanSaysWhatBecomesOfFlavors(t *testing.T) {
	small := state.Flavor{Name: "small", ResourceClass: "bm", MemoryMB: 1024, VCPUs: 1, DiskGB: 10}
	change := func(c func(*state.Flavor)) state.Flavor {
		f := small
		c(&f)
		return f
	}
	for name, tt := range map[string]struct {
		flavor []state.Flavor
		want   []FlavorStep
	}{
		"nothing": {[]state.Flavor{small}, nil},
		"a size": {[]state.Flavor{change(func(f *state.Flavor) { f.MemoryMB, f.DiskGB = 2048, 20 })},
			[]FlavorStep{{Change, "small", []string{"memory 1024 MiB → 2048 MiB (made anew)", "disk 10 GiB → 20 GiB (made anew)"}}}},
		"traits": {[]state.Flavor{change(func(f *state.Flavor) { f.RequiredTraits = []string{"CUSTOM_A"} })},
			[]FlavorStep{{Change, "small", []string{"required traits [] → [CUSTOM_A]"}}}},
		"specs": {[]state.Flavor{change(func(f *state.Flavor) { f.CustomSpecs = map[string]string{"a": "b"} })},
			[]FlavorStep{{Change, "small", []string{"custom specs"}}}},
		"a name": {[]state.Flavor{change(func(f *state.Flavor) { f.Name = "big" })},
			[]FlavorStep{{Create, "big", []string{"1024 MiB, 1 vCPUs, 10 GiB, resource class bm"}}, {Remove, "small", []string{"it is no longer declared"}}}},
		"none left": {nil, []FlavorStep{{Remove, "small", []string{"it is no longer declared"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			m.do(flavored("demo", small))
			p := m.plan(flavored("demo", tt.flavor...), Options{})
			if diff := cmp.Diff(tt.want, p.Flavors); diff != "" {
				t.Errorf("flavors (-want +got):\n%s", diff)
			}
			if p.Empty(m.snap()) != (tt.want == nil) {
				t.Errorf("empty: %t", p.Empty(m.snap()))
			}
		})
	}
}

// What the leader reports of flavors is no part of the declaration.
func TestAReportOfFlavorsIsNoChange(t *testing.T) {
	m := newMesh(t)
	want := flavored("demo", state.Flavor{Name: "small"})
	m.do(want)
	m.apply(state.ReportFlavors{Clusters: []state.ClusterFlavorReport{{Cluster: "demo", Status: state.FlavorStatus{Begun: true}}}})
	if p := m.plan(want, Options{}); !p.Empty(m.snap()) {
		t.Errorf("plan %+v, want an empty one", p)
	}
}

func TestAFlavorIsOneClustersOnly(t *testing.T) {
	m := newMesh(t)
	m.do(flavored("demo", state.Flavor{Name: "small"}))
	_, err := Cluster(m.snap(), flavored("other", state.Flavor{Name: "small"}), Options{Random: m.seed})
	if err == nil || !strings.Contains(err.Error(), `flavor "small": cluster "demo" has one of that name in cloud lab`) {
		t.Errorf("error %v, want a refusal that names the other cluster", err)
	}
	elsewhere := flavored("other", state.Flavor{Name: "small"})
	elsewhere.Ironic.Cloud = "another"
	if _, err := Cluster(m.snap(), elsewhere, Options{Random: m.seed}); err != nil {
		t.Errorf("in another cloud: %v", err)
	}
}

func TestFlavorsAreNotLeftBehindInAnotherCloud(t *testing.T) {
	m := newMesh(t)
	want := flavored("demo", state.Flavor{Name: "small"})
	m.do(want)
	other := want
	other.Ironic = &state.IronicAccess{Auth: "cloud", Cloud: "elsewhere"}
	none := want
	none.Ironic, none.Flavors = nil, nil
	m.plan(other, Options{}) // nothing was made yet
	m.apply(state.ReportFlavors{Clusters: []state.ClusterFlavorReport{{Cluster: "demo", Status: state.FlavorStatus{Begun: true}}}})
	for _, c := range []state.Cluster{other, none} {
		if _, err := Cluster(m.snap(), c, Options{Random: m.seed}); err == nil || !strings.Contains(err.Error(), "has flavors in cloud lab: apply it without nova_flavors first") {
			t.Errorf("%+v: %v", c.Ironic, err)
		}
		m.plan(c, Options{Forget: true})
	}
	again := flavored("demo")
	again.Ironic = &state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: state.NewSecret("another password")}
	m.do(again)
	m.apply(state.ReportFlavors{Clusters: []state.ClusterFlavorReport{{Cluster: "demo"}}})
	m.do(none)
}
