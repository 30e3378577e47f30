package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/e2e/cloudlab"
)

// withCloud starts a real OpenStack in the host, whose nodes are those of a real Ironic.
func (h *host) withCloud(o cloudlab.Options) *cloudlab.Cloud {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "tkcl")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o.Dir, o.Netns = dir, h.Netns()
	begun := time.Now()
	c := cloudlab.Start(h.t.Context(), h.t, o)
	h.t.Logf("the cloud is up after %.1f s", time.Since(begun).Seconds())
	return c
}

// flavored is a cluster file whose nodes Nova gives out.
func flavored(memory int, trait, more string) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  bm: {memory_mb: %d, vcpus: 2, volumes: [{capacity: 20GB}, {capacity: 1GiB}], physical_networks: [physnet1], driver: fake}
specs:
  - {type: bm, count: 2, ironic_config: {resource_class: my.rc-1, traits: [CUSTOM_GPU, CUSTOM_A], network_interface: noop}}
ironic: {cloud: lab}
wait_for_placement: true
nova_flavors:
  - {resource_class: my.rc-1, node_type: bm}
  - {resource_class: my.rc-1, node_type: bm, name: gpu, required_traits: [%s], forbidden_traits: [CUSTOM_OLD], custom_specs: {"a b": c}}
%s`, memory, trait, more)
}

// novaFlavor is what the test looks at of a flavor.
type novaFlavor struct {
	ID, Name         string
	RAM, VCPUs, Disk int
	Specs            map[string]string `json:"extra_specs"`
}

func flavorsOf(t *testing.T, c *cloudlab.Cloud) map[string]novaFlavor {
	t.Helper()
	var body struct{ Flavors []novaFlavor }
	if err := c.Call(t.Context(), "GET", c.NovaURL()+"/flavors/detail?is_public=None", nil, &body); err != nil {
		t.Fatal(err)
	}
	out := map[string]novaFlavor{}
	for _, f := range body.Flavors {
		out[f.Name] = f
	}
	return out
}

func TestIntegrationNovaGivesOutWhatTheClusterFileDeclares(t *testing.T) {
	besideOthers(t)
	cloudlab.Require(t)
	h := newBareHost(t)
	ironic := h.withIronic()
	cloud := h.withCloud(cloudlab.Options{Ironic: ironic.URL})
	h.init("name: hv1\nadvertise: 127.0.0.1\nphysnets: {physnet1: {}}\ndrivers: {fake: {}}\n")
	clouds := h.write("clouds.yaml", cloud.CloudsYAML())
	apply := func(text string) string {
		t.Helper()
		begun := time.Now()
		out := h.run("env", "OS_CLIENT_CONFIG_FILE="+clouds, h.program("tenks"), "apply", "-f", h.write("demo.yml", text), "--wait=3m")
		t.Logf("apply --wait: %.1f s\n%s", time.Since(begun).Seconds(), out)
		return out
	}
	foreign := map[string]any{"flavor": map[string]any{"name": "theirs", "id": "theirs", "ram": 1, "vcpus": 1, "disk": 1}}
	if err := cloud.Call(t.Context(), "POST", cloud.NovaURL()+"/flavors", foreign, nil); err != nil {
		t.Fatal(err)
	}

	out := apply(flavored(1024, "CUSTOM_GPU", ""))
	if !strings.Contains(out, "2/2 in Placement") {
		t.Errorf("apply does not say what it waits for:\n%s", out)
	}
	first := flavorsOf(t, cloud)
	specs := map[string]string{"resources:CUSTOM_MY_RC_1": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0",
		"trait:CUSTOM_GPU": "required", "trait:CUSTOM_OLD": "forbidden", "a b": "c", "tenks:cluster": "demo", "tenks:mesh": first["gpu"].Specs["tenks:mesh"]}
	if diff := cmp.Diff(novaFlavor{ID: first["gpu"].ID, Name: "gpu", RAM: 1024, VCPUs: 2, Disk: 18, Specs: specs}, first["gpu"]); diff != "" || len(first) != 3 {
		t.Errorf("%d flavors; gpu (-want +got):\n%s", len(first), diff)
	}
	t.Logf("cluster show:\n%s", h.tenks("cluster", "show", "demo"))
	t.Run("the scheduler finds a node by the flavor", func(t *testing.T) { candidates(t, cloud, first["gpu"].Specs, 2) })
	t.Run("a second apply writes nothing", func(t *testing.T) {
		before := novaWrites(t, cloud)
		apply(flavored(1024, "CUSTOM_GPU", ""))
		if after := novaWrites(t, cloud); len(after) > len(before) {
			t.Errorf("writes %q", after[len(before):])
		}
	})

	apply(flavored(1024, "CUSTOM_A", ""))
	second := flavorsOf(t, cloud)
	if g := second["gpu"]; g.ID != first["gpu"].ID || g.Specs["trait:CUSTOM_A"] != "required" || g.Specs["trait:CUSTOM_GPU"] != "" {
		t.Errorf("after another trait: %+v", g)
	}
	apply(flavored(2048, "CUSTOM_A", ""))
	if third := flavorsOf(t, cloud); third["gpu"].RAM != 2048 || third["gpu"].ID == first["gpu"].ID || third["my.rc-1"].RAM != 2048 {
		t.Errorf("after another size: %+v", third)
	}
	t.Run("a foreign flavor of that name is left alone", func(t *testing.T) {
		file := h.write("demo.yml", flavored(2048, "CUSTOM_A", "  - {resource_class: my.rc-1, node_type: bm, name: Theirs}\n"))
		out, err := h.try("env", "OS_CLIENT_CONFIG_FILE="+clouds, h.program("tenks"), "apply", "-f", file, "--wait=5s")
		if err == nil || !strings.Contains(out, "Nova has a flavor named theirs") {
			t.Errorf("error %v:\n%s", err, out)
		}
		if f := flavorsOf(t, cloud)["theirs"]; f.RAM != 1 || len(f.Specs) > 0 {
			t.Errorf("it is now %+v", f)
		}
	})
	begun := time.Now()
	h.tenks("destroy", "demo", "--wait=3m")
	t.Logf("destroy --wait: %.1f s", time.Since(begun).Seconds())
	if left := flavorsOf(t, cloud); len(left) != 1 || left["theirs"].ID != "theirs" {
		t.Errorf("flavors that are left: %+v", left)
	}
}

// candidates asks Placement as Nova's scheduler does for a flavor.
func candidates(t *testing.T, c *cloudlab.Cloud, specs map[string]string, want int) {
	var required []string
	for key, value := range specs {
		if trait, ok := strings.CutPrefix(key, "trait:"); ok {
			required = append(required, map[string]string{"required": "", "forbidden": "!"}[value]+trait)
		}
	}
	var body struct {
		Requests []any `json:"allocation_requests"`
	}
	url := c.PlacementURL() + "/allocation_candidates?resources=CUSTOM_MY_RC_1:1&required=" + strings.Join(required, ",")
	if err := c.CallVersion(t.Context(), "placement 1.22", "GET", url, nil, &body); err != nil || len(body.Requests) != want {
		t.Errorf("%d candidates, error %v, want %d", len(body.Requests), err, want)
	}
}

// novaWrites are the requests to Nova's API so far that could change something.
func novaWrites(t *testing.T, c *cloudlab.Cloud) []string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(c.Dir(), "log", "nova-api.log"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.SplitSeq(string(log), "\n") {
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			if _, request, ok := strings.Cut(line, `"`+method+" "); ok && strings.Contains(line, "/flavors") {
				out = append(out, method+" "+request)
			}
		}
	}
	return out
}
