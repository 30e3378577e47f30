package ironiclab

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/bmc/bmctest"
	"tenks/bmc/ipmi"
	"tenks/ironic"
	"tenks/raftfsm/state"
)

const meshID = "6c9e1d2a-0000-4000-8000-00000000beef"

// freePort is a port nobody has just now; the one after it is for the same caller.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startIronic runs one on loopback and says how long that took.
func startIronic(t *testing.T, o Options) *Ironic {
	t.Helper()
	Require(t)
	o.Dir, o.Port = t.TempDir(), freePort(t)
	began := time.Now()
	i := Start(t.Context(), t, o)
	t.Logf("Ironic answers after %.1f s", time.Since(began).Seconds())
	return i
}

// mesh is a replicated state with one cluster, without the replication.
type mesh struct {
	t *testing.T

	mu    sync.Mutex // Apply is for one at a time
	store *state.Store
	index uint64

	// bmcPort is where the first node's BMC is.
	bmcPort int
}

func newMesh(t *testing.T) *mesh {
	m := &mesh{t: t, store: state.New(), bmcPort: 50000}
	m.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1"}})
	return m
}

func (m *mesh) propose(c state.Command) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index++
	return m.store.Apply(m.index, state.Envelope{Command: c})
}

func (m *mesh) apply(c state.Command) {
	m.t.Helper()
	if err := m.propose(c); err != nil {
		m.t.Fatalf("apply %T: %v", c, err)
	}
}

func (m *mesh) snap() *state.Snapshot { s, _ := m.store.Snapshot(); return s }

func (m *mesh) node(i int) *state.Node {
	m.t.Helper()
	n, ok := m.snap().Node(uuidOf(i))
	if !ok {
		m.t.Fatalf("node %d is not in the state", i)
	}
	return n
}

func uuidOf(i int) string { return fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", i) }

// declare applies a cluster, places its nodes and has the hypervisor say ready.
func (m *mesh) declare(access state.IronicAccess, driver string, count int) {
	m.t.Helper()
	var create []state.Node
	var places []state.NodePlacement
	for i := range count {
		create = append(create, state.Node{UUID: uuidOf(i), Name: fmt.Sprintf("tk%d", i), Cluster: "demo", LinkName: fmt.Sprintf("n%d", i),
			Machine: state.Machine{Driver: "fake", VCPUs: 2, MemoryMB: 1024, BootMode: state.BootUEFI, IronicDriver: driver,
				Volumes: []state.Volume{{CapacityBytes: 10 << 30}}, Physnets: []string{"physnet1", "physnet2"}},
			Enrol: &state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_GPU"}, Description: "made by a test",
				Properties: map[string]string{"rack": "r1"}, Interfaces: map[string]string{"network": "noop"}},
			DeployKernel: "http://192.0.2.1/kernel", DeployRamdisk: "http://192.0.2.1/ramdisk",
			BMC:   state.Account{Username: "admin", Password: state.NewSecret("planted-password")},
			Ports: []state.Port{{MAC: fmt.Sprintf("52:54:00:0b:%02x:00", i), Physnet: "physnet1"}, {MAC: fmt.Sprintf("52:54:00:0b:%02x:01", i), Physnet: "physnet2"}}})
		places = append(places, state.NodePlacement{UUID: uuidOf(i), Hypervisor: "hv1", BMC: state.Endpoint{Address: "127.0.0.1", Port: m.bmcPort + i}})
	}
	m.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &access}, Create: create})
	m.apply(state.PlaceNodes{Placements: places})
	for i := range count {
		m.host(i, state.HostStatus{Phase: state.HostReady, Links: []state.PortLink{
			{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:01", Link: fmt.Sprintf("p-n%d-0-br", i)},
			{Bridge: "brtenks1", BridgeMAC: "02:00:00:00:00:02", Link: fmt.Sprintf("p-n%d-1-br", i)}}})
	}
}

func (m *mesh) host(i int, s state.HostStatus) {
	m.t.Helper()
	n := m.node(i)
	m.apply(state.ReportHost{Hypervisor: "hv1", Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: s}}})
}

// lead runs the enroller as a leader does, until the test or stop ends it.
func (m *mesh) lead() (stop func()) {
	e := ironic.New(ironic.Config{Source: m.store, Mesh: meshID, Period: 2 * time.Second,
		Report: func(_ context.Context, nodes []state.NodeIronicReport) error {
			return m.propose(state.ReportIronic{Nodes: nodes})
		}})
	ctx, cancel := context.WithCancel(m.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	m.t.Cleanup(stop)
	return stop
}

func (m *mesh) wait(what string, limit time.Duration, cond func() bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), limit)
	defer cancel()
	if err := await(ctx, what, func() (bool, error) { return cond(), nil }); err != nil {
		for _, n := range m.snap().Nodes() {
			m.t.Logf("%s: %+v", n.Name, n.Ironic)
		}
		m.t.Fatal(err)
	}
}

func (m *mesh) available() bool {
	return !slices.ContainsFunc(m.snap().Nodes(), func(n *state.Node) bool {
		return n.Ironic != state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "available"}
	})
}

func writes(t *testing.T, i *Ironic) []string {
	t.Helper()
	w, err := i.Writes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestIntegrationNodesAreEnrolledInARealIronicAndNotWrittenAgain(t *testing.T) {
	const count = 6
	i := startIronic(t, Options{})
	m := newMesh(t)
	m.declare(state.IronicAccess{Auth: "none", Endpoint: i.URL}, "fake-hardware", count)
	stop := m.lead()
	began := time.Now()
	m.wait("all available", time.Minute, m.available)
	t.Logf("%d nodes available after %.1f s, %d writes", count, time.Since(began).Seconds(), len(writes(t, i)))

	nodes, err := i.Nodes(t.Context())
	if err != nil || len(nodes) != count {
		t.Fatalf("nodes = %v, %v; want %d", nodes, err, count)
	}
	for _, n := range nodes {
		if n.ProvisionState != "available" || n.ResourceClass != "baremetal" || !slices.Equal(n.Traits, []string{"CUSTOM_GPU"}) ||
			n.DriverInfo["deploy_kernel"] != "http://192.0.2.1/kernel" {
			t.Errorf("node = %+v", n)
		}
	}
	ports, err := i.Ports(t.Context())
	if err != nil || len(ports) != 2*count || ports[0].LocalLinkConnection["switch_info"] == "" || ports[0].PhysicalNetwork == "" {
		t.Errorf("ports = %+v, %v", ports, err)
	}

	before := len(writes(t, i))
	stop()
	m.lead() // a new leader looks at everything anew
	looks := strings.Count(tail(i.Log, 1<<30), `"GET /v1/ports?`)
	m.wait("two more looks", time.Minute, func() bool { return strings.Count(tail(i.Log, 1<<30), `"GET /v1/ports?`) >= looks+2 })
	if w := writes(t, i); len(w) != before {
		t.Errorf("nothing changed, yet: %q", w[before:])
	}

	m.apply(state.RemoveCluster{Name: "demo"})
	for k := range count {
		m.host(k, state.HostStatus{Phase: state.HostGone})
	}
	m.wait("gone", time.Minute, func() bool { return len(m.snap().Nodes()) == 0 })
	if nodes, err := i.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("left in Ironic: %v, %v", nodes, err)
	}
	if strings.Contains(tail(i.Log, 1<<30), "Traceback") {
		t.Errorf("Ironic stumbled:\n%s", tail(i.Log, 3000))
	}
}

func TestIntegrationChangesAndRemovalAreAsARealIronicAllowsThem(t *testing.T) {
	i := startIronic(t, Options{Username: "operator", Password: "planted-ironic-password"})
	access := state.IronicAccess{Auth: "http_basic", Endpoint: i.URL, Username: "operator", Password: state.NewSecret("planted-ironic-password")}
	m := newMesh(t)
	m.declare(access, "fake-hardware", 2)
	m.lead()
	m.wait("all available", time.Minute, m.available)

	t.Run("declared changes", func(t *testing.T) {
		n := m.node(0)
		enrol := *n.Enrol
		enrol.Properties, enrol.Interfaces, enrol.Traits, enrol.Description = nil, map[string]string{"deploy": "fake"}, nil, ""
		machine := n.Machine
		machine.MemoryMB = 2048
		c, _ := m.snap().Cluster("demo")
		m.apply(state.ApplyCluster{Cluster: *c, Expect: c.ModifyIndex, Change: []state.NodeChange{{UUID: n.UUID, Machine: machine, Enrol: &enrol, Ports: n.Ports, BMC: n.BMC}}})
		m.host(0, state.HostStatus{Phase: state.HostReady, Links: []state.PortLink{
			{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:99", Link: "p-n0-0-br"}, n.Host.Links[1]}})
		type changed struct {
			Properties  map[string]any `json:"properties"`
			DriverInfo  map[string]any `json:"driver_info"`
			Traits      []string       `json:"traits"`
			Description string         `json:"description"`
			Deploy      string         `json:"deploy_interface"`
			Maintenance bool           `json:"maintenance"`
		}
		var got changed
		m.wait("changed in Ironic", 30*time.Second, func() bool {
			got = changed{} // maps are decoded on top of what is in them
			ports, err := i.Ports(t.Context())
			return err == nil && i.Call(t.Context(), "GET", "/v1/nodes/"+n.UUID, nil, &got) == nil && !got.Maintenance && got.Deploy == "fake" &&
				slices.ContainsFunc(ports, func(p Port) bool { return p.LocalLinkConnection["switch_id"] == "02:00:00:00:00:99" })
		})
		if got.Properties["memory_mb"] != 2048.0 || got.Properties["rack"] != nil || len(got.Traits) != 0 || got.Description != "" || got.DriverInfo["deploy_kernel"] != nil {
			t.Errorf("node = %+v", got)
		}
		if s := m.node(0).Ironic; s.Error != "" {
			t.Errorf("status = %+v", s)
		}
	})

	t.Run("foreign nodes", func(t *testing.T) {
		if err := i.Call(t.Context(), "POST", "/v1/nodes", map[string]any{"name": "theirs", "driver": "fake-hardware"}, nil); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("active without and with force", func(t *testing.T) {
		for _, verb := range []string{"active"} {
			if err := i.Call(t.Context(), "PUT", "/v1/nodes/"+uuidOf(0)+"/states/provision", map[string]any{"target": verb}, nil); err != nil {
				t.Fatal(err)
			}
		}
		m.wait("active is seen", time.Minute, func() bool { return m.node(0).Ironic.ProvisionState == "active" })
		refused, err := ironic.Removable(t.Context(), access, m.snap().Nodes())
		if err != nil || len(refused) != 1 || refused[uuidOf(0)] != "node tk0 is active in Ironic: undeploy it or use --force" {
			t.Errorf("Removable = %v, %v", refused, err)
		}
		m.apply(state.RemoveCluster{Name: "demo"})
		m.host(0, state.HostStatus{Phase: state.HostGone})
		m.host(1, state.HostStatus{Phase: state.HostGone})
		m.wait("refused", time.Minute, func() bool {
			return len(m.snap().Nodes()) == 1 && m.node(0).Ironic.Error == "node tk0 is active in Ironic: undeploy it or use --force"
		})
		m.apply(state.RemoveCluster{Name: "demo", Force: true})
		m.wait("gone", time.Minute, func() bool { return len(m.snap().Nodes()) == 0 })
		nodes, err := i.Nodes(t.Context())
		if err != nil || len(nodes) != 1 || nodes[0].Name != "theirs" {
			t.Errorf("left in Ironic: %+v, %v; want the foreign node", nodes, err)
		}
	})
}

func TestIntegrationAnIronicThatGoesAndComesBackFindsEnrolmentWaiting(t *testing.T) {
	i := startIronic(t, Options{})
	m := newMesh(t)
	i.Stop()
	m.declare(state.IronicAccess{Auth: "none", Endpoint: i.URL}, "fake-hardware", 2)
	m.lead()
	m.wait("the reason", 10*time.Second, func() bool {
		return m.node(0).Ironic.Error == "ironic "+i.URL+": connection refused; will retry"
	})
	if phase, _ := m.node(0).Phase(); phase != state.PhaseReady {
		t.Errorf("phase = %s, want ready", phase)
	}
	again := Start(t.Context(), t, i.opts)
	began := time.Now()
	m.wait("all available", time.Minute, m.available)
	t.Logf("2 nodes available %.1f s after Ironic was back at %s", time.Since(began).Seconds(), again.URL)
}

// The chassis is a fake; the BMC in front of it, ipmitool and Ironic are real.
func TestIntegrationIronicReachesABMCOnceItsPasswordIsRight(t *testing.T) {
	i := startIronic(t, Options{})
	chassis := bmctest.NewChassis()
	server, err := ipmi.Listen(t.Context(), "127.0.0.1:0", ipmi.Config{Chassis: chassis, UUID: uuidOf(0), Log: slog.New(slog.DiscardHandler),
		Account: state.Account{Username: "admin", Password: state.NewSecret("the-right-one")}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	m := newMesh(t)
	m.bmcPort = int(server.Addr().Port())
	m.declare(state.IronicAccess{Auth: "none", Endpoint: i.URL}, "ipmi", 1)
	m.lead()
	m.wait("the reason", 2*time.Minute, func() bool { return strings.Contains(m.node(0).Ironic.Error, "node tk0 is enroll in Ironic: ") })
	t.Logf("status: %s", m.node(0).Ironic.Error)
	if strings.Contains(m.node(0).Ironic.Error, "planted-password") {
		t.Error("the status has the password")
	}

	n, c := m.node(0), m.snap().Clusters()[0]
	right := state.Account{Username: "admin", Password: state.NewSecret("the-right-one")}
	m.apply(state.ApplyCluster{Cluster: *c, Expect: c.ModifyIndex, Change: []state.NodeChange{{UUID: n.UUID, Machine: n.Machine, Enrol: n.Enrol, Ports: n.Ports, BMC: right}}})
	m.wait("available", 2*time.Minute, m.available)

	if err := i.SetBootDevice(t.Context(), uuidOf(0), "pxe", false); err != nil {
		t.Fatal(err)
	}
	if got := chassis.Status().Boot.Device; got != state.BootPXE {
		t.Errorf("boot device = %q, want pxe", got)
	}
	began := time.Now()
	if err := i.SetPower(t.Context(), uuidOf(0), "power on"); err != nil {
		t.Fatal(err)
	}
	t.Logf("Ironic powered the node on in %.1f s", time.Since(began).Seconds())
	if got := chassis.Actions(); len(got) == 0 || chassis.Status().Power != state.PowerOn {
		t.Errorf("the chassis was asked for %v and is %s", got, chassis.Status().Power)
	}
}
