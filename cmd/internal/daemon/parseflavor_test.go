package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// A flavor of the Ansible tool has the first volume's size, whatever the root disk is (B-22):
// here it can be said.
func TestB22FlavorsHaveTheSizesOfTheirNodeType(t *testing.T) {
	const types = `cluster: demo
ironic: {cloud: lab}
node_types:
  two: {memory_mb: 4096, vcpus: 2, volumes: [{capacity: 20GB}, {capacity: 100GiB}]}
  small: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 100MiB}]}
  none: {memory_mb: 1024, vcpus: 1}
wait_for_placement: true
nova_flavors:
`
	for name, tt := range map[string]struct {
		file string
		want state.Flavor
	}{
		"the first volume in whole GiB": {"{resource_class: a.b, node_type: two}",
			state.Flavor{Name: "a.b", ResourceClass: "a.b", NodeType: "two", MemoryMB: 4096, VCPUs: 2, DiskGB: 18}},
		"at least one": {"{resource_class: a, node_type: small, name: b}",
			state.Flavor{Name: "b", ResourceClass: "a", NodeType: "small", MemoryMB: 512, VCPUs: 1, DiskGB: 1}},
		"no disk": {"{resource_class: a, node_type: none}",
			state.Flavor{Name: "a", ResourceClass: "a", NodeType: "none", MemoryMB: 1024, VCPUs: 1}},
		"as declared": {"{resource_class: a, node_type: two, disk_gb: 100, ephemeral_gb: 10, swap_mb: 512, required_traits: [CUSTOM_A], forbidden_traits: [CUSTOM_B], custom_specs: {x: 1}}",
			state.Flavor{Name: "a", ResourceClass: "a", NodeType: "two", MemoryMB: 4096, VCPUs: 2, DiskGB: 100, EphemeralGB: 10, SwapMB: 512,
				RequiredTraits: []string{"CUSTOM_A"}, ForbiddenTraits: []string{"CUSTOM_B"}, CustomSpecs: map[string]string{"x": "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCluster(&api.ApplyRequest{File: types + "  - " + tt.file + "\n", CloudYAML: "clouds: {}"})
			if err != nil || !got.WaitForPlacement {
				t.Fatalf("waits %t, error %v", got.WaitForPlacement, err)
			}
			if diff := cmp.Diff([]state.Flavor{tt.want}, got.Flavors); diff != "" {
				t.Errorf("flavors (-want +got):\n%s", diff)
			}
		})
	}
}
