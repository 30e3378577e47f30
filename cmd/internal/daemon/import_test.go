package daemon

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"tenks/cmd/internal/ansible"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/declare"
	"tenks/raftfsm/state"
)

// TestImportedFilesArePlanned: what real override files become can be applied, and a second
// time changes nothing.
func TestImportedFilesArePlanned(t *testing.T) {
	for name, want := range map[string]int{"tenks": 3, "tenks-compute": 2, "tenks-storage": 3, "kayobe": 3, "full": 13, "several": 6} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("../ansible/testdata", name, "override.yml"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := ansible.Import(ansible.Input{Override: ansible.File{Name: "override.yml", Data: data}},
				ansible.Options{Cluster: name, Endpoint: "http://127.0.0.1:6385", Localhost: "hv1", PasswordFile: "/p"})
			if err != nil {
				t.Fatal(err)
			}
			cluster, err := ParseCluster(&api.ApplyRequest{Name: "f", File: string(r.Cluster), BMCPassword: r.Password})
			if err != nil {
				t.Fatal(err)
			}
			s := state.New()
			host := state.Hypervisor{ID: "hv1", Name: "hv1", Drivers: []string{"libvirt"}, Physnets: []string{"physnet1", "physnet2"}, Redfish: 8000,
				Capacity: state.Resources{VCPUs: 1000, MemoryMB: 1 << 20, DiskGB: 1 << 20}, BMC: state.PortRange{Address: "127.0.0.1", First: 6230, Last: 6299}}
			if err := s.Apply(1, state.Envelope{Command: state.PutHypervisor{Hypervisor: host}}); err != nil {
				t.Fatal(err)
			}
			snap, _ := s.Snapshot()
			p, err := declare.Cluster(snap, cluster, declare.Options{Random: rand.Reader})
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Command.Create) != want {
				t.Errorf("%d nodes, want %d", len(p.Command.Create), want)
			}
			if err := s.Apply(2, state.Envelope{Command: p.Command}); err != nil {
				t.Fatal(err)
			}
			snap, _ = s.Snapshot()
			if p, err = declare.Cluster(snap, cluster, declare.Options{Random: rand.Reader}); err != nil || !p.Empty(snap) {
				t.Errorf("a second plan: %+v, %v", p, err)
			}
		})
	}
}
