package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/hostops"
	"tenks/hostops/driver"
	"tenks/hostops/fake"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// bare is a host without links.
type bare struct{}

func (bare) Observe(context.Context) (link.Have, error) { return link.Have{}, nil }

func (bare) Apply(context.Context, link.Step) error { return errors.New("no links in this test") }

func (bare) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}

// newChassis is the chassis of a node of the fake driver, on a host of its own.
func newChassis(t *testing.T) bmc.Chassis {
	t.Helper()
	return chassisWith(t, state.BootBIOS)
}

func chassisWith(t *testing.T, mode state.BootMode) bmc.Chassis {
	t.Helper()
	const self, uuid = "peer-1", "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10"
	store := state.New()
	n := state.Node{UUID: uuid, Name: "n0", Cluster: "c", LinkName: "n0", Machine: state.Machine{Driver: fake.Name, MemoryMB: 512, VCPUs: 2,
		BootMode: mode, Volumes: []state.Volume{{CapacityBytes: 1 << 30}}}}
	for i, command := range []state.Command{
		state.PutHypervisor{Hypervisor: state.Hypervisor{ID: self, Name: self}},
		state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Create: []state.Node{n}},
		state.PlaceNodes{Placements: []state.NodePlacement{{UUID: uuid, Hypervisor: self, BMC: state.Endpoint{Address: "127.0.0.1", Port: 6230}}}},
	} {
		if err := store.Apply(uint64(i+1), state.Envelope{Command: command}); err != nil { //nolint:gosec // a few
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	d, err := fake.Open(driver.Config{Mesh: "m1", DataDir: dir, Options: map[string]string{"delay": "0s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	a := &agent{source: store}
	a.host, err = hostops.Open(hostops.Config{Hypervisor: self, Mesh: "m1", Source: store, Links: bare{}, DB: filepath.Join(dir, "host.db"), BootID: "boot",
		MediaDir: filepath.Join(dir, "media"), MediaLocal: true,
		Report:  func(context.Context, []state.NodeHostReport) error { return nil },
		Drivers: map[string]driver.Driver{fake.Name: d}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1) // one result
	go func() { ended <- a.host.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, a.host.Close()); err != nil {
			t.Error(err)
		}
	})
	c, ok := a.Chassis(uuid)
	if !ok {
		t.Fatal("the node has no chassis")
	}
	return c
}

func TestTheChassisOfThisHostConforms(t *testing.T) {
	bmctest.Conform(t, newChassis)
}

func TestHardwareIsThatOfTheDeclaredNode(t *testing.T) {
	n := &state.Node{UUID: "6B1F9A3E-8F0A-5C57-9D0E-2F6A4E1C7B10", Name: "n0",
		Machine: state.Machine{Driver: "libvirt", MemoryMB: 2048, VCPUs: 4, BootMode: state.BootUEFI,
			Volumes: []state.Volume{{CapacityBytes: 10 << 30}, {CapacityBytes: 1 << 30, Image: "/img"}}},
		Ports: []state.Port{{MAC: "52:54:00:AA:00:01", Physnet: "p1"}, {MAC: "52:54:00:aa:00:02", Physnet: "p2"}},
		Host:  state.HostStatus{Links: []state.PortLink{{Bridge: "tkbr0", BridgeMAC: "02:00:00:00:00:0A", Link: "tkp1"}}}}
	want := bmc.Hardware{UUID: "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10", Name: "n0", MemoryMB: 2048, VCPUs: 4, Arch: "x86_64", BootMode: state.BootUEFI,
		NICs:  []bmc.NIC{{MAC: "52:54:00:aa:00:01", Physnet: "p1", Switch: bmc.SwitchPort{Name: "tkbr0", MAC: "02:00:00:00:00:0a", Port: "tkp1"}}, {MAC: "52:54:00:aa:00:02", Physnet: "p2"}},
		Disks: []bmc.Disk{{CapacityBytes: 10 << 30}, {CapacityBytes: 1 << 30}}}
	if d := cmp.Diff(want, hardwareOf(n)); d != "" {
		t.Errorf("hardware (-want +got):\n%s", d)
	}
}
