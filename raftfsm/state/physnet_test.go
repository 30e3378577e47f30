package state

import (
	"fmt"
	"testing"
)

func TestPhysnetDisagreements(t *testing.T) {
	for _, tt := range []struct {
		name  string
		links [][]PhysnetLink
		// on are the hosts that have a node with a port on the physnet.
		on   []string
		want string
	}{
		{"none where all agree", [][]PhysnetLink{{{Physnet: "a", MTU: 9000}}, {{Physnet: "a", MTU: 9000}}}, nil, "[]"},
		{"none of what is not known", [][]PhysnetLink{{{Physnet: "a", MTU: 9000}}, {{Physnet: "a"}}}, nil, "[]"},
		{"none of other physnets", [][]PhysnetLink{{{Physnet: "a", MTU: 9000}}, {{Physnet: "b", MTU: 1500}}}, nil, "[]"},
		{"of MTUs", [][]PhysnetLink{{{Physnet: "a", MTU: 9000}}, {{Physnet: "a", MTU: 1500}}, {{Physnet: "a", MTU: 9000}}}, nil,
			`[physnet "a": MTU 1500 on hv2; MTU 9000 on hv1, hv3]`},
		{"of VNIs before MTUs", [][]PhysnetLink{{{Physnet: "a", VNI: 5, MTU: 1450}}, {{Physnet: "a", MTU: 1500}}}, []string{"h1"},
			`[physnet "a": no overlay on hv2; VNI 5 on hv1]`},
		{"that matter, with nodes on both sides", [][]PhysnetLink{{{Physnet: "a", MTU: 9000}}, {{Physnet: "a", MTU: 1500}}}, []string{"h1", "h2"},
			`[physnet "a": MTU 1500 on hv2; MTU 9000 on hv1 (matters)]`},
		{"of many hosts in short", [][]PhysnetLink{{{Physnet: "a", MTU: 1}}, {{Physnet: "a", MTU: 2}}, {{Physnet: "a", MTU: 2}}, {{Physnet: "a", MTU: 2}}, {{Physnet: "a", MTU: 2}}, {{Physnet: "a", MTU: 2}}}, nil,
			`[physnet "a": MTU 1 on hv1; MTU 2 on hv2, hv3, hv4, 2 more]`},
	} {
		s := New()
		index := uint64(0)
		do := func(c Command) {
			t.Helper()
			index++
			if err := s.Apply(index, Envelope{Command: c}); err != nil {
				t.Fatal(err)
			}
		}
		for i, links := range tt.links {
			do(PutHypervisor{Hypervisor: Hypervisor{ID: fmt.Sprintf("h%d", i+1), Name: fmt.Sprintf("hv%d", i+1), PhysnetLinks: links}})
		}
		for i, host := range tt.on {
			name := fmt.Sprintf("n%d", i)
			do(ApplyCluster{Cluster: Cluster{Name: name}, Create: []Node{{UUID: name, Name: name, LinkName: name, Cluster: name, Ports: []Port{{MAC: name, Physnet: "a"}}}}})
			do(PlaceNodes{Placements: []NodePlacement{{UUID: name, Hypervisor: host, BMC: Endpoint{Address: name, Port: 1}}}})
		}
		snap, _ := s.Snapshot()
		got := []string{}
		for _, d := range snap.PhysnetDisagreements() {
			text := d.String()
			if d.Matters {
				text += " (matters)"
			}
			got = append(got, text)
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
