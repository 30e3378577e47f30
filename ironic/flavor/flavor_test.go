package flavor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenks/ironic/novatest"
	"tenks/raftfsm/state"
)

func specsOf(cluster string, more map[string]string) map[string]string {
	out := map[string]string{"resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0",
		"tenks:mesh": meshID, "tenks:cluster": cluster}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func TestFlavorsAreMadeAsDeclared(t *testing.T) {
	w := newWorld(t, novatest.Options{MaxPage: 2})
	w.declare("demo", large, small)
	k := w.keeper()
	w.settle(k)
	want := map[string]novatest.Flavor{
		"small": {Name: "small", RAM: 4096, VCPUs: 2, Disk: 18, Specs: specsOf("demo", map[string]string{"resources:CUSTOM_MY_SMALL_1": "1"})},
		"large": {Name: "large", RAM: 8192, VCPUs: 4, Disk: 40, Ephemeral: 4, Swap: 512, Specs: specsOf("demo", map[string]string{
			"resources:CUSTOM_LARGE": "1", "trait:CUSTOM_GPU": "required", "trait:HW_CPU_X86_VMX": "required", "trait:CUSTOM_OLD": "forbidden",
			"capabilities:boot_option": "local", "a b": "c"})},
	}
	if diff := cmp.Diff(want, w.cloud.Flavors(), cmpopts.IgnoreFields(novatest.Flavor{}, "ID", "Description")); diff != "" {
		t.Errorf("flavors (-want +got):\n%s", diff)
	}
	status := w.clusterOf("demo").FlavorStatus
	if len(status.Flavors) != 2 || status.Flavors[0].Name != "large" || status.Flavors[0].ID != w.cloud.Flavors()["large"].ID {
		t.Errorf("status %+v", status)
	}
	writes, reports := w.cloud.Writes(), w.reports
	if len(writes) != 6 || !slices.Equal(w.cloud.Traits(), []string{"CUSTOM_GPU", "CUSTOM_OLD"}) {
		t.Errorf("writes %q, traits %q; want two for each flavor, and one for each custom trait", writes, w.cloud.Traits())
	}
	for range 3 {
		w.settle(k)
	}
	if again := w.cloud.Writes(); len(again) > 0 || w.reports != reports {
		t.Errorf("nothing differs, and yet writes %q and %d reports", again, w.reports-reports)
	}
}

// Nova changes extra specs; all else is deleted and made anew.
func TestFlavorsFollowTheirDeclaration(t *testing.T) {
	gpu := changed(small, func(f *state.Flavor) { f.RequiredTraits = []string{"CUSTOM_GPU"} })
	for name, tt := range map[string]struct {
		from, to state.Flavor
		anew     bool
		writes   []string
	}{
		"memory": {small, changed(small, func(f *state.Flavor) { f.MemoryMB++ }), true,
			[]string{"DELETE /flavors/1", "POST /flavors", "POST /flavors/2/os-extra_specs"}},
		"swap": {large, changed(large, func(f *state.Flavor) { f.SwapMB = 0 }), true,
			[]string{"DELETE /flavors/1", "POST /flavors", "POST /flavors/2/os-extra_specs"}},
		"a trait":    {small, gpu, false, []string{"PUT /traits/CUSTOM_GPU", "POST /flavors/1/os-extra_specs"}},
		"no trait":   {gpu, small, false, []string{"DELETE /flavors/1/os-extra_specs/trait:CUSTOM_GPU"}},
		"its turn":   {gpu, changed(small, func(f *state.Flavor) { f.ForbiddenTraits = gpu.RequiredTraits }), false, []string{"POST /flavors/1/os-extra_specs"}},
		"the class":  {small, changed(small, func(f *state.Flavor) { f.ResourceClass = "other" }), false, []string{"POST /flavors/1/os-extra_specs", "DELETE /flavors/1/os-extra_specs/resources:CUSTOM_MY_SMALL_1"}},
		"a space":    {changed(small, func(f *state.Flavor) { f.CustomSpecs = map[string]string{"a b": "c"} }), small, false, []string{"DELETE /flavors/1/os-extra_specs/a b"}},
		"the name":   {small, changed(small, func(f *state.Flavor) { f.Name = "other" }), true, []string{"DELETE /flavors/1", "POST /flavors", "POST /flavors/2/os-extra_specs"}},
		"its case":   {small, changed(small, func(f *state.Flavor) { f.Name = "SMALL" }), true, []string{"DELETE /flavors/1", "POST /flavors", "POST /flavors/2/os-extra_specs"}},
		"replaced 0": {small, changed(small, func(f *state.Flavor) { f.CustomSpecs = map[string]string{"resources:VCPU": "1"} }), false, []string{"POST /flavors/1/os-extra_specs"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, novatest.Options{})
			w.declare("demo", tt.from)
			k := w.keeper()
			w.settle(k)
			w.cloud.Writes()
			w.declare("demo", tt.to)
			w.settle(k)
			var writes []string
			for _, line := range w.cloud.Writes() {
				writes = append(writes, strings.ReplaceAll(line, "f0000000-0000-4000-8000-00000000000", ""))
			}
			if diff := cmp.Diff(tt.writes, writes); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if len(w.cloud.Flavors()) != 1 {
				t.Errorf("flavors %+v, want one", w.cloud.Flavors())
			}
		})
	}
}

// What others do to our flavors is put right.
func TestDriftIsPutRight(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.declare("demo", small)
	k := w.keeper()
	w.settle(k)
	want := w.cloud.Flavors()["small"]
	for name, drift := range map[string]func(f *novatest.Flavor){
		"a spec of theirs": func(f *novatest.Flavor) { f.Specs["x:y"] = "z" },
		"a spec of ours":   func(f *novatest.Flavor) { delete(f.Specs, "resources:VCPU") },
		"its description":  func(f *novatest.Flavor) { f.Description = "theirs" },
	} {
		theirs := w.cloud.Flavors()["small"]
		drift(&theirs)
		w.cloud.Put(theirs)
		w.settle(k)
		if diff := cmp.Diff(want, w.cloud.Flavors()["small"], cmpopts.IgnoreFields(novatest.Flavor{}, "Description")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	private := want
	private.Private = true
	w.cloud.Put(private)
	w.settle(k)
	if got := w.cloud.Flavors()["small"]; got.Private || got.ID == want.ID {
		t.Errorf("one that was made private: %+v, want a new public one", got)
	}
}

// The Ansible tool takes over flavors that it finds, and deletes them in the end.
func TestForeignFlavorsAreLeftAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		foreign novatest.Flavor
		want    string
	}{
		"without a mark": {novatest.Flavor{ID: "theirs", Name: "small", RAM: 1, VCPUs: 1}, "flavor small: Nova has a flavor of that name (theirs), which is not Tenks'"},
		"a private one":  {novatest.Flavor{ID: "theirs", Name: "small", RAM: 1, VCPUs: 1, Private: true}, "flavor small: Nova has a flavor of that name (theirs), which is not Tenks'"},
		"another case":   {novatest.Flavor{ID: "theirs", Name: "SMALL", RAM: 1, VCPUs: 1}, "flavor small: Nova has a flavor named SMALL, which is the same to it, (theirs), which is not Tenks'"},
		"another mesh's": {novatest.Flavor{ID: "theirs", Name: "small", RAM: 1, VCPUs: 1, Specs: map[string]string{"tenks:mesh": "m2", "tenks:cluster": "demo"}},
			"flavor small: Nova has a flavor of that name (theirs), which is that of another mesh (m2)"},
		"another cluster's": {novatest.Flavor{ID: "theirs", Name: "small", RAM: 1, VCPUs: 1, Specs: map[string]string{"tenks:mesh": meshID, "tenks:cluster": "other"}},
			"flavor small: Nova has a flavor of that name (theirs), which is that of cluster other"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, novatest.Options{})
			w.cloud.Put(tt.foreign)
			w.declare("demo", large, small)
			k := w.keeper()
			if err := w.look(k); err != nil {
				t.Fatal(err)
			}
			if got := w.problem("demo"); !strings.HasPrefix(got, tt.want) {
				t.Errorf("problem %q, want %q", got, tt.want)
			}
			if _, ok := w.cloud.Flavors()["large"]; !ok {
				t.Error("the other flavor is not made")
			}
			w.declare("demo") // none any longer
			w.settle(k)
			w.apply(state.RemoveCluster{Name: "demo"})
			if diff := cmp.Diff(map[string]novatest.Flavor{tt.foreign.Name: tt.foreign}, w.cloud.Flavors()); diff != "" {
				t.Errorf("what is left (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlavorsGoWithTheirCluster(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.declare("demo", small)
	w.declare("other", large)
	k := w.keeper()
	w.settle(k)
	w.apply(state.RemoveCluster{Name: "demo"})
	w.cloud.Intercept(func(string, string) novatest.Fault { return novatest.Down })
	if err := w.look(k); err != nil {
		t.Fatal(err)
	}
	if got := w.problem("demo"); got != "nova of cloud lab: service unavailable (HTTP 503); will retry" {
		t.Errorf("problem %q", got)
	}
	w.cloud.Intercept(nil)
	if err := w.look(k); err != nil {
		t.Fatal(err)
	}
	if w.clusterOf("demo") != nil {
		t.Errorf("the cluster is still there: %+v", w.clusterOf("demo").FlavorStatus)
	}
	if all := w.cloud.Flavors(); len(all) != 1 || all["large"].Name == "" {
		t.Errorf("flavors %+v, want that of the other cluster", all)
	}
}

// While the hosts of a forgotten cluster take its nodes apart, its flavors are nobody's.
func TestFlavorsOfAForgottenClusterStay(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h1", Name: "hv1"}})
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access, Flavors: []state.Flavor{small}},
		Create: []state.Node{{UUID: "u1", Name: "tk0", LinkName: "tk0", Cluster: "demo"}}})
	w.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "u1", Hypervisor: "h1", BMC: state.NoEndpoint("u1")}}})
	k := w.keeper()
	w.settle(k)
	w.apply(state.RemoveCluster{Name: "demo", Forget: true})
	if err := w.look(k); err != nil {
		t.Fatal(err)
	}
	if all := w.cloud.Flavors(); len(all) != 1 {
		t.Errorf("flavors %+v, want that of the forgotten cluster", all)
	}
	if c := w.clusterOf("demo"); c == nil || c.FlavorStatus.Begun {
		t.Errorf("the cluster is to go with its node, and not to wait for Nova: %+v", c)
	}
}

// A crash, of the leader or of the connection, at any request leaves nothing behind that is
// not found again.
func TestAnInterruptionAtAnyRequestIsRepaired(t *testing.T) {
	for _, fault := range []novatest.Fault{novatest.CutBefore, novatest.CutAfter, novatest.Down} {
		for n := 1; ; n++ {
			w := newWorld(t, novatest.Options{})
			w.declare("demo", small)
			w.settle(w.keeper())
			w.declare("demo", changed(small, func(f *state.Flavor) { f.VCPUs = 3 }), large)
			seen := 0
			w.cloud.Intercept(func(string, string) novatest.Fault {
				seen++
				if seen == n {
					return fault
				}
				return novatest.None
			})
			_ = w.look(w.keeper())
			done := seen < n
			w.settle(w.keeper()) // another leader
			w.cloud.Intercept(nil)
			if all := w.cloud.Flavors(); len(all) != 2 || all["small"].VCPUs != 3 || all["large"].Specs["tenks:mesh"] != meshID {
				t.Errorf("fault %d at request %d: flavors %+v", fault, n, all)
			}
			if done {
				if n < 6 {
					t.Errorf("only %d requests", n)
				}
				break
			}
		}
	}
}

func TestNothingIsMadeBeforeItIsAnnounced(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.declare("demo", small)
	w.reportErr = errors.New("no leader")
	k := w.keeper()
	if err := w.look(k); !errors.Is(err, w.reportErr) {
		t.Errorf("error %v, want that of the report", err)
	}
	if writes := w.cloud.Writes(); len(writes) > 0 {
		t.Errorf("writes %q", writes)
	}
	w.reportErr = nil
	w.settle(k)
}

func TestTheReasonIsInTheStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		opts   novatest.Options
		access func(w *world)
		flavor state.Flavor
		want   string
	}{
		"a wrong password": {access: func(w *world) { w.access.CloudYAML = state.NewSecret(w.cloud.CloudsYAML("planted-other-password")) },
			want: "nova of cloud lab: The request you have made requires authentication (HTTP 401); will retry"},
		"no rights": {opts: novatest.Options{Member: true},
			want: "flavor small: create it: Policy doesn't allow os_compute_api:os-flavor-manage:create to be performed (HTTP 403)"},
		"no rights to make a trait": {opts: novatest.Options{Member: true}, flavor: large,
			want: "placement: Access was denied to this resource. Policy does not allow placement:traits:update to be performed (HTTP 403)"},
		"no Keystone": {access: func(w *world) { w.access.Auth = "none" },
			want: "nova of cloud lab: flavors need ironic.cloud: an Ironic without Keystone has no Nova; will retry"},
		"a standalone Ironic": {access: func(w *world) { w.access.CloudYAML = state.NewSecret("clouds: {lab: {auth_type: none}}") },
			want: "nova of cloud lab: clouds.yaml: an Ironic with auth_type none has no Keystone, and so neither Nova nor Placement; will retry"},
		"a broken document": {access: func(w *world) { w.access.CloudYAML = state.NewSecret("clouds: [planted-password") },
			want: "nova of cloud lab: clouds.yaml: is not what it should be; will retry"},
		"no entry": {access: func(w *world) { w.access.Cloud = "other" },
			want: "nova of cloud other: clouds.yaml: has no such entry; will retry"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.opts)
			if tt.access != nil {
				tt.access(w)
			}
			if tt.flavor.Name == "" {
				tt.flavor = small
			}
			w.declare("demo", tt.flavor)
			if err := w.look(w.keeper()); err != nil {
				t.Fatal(err)
			}
			if got := w.problem("demo"); got != tt.want {
				t.Errorf("problem %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAClusterWithoutACloudSaysSo(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.declare("demo", small)
	k := w.keeper()
	w.settle(k)
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Expect: w.clusterOf("demo").ModifyIndex})
	if err := w.look(k); err != nil {
		t.Fatal(err)
	}
	if got := w.problem("demo"); !strings.HasPrefix(got, "the cluster no longer says which cloud has its flavors") {
		t.Errorf("problem %q", got)
	}
}

// Run looks again after a failure, and at once when the declaration changes.
func TestRun(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.cloud.Intercept(func(string, string) novatest.Fault { return novatest.Down })
	k := New(Config{Source: w.store, Report: w.report, Mesh: meshID, Period: time.Hour, Retry: 2 * time.Millisecond, RetryMax: 5 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	w.declare("demo", small)
	await(t, w, "the reason is reported", func(c *state.Cluster) bool { return c.FlavorStatus.Error != "" })
	w.cloud.Intercept(nil)
	await(t, w, "settled", func(c *state.Cluster) bool { ok, _ := c.FlavorsSettled(); return ok })
	w.declare("demo", small, large)
	await(t, w, "settled again", func(c *state.Cluster) bool { ok, _ := c.FlavorsSettled(); return ok })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// await waits for the state, not for time.
func await(t *testing.T, w *world, what string, ok func(*state.Cluster) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		snap, changed := w.store.Snapshot()
		if c, there := snap.Cluster("demo"); there && ok(c) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute: %+v", what, w.clusterOf("demo"))
		case <-changed:
		}
	}
}

func TestACloudThatIsDownAndAReportThatFailsAreWaitedFor(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.declare("demo", small)
	w.cloud.Intercept(func(string, string) novatest.Fault { return novatest.Down })
	w.reportErr = errors.New("no leader")
	k := New(Config{Source: w.store, Report: w.report, Mesh: meshID, Retry: time.Minute})
	t.Cleanup(k.Close)
	if err := w.look(k); !errors.Is(err, w.reportErr) {
		t.Errorf("error %v", err)
	}
	if wait := k.untilDue(); wait < 30*time.Second {
		t.Errorf("it looks again in %s, but does not ask: it turns round and round", wait)
	}
}

// A cluster that is destroyed while Nova is being asked is gone at once, because it had no
// flavors: it must not get any after that.
func TestNothingIsMadeForAClusterThatWentMeanwhile(t *testing.T) {
	w := newWorld(t, novatest.Options{})
	w.declare("demo", small)
	w.declare("other", large)
	gone := false
	w.cloud.Intercept(func(method, path string) novatest.Fault {
		if !gone && method == "GET" && strings.Contains(path, "/flavors") {
			gone = true
			w.apply(state.RemoveCluster{Name: "demo"})
		}
		return novatest.None
	})
	k := w.keeper()
	if err := w.look(k); err == nil || !strings.Contains(err.Error(), "cluster demo: is gone") {
		t.Errorf("error %v", err)
	}
	w.settle(k)
	if all := w.cloud.Flavors(); w.clusterOf("demo") != nil || len(all) != 1 || all["large"].Name == "" {
		t.Errorf("flavors %+v, want that of the other cluster", all)
	}
}
