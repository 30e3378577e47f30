package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"go.uber.org/goleak"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hypervisor = "hv1"

// mesh is a replicated state with nodes on one hypervisor.
type mesh struct {
	t     *testing.T
	store *state.Store
	index uint64
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{t: t, store: state.New()}
	for _, id := range []string{hypervisor, "hv2"} {
		m.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: id, Name: id}})
	}
	return m
}

func (m *mesh) apply(c state.Command) {
	m.t.Helper()
	m.index++
	if err := m.store.Apply(m.index, state.Envelope{Command: c}); err != nil {
		m.t.Fatalf("apply %T: %v", c, err)
	}
}

func (m *mesh) snapshot() *state.Snapshot {
	snap, _ := m.store.Snapshot()
	return snap
}

func uuidOf(i int) string { return fmt.Sprintf("3f8a1c52-9d47-4e6b-8a21-%012x", i) }

// node returns the i-th node, with an IPMI BMC.
func node(i int) state.Node {
	return state.Node{UUID: uuidOf(i), Name: fmt.Sprintf("tk%d", i), Cluster: "demo", LinkName: fmt.Sprintf("n%d", i),
		Machine: state.Machine{IronicDriver: "ipmi"}, BMC: state.Account{Username: "admin", Password: state.NewSecret("secret")}}
}

func (m *mesh) declare(nodes ...state.Node) {
	m.t.Helper()
	m.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Create: nodes})
}

func (m *mesh) place(uuid, on string, port int) {
	m.t.Helper()
	m.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: uuid, Hypervisor: on, BMC: state.Endpoint{Address: "127.0.0.1", Port: port}}}})
}

func (m *mesh) node(i int) *state.Node {
	m.t.Helper()
	n, ok := m.snapshot().Node(uuidOf(i))
	if !ok {
		m.t.Fatalf("no node %d", i)
	}
	return n
}

// freePorts returns UDP ports that nothing listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for port := firstPort.Add(int32(n+64)) - int32(n+64); len(ports) < n; port++ {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		if err != nil {
			if port >= 32000 {
				t.Fatal(err)
			}
			continue
		}
		_ = conn.Close()
		ports = append(ports, int(port))
	}
	return ports
}

// firstPort is below those that the kernel gives to clients (ip(7), ip_local_port_range):
// what is free stays so until the test takes it.
var firstPort = func() *atomic.Int32 {
	var first atomic.Int32
	first.Store(17000 + rand.Int32N(5000))
	return &first
}()

func newManager(t *testing.T, find func(string) (bmc.Chassis, bool)) *Manager {
	t.Helper()
	m := New(Config{Hypervisor: hypervisor, Chassis: find, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(m.Close)
	return m
}

// oneChassis is an off chassis for every node.
func oneChassis(string) (bmc.Chassis, bool) { return bmctest.NewChassis(), true }

func do(t *testing.T, m *Manager, snap *state.Snapshot) {
	t.Helper()
	if err := m.Do(t.Context(), snap); err != nil {
		t.Fatalf("do: %v", err)
	}
}

// status logs in with go-ipmi's client, which is not ours, and asks for the
// chassis' status.
func status(t *testing.T, port int, password string) (*chassis.GetChassisStatusResponse, error) {
	t.Helper()
	c, err := client.NewClient("127.0.0.1", port, "admin", password)
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithTimeout(5 * time.Second)
	if err := c.Connect(t.Context()); err != nil {
		return nil, err
	}
	defer func() { _ = c.Close(t.Context()) }()
	return c.GetChassisStatus(t.Context())
}

// listens reports whether something has the port.
func listens(t *testing.T, port int) bool {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

func TestANodesBMCListensWhileItIsPlacedHere(t *testing.T) {
	ports := freePorts(t, 4)
	mesh := newMesh(t)
	redfish := node(3)
	redfish.Machine.IronicDriver = "redfish"
	mesh.declare(node(0), node(1), node(2), redfish)
	m := newManager(t, oneChassis)

	do(t, m, mesh.snapshot()) // nothing is placed yet
	mesh.place(uuidOf(0), hypervisor, ports[0])
	mesh.place(uuidOf(1), hypervisor, ports[1])
	mesh.place(uuidOf(2), "hv2", ports[2])
	mesh.place(uuidOf(3), hypervisor, ports[3])
	for range 2 {
		do(t, m, mesh.snapshot())
		for i, want := range []bool{true, true, false, false} {
			if got := listens(t, ports[i]); got != want {
				t.Errorf("node %d: listening %t, want %t", i, got, want)
			}
		}
	}
	if got, err := status(t, ports[0], "secret"); err != nil || got.PowerIsOn {
		t.Errorf("chassis status: %+v, %v; want off", got, err)
	}
	m.Close()
	if listens(t, ports[0]) || listens(t, ports[1]) {
		t.Error("a BMC listens after Close")
	}
}

func TestARemovedNodeKeepsItsBMCUntilIronicHasLetGo(t *testing.T) {
	ports := freePorts(t, 1)
	mesh := newMesh(t)
	n := node(0)
	n.Enrol = &state.Enrolment{}
	mesh.declare(n)
	mesh.place(n.UUID, hypervisor, ports[0])
	m := newManager(t, oneChassis)
	do(t, m, mesh.snapshot())

	mesh.apply(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: n.UUID}}})
	do(t, m, mesh.snapshot())
	if !listens(t, ports[0]) {
		t.Error("the BMC is gone while Ironic still has the node")
	}
	mesh.apply(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: n.UUID, Status: state.IronicStatus{Phase: state.IronicGone}}}})
	do(t, m, mesh.snapshot())
	if listens(t, ports[0]) {
		t.Error("the BMC listens still after Ironic has let go")
	}
}

func TestANodeThatIsGoneHasNoBMC(t *testing.T) {
	placed := node(0)
	placed.Placement = &state.Placement{Hypervisor: hypervisor, BMC: state.Endpoint{Address: "127.0.0.1", Port: 7000}}
	gone := placed
	gone.Host.Phase = state.HostGone
	if got := wanted([]*state.Node{&gone}); len(got) != 0 {
		t.Errorf("wanted for a node that is gone: %v, want none", got)
	}
	want := map[string]want{placed.UUID: {placed.Placement.BMC, placed.BMC}}
	got := wanted([]*state.Node{&placed})
	if len(got) != 1 || got[placed.UUID] != want[placed.UUID] {
		t.Errorf("wanted for a node that is placed: %v, want %v", got, want)
	}
}

func TestAChangedPasswordReplacesTheBMC(t *testing.T) {
	ports := freePorts(t, 1)
	mesh := newMesh(t)
	n := node(0)
	mesh.declare(n)
	mesh.place(n.UUID, hypervisor, ports[0])
	m := newManager(t, oneChassis)
	do(t, m, mesh.snapshot())

	n.BMC.Password = state.NewSecret("changed")
	cluster, _ := mesh.snapshot().Cluster("demo")
	mesh.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Expect: cluster.ModifyIndex,
		Change: []state.NodeChange{{UUID: n.UUID, Machine: n.Machine, BMC: n.BMC}}})
	do(t, m, mesh.snapshot())
	if _, err := status(t, ports[0], "changed"); err != nil {
		t.Errorf("login with the new password: %v", err)
	}
	if _, err := status(t, ports[0], "secret"); err == nil {
		t.Error("login with the old password works")
	}
}

func TestIPMI15IsAnsweredWhileItIsAskedFor(t *testing.T) {
	ports := freePorts(t, 1)
	mesh := newMesh(t)
	n := node(0)
	mesh.declare(n)
	mesh.place(n.UUID, hypervisor, ports[0])
	m := newManager(t, oneChassis)
	for _, on := range []bool{false, true, false} {
		n.BMC.IPMI15 = on
		cluster, _ := mesh.snapshot().Cluster("demo")
		mesh.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Expect: cluster.ModifyIndex,
			Change: []state.NodeChange{{UUID: n.UUID, Machine: n.Machine, BMC: n.BMC}}})
		do(t, m, mesh.snapshot())
		if got := authenticationTypes(t, ports[0]); (got != 0) != on {
			t.Errorf("IPMI 1.5 %t: authentication types %02x", on, got)
		}
	}
}

// authenticationTypes are those of IPMI 1.5 in the answer to Get Channel Authentication
// Capabilities (IPMI v2.0 §22.13).
func authenticationTypes(t *testing.T, port int) byte {
	t.Helper()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	ask := []byte{6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x18, 0xc8, 0x81, 4, 0x38, 0x0e, 4, 0x31}
	answer := make([]byte, 64)
	if _, err := conn.Write(ask); err != nil {
		t.Fatal(err)
	}
	k, err := conn.Read(answer)
	if err != nil || k < 23 || answer[20] != 0 {
		t.Fatalf("answer %x: %v", answer[:k], err)
	}
	return answer[22]
}

func TestAPortThatIsTakenIsNamedAndTriedAgainWhileOthersGoOn(t *testing.T) {
	ports := freePorts(t, 2)
	blocker, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[0]})
	if err != nil {
		t.Fatal(err)
	}
	mesh := newMesh(t)
	mesh.declare(node(0), node(1))
	mesh.place(uuidOf(0), hypervisor, ports[0])
	mesh.place(uuidOf(1), hypervisor, ports[1])
	m := newManager(t, oneChassis)

	err = m.Do(t.Context(), mesh.snapshot())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), uuidOf(0)) {
		t.Errorf("do: got %v, want address in use for node %s", err, uuidOf(0))
	}
	if err := m.Err(mesh.node(0)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("err of the node: got %v, want address in use", err)
	}
	if err := m.Err(mesh.node(1)); err != nil || !listens(t, ports[1]) {
		t.Errorf("the other node: error %v, listening %t", err, listens(t, ports[1]))
	}
	if err := blocker.Close(); err != nil {
		t.Fatal(err)
	}
	do(t, m, mesh.snapshot())
	if err := m.Err(mesh.node(0)); err != nil {
		t.Errorf("err once the port is free: %v", err)
	}
}

func TestANodeIsNotReadyUntilItsBMCListensWhereItIsPlaced(t *testing.T) {
	ports := freePorts(t, 2)
	mesh := newMesh(t)
	mesh.declare(node(0))
	mesh.place(uuidOf(0), hypervisor, ports[0])
	m := newManager(t, oneChassis)
	if err := m.Err(mesh.node(0)); !errors.Is(err, ErrNotOpen) {
		t.Errorf("before it is opened: %v", err)
	}
	do(t, m, mesh.snapshot())
	if err := m.Err(mesh.node(0)); err != nil {
		t.Errorf("open: %v", err)
	}
	elsewhere := *mesh.node(0)
	placement := *elsewhere.Placement
	placement.BMC.Port = ports[1]
	elsewhere.Placement = &placement
	if err := m.Err(&elsewhere); !errors.Is(err, ErrNotOpen) {
		t.Errorf("placed on another port: %v", err)
	}
}

// stuck is a chassis whose power requests take until free is closed, whatever the
// context says.
type stuck struct {
	*bmctest.Chassis
	asked chan<- struct{}
	free  <-chan struct{}
}

func (s stuck) Power(context.Context, state.PowerAction) error {
	s.asked <- struct{}{}
	<-s.free
	return state.ErrBusy
}

func TestACommandThatHangsKeepsNoPortFromTheNextNode(t *testing.T) {
	ports := freePorts(t, 1)
	mesh := newMesh(t)
	mesh.declare(node(0))
	mesh.place(uuidOf(0), hypervisor, ports[0])
	asked, free := make(chan struct{}, 8), make(chan struct{})
	m := newManager(t, func(string) (bmc.Chassis, bool) { return stuck{bmctest.NewChassis(), asked, free}, true })
	t.Cleanup(func() { close(free) }) // before the manager's
	do(t, m, mesh.snapshot())
	c, err := client.NewClient("127.0.0.1", ports[0], "admin", "secret")
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithTimeout(100 * time.Millisecond)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _ = c.ChassisControl(t.Context(), chassis.ChassisControlPowerUp) // it hangs, and so there is no answer
	<-asked
	_ = c.Close(t.Context())

	next := newMesh(t)
	next.declare(node(1))
	next.place(uuidOf(1), hypervisor, ports[0])
	done := make(chan error, 1)
	go func() { done <- m.Do(t.Context(), next.snapshot()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the next node waits for the command")
	}
	if _, err := status(t, ports[0], "secret"); err != nil {
		t.Errorf("the next node's BMC: %v", err)
	}
}

func TestListenersSwapPortsInOneStep(t *testing.T) {
	ports := freePorts(t, 2)
	m := newManager(t, oneChassis)
	for range 2 {
		mesh := newMesh(t)
		mesh.declare(node(0), node(1))
		mesh.place(uuidOf(0), hypervisor, ports[0])
		mesh.place(uuidOf(1), hypervisor, ports[1])
		do(t, m, mesh.snapshot())
		ports[0], ports[1] = ports[1], ports[0]
	}
}

func TestTheNodeIsBusyUntilThereIsAChassis(t *testing.T) {
	ports := freePorts(t, 1)
	mesh := newMesh(t)
	mesh.declare(node(0))
	mesh.place(uuidOf(0), hypervisor, ports[0])
	var mu sync.Mutex
	known := map[string]bmc.Chassis{}
	m := newManager(t, func(uuid string) (bmc.Chassis, bool) {
		mu.Lock()
		defer mu.Unlock()
		c, ok := known[uuid]
		return c, ok
	})
	do(t, m, mesh.snapshot())
	if _, err := status(t, ports[0], "secret"); err == nil || !strings.Contains(strings.ToLower(err.Error()), "busy") {
		t.Errorf("status without a chassis: got %v, want node busy", err)
	}
	on := bmctest.NewChassis()
	on.SetPower(state.PowerOn)
	mu.Lock()
	known[uuidOf(0)] = on
	mu.Unlock()
	if got, err := status(t, ports[0], "secret"); err != nil || !got.PowerIsOn {
		t.Errorf("status with a chassis: %+v, %v; want on", got, err)
	}
}

func TestTwoThousandBMCsOpenWithinTwoSeconds(t *testing.T) {
	const n = 2000
	mesh := newMesh(t)
	var nodes []state.Node
	var placements []state.NodePlacement
	for i := range n {
		nodes = append(nodes, node(i))
		// Addresses of loopback, so that ports are free whatever else runs here.
		at := state.Endpoint{Address: fmt.Sprintf("127.77.%d.%d", i/250, i%250+1), Port: 16230}
		placements = append(placements, state.NodePlacement{UUID: uuidOf(i), Hypervisor: hypervisor, BMC: at})
	}
	mesh.declare(nodes...)
	mesh.apply(state.PlaceNodes{Placements: placements})
	m := newManager(t, oneChassis)
	began := time.Now()
	do(t, m, mesh.snapshot())
	opened := time.Since(began)
	began = time.Now()
	m.Close()
	t.Logf("%d BMCs: opened in %v, closed in %v", n, opened, time.Since(began))
	if opened > 2*time.Second {
		t.Errorf("opening %d BMCs took %v, want at most 2 s", n, opened)
	}
}
