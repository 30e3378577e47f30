package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

func TestParseClusterTakesOverAllThatIronicIsTold(t *testing.T) {
	const file = `
cluster: demo
node_types:
  compute: {memory_mb: 4096, vcpus: 2, physical_networks: [a, a, b]}
specs:
  - type: compute
    count: 1
    ironic_config:
      resource_class: baremetal
      properties: {rack: 7, place: {row: 1}}
      root_device: {size: ">= 10"}
      extra: {site: lab}
      network_data: {links: [{id: a, type: phy, ethernet_mac_address: port1}], networks: []}
      shard: s1
      owner: alice
      lessee: bob
      automated_clean: false
      state: manageable
      inspect: true
      recover: true
      port_groups:
        - {name: bond0, ports: [0, 1], mode: 802.3ad, address: first-port, standalone_ports: false, properties: {miimon: 100}}
        - {name: bond1, ports: [2], address: "52:54:00:AA:00:01", standalone_ports: true}
  - type: compute
    count: 1
    ironic_config: {resource_class: baremetal, automated_clean: true, state: available, pxe_enabled: []}
ironic: {endpoint: "http://192.0.2.9:6385", concurrency: 3, rate: 0.5}
`
	got, err := ParseCluster(&api.ApplyRequest{Name: "demo.yml", File: file})
	if err != nil {
		t.Fatal(err)
	}
	want := &state.Enrolment{ResourceClass: "baremetal", Properties: map[string]string{"rack": "7"}, Interfaces: map[string]string{},
		Objects: map[string]string{"place": `{"row":1}`, "root_device": `{"size":">= 10"}`}, Extra: map[string]string{"site": `"lab"`},
		NetworkData: `{"links":[{"ethernet_mac_address":"port1","id":"a","type":"phy"}],"networks":[],"services":[]}`,
		Shard:       "s1", Owner: "alice", Lessee: "bob", AutomatedClean: "false", State: state.TargetManageable, Inspect: true, Recover: true,
		// Ports of a group that are not used by themselves may not boot.
		PXE: []bool{false, false, true},
		PortGroups: []state.PortGroup{
			{Name: "bond0", Ports: []int{0, 1}, Mode: "802.3ad", FirstPort: true, Dependent: true, Properties: map[string]string{"miimon": "100"}},
			{Name: "bond1", Ports: []int{2}, Address: "52:54:00:aa:00:01"}}}
	if diff := cmp.Diff(want, got.Specs[0].Enrol); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = &state.Enrolment{ResourceClass: "baremetal", Interfaces: map[string]string{}, AutomatedClean: "true", PXE: []bool{false, false, false}}
	if diff := cmp.Diff(want, got.Specs[1].Enrol); diff != "" {
		t.Errorf("without ports to boot from (-want +got):\n%s", diff)
	}
	if got.IronicLimits != (state.IronicLimits{Concurrency: 3, Rate: 0.5}) {
		t.Errorf("limits %+v", got.IronicLimits)
	}
}
