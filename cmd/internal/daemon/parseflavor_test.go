package daemon

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/raftfsm"
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
  media: {memory_mb: 1024, vcpus: 1, volumes: [{device: cdrom, image: /a.iso}, {capacity: 20GiB}]}
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
		"a CD-ROM is no disk": {"{resource_class: a, node_type: media}",
			state.Flavor{Name: "a", ResourceClass: "a", NodeType: "media", MemoryMB: 1024, VCPUs: 1, DiskGB: 20}},
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

// A second apply of the same file writes nothing: what is empty in it is as it comes out of
// the log.
func TestWhatIsEmptyInAFileIsAsInTheState(t *testing.T) {
	const file = `cluster: demo
ironic: {cloud: lab}
node_types:
  two: {memory_mb: 4096, vcpus: 2, physical_networks: [physnet1]}
  none: {memory_mb: 1024, vcpus: 1, physical_networks: [], volumes: [], usb_devices: []}
specs:
  - {type: two, count: 1, nodes: [], placement: {require: {}}, ironic_config: {resource_class: a, traits: [], properties: {}, root_device: {}, extra: {}, pxe_enabled: [], port_groups: [{name: b, ports: [0], properties: {}}]}}
  - {type: none, count: 1, ironic_config: {resource_class: a, pxe_enabled: [], port_groups: []}}
nova_flavors:
  - {resource_class: a, node_type: two, required_traits: [], forbidden_traits: [], custom_specs: {}}
`
	want, err := ParseCluster(&api.ApplyRequest{File: file, CloudYAML: "clouds: {}"})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := raftfsm.Encode(state.Envelope{Command: state.ApplyCluster{Cluster: want}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := raftfsm.Decode(entry)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Command.(state.ApplyCluster).Cluster; !reflect.DeepEqual(got, want) {
		t.Errorf("from the log:\n%+v\n%+v\nfrom the file:\n%+v\n%+v", got, got.Specs[0].Enrol, want, want.Specs[0].Enrol)
	}
}
