package ironic

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	meshID      = "6c9e1d2a-0000-4000-8000-000000000001"
	bmcPassword = "planted-bmc-password"
)

// world is a replicated state with one cluster of ready nodes, and its Ironic.
type world struct {
	t      *testing.T
	ironic *ironictest.Ironic
	access state.IronicAccess
	logs   lockedBuffer

	// mu serialises Apply, as Raft does.
	mu    sync.Mutex
	store *state.Store
	index uint64
	// reports counts the batches proposed, and can refuse them.
	reports   int
	reportErr error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var (
	cpuNode = state.Machine{Driver: "fake", MemoryMB: 4096, VCPUs: 2, BootMode: state.BootUEFI, IronicDriver: "ipmi",
		Volumes: []state.Volume{{CapacityBytes: 20 << 30}, {CapacityBytes: 5 << 30}}, Physnets: []string{"physnet1", "physnet2"}}
	enrolGPU = &state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_GPU", "CUSTOM_A"},
		Properties: map[string]string{"rack": "r1", "capabilities": "x:y"}, Interfaces: map[string]string{"network": "noop"},
		ConductorGroup: "Rack1", Description: "a test node"}
)

func nodeUUID(i int) string { return fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i) }

func newNodeState(i int) state.Node {
	machine := cpuNode
	machine.Volumes = slices.Clone(machine.Volumes)
	return state.Node{
		UUID: nodeUUID(i), Name: fmt.Sprintf("tk%d", i), Cluster: "demo", Type: "compute", Machine: machine, Enrol: enrolGPU,
		DeployKernel: "http://192.0.2.1/kernel", DeployRamdisk: "http://192.0.2.1/ramdisk", LinkName: fmt.Sprintf("n%d", i),
		BMC:   state.Account{Username: "admin", Password: state.NewSecret(bmcPassword)},
		Ports: []state.Port{{MAC: mac(i, 0), Physnet: "physnet1"}, {MAC: mac(i, 1), Physnet: "physnet2"}},
	}
}

func mac(node, port int) string { return fmt.Sprintf("52:54:00:00:%02x:%02x", node, port) }

func newWorld(t *testing.T, nodes int, opts ironictest.Options) *world {
	t.Helper()
	w := &world{t: t, ironic: ironictest.Start(t, opts), store: state.New()}
	w.access = state.IronicAccess{Endpoint: w.ironic.URL(), Auth: "none"}
	w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv1", Name: "hv1"}})
	w.declare(nodes)
	return w
}

// declare applies a cluster of that many nodes, placed and ready.
func (w *world) declare(nodes int) {
	w.t.Helper()
	var create []state.Node
	var placements []state.NodePlacement
	for i := range nodes {
		create = append(create, newNodeState(i))
		placements = append(placements, state.NodePlacement{UUID: nodeUUID(i), Hypervisor: "hv1",
			BMC: state.Endpoint{Address: "127.0.0.1", Port: 6230 + i}})
	}
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Create: create})
	w.apply(state.PlaceNodes{Placements: placements})
	for i := range nodes {
		w.ready(i)
	}
}

func (w *world) ready(i int) {
	w.t.Helper()
	n := w.node(i)
	w.apply(state.ReportHost{Hypervisor: n.Placement.Hypervisor, Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch,
		Status: state.HostStatus{Phase: state.HostReady, Links: []state.PortLink{
			{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:01", Link: fmt.Sprintf("p-n%d-0-br", i)},
			{Bridge: "brtenks1", BridgeMAC: "02:00:00:00:00:02", Link: fmt.Sprintf("p-n%d-1-br", i)},
		}}}}})
}

func (w *world) apply(c state.Command) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index++
	if err := w.store.Apply(w.index, state.Envelope{Command: c}); err != nil {
		w.t.Fatalf("apply %T: %v", c, err)
	}
}

func (w *world) report(_ context.Context, nodes []state.NodeIronicReport) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reportErr != nil {
		return w.reportErr
	}
	w.reports++
	w.index++
	return w.store.Apply(w.index, state.Envelope{Command: state.ReportIronic{Nodes: nodes}})
}

func (w *world) reported() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports
}

func (w *world) snap() *state.Snapshot { s, _ := w.store.Snapshot(); return s }

func (w *world) node(i int) *state.Node {
	w.t.Helper()
	n, ok := w.snap().Node(nodeUUID(i))
	if !ok {
		w.t.Fatalf("node %d is not in the state", i)
	}
	return n
}

// enroller is a new leader's: it remembers nothing.
func (w *world) enroller() *Enroller {
	e := New(Config{Source: w.store, Report: w.report, Mesh: meshID, Poll: 4 * time.Millisecond, Period: 50 * time.Millisecond,
		Retry: 2 * time.Millisecond, RetryMax: 20 * time.Millisecond, Timeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.t.Cleanup(e.Close)
	return e
}

// until makes passes until cond holds.
func (w *world) until(e *Enroller, what string, cond func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			for _, n := range w.snap().Nodes() {
				w.t.Logf("%s: %+v", n.Name, n.Ironic)
			}
			w.t.Fatalf("not in time: %s; last requests %q", what, tail(w.ironic.Log(), 12))
		}
		_ = e.Do(w.t.Context(), w.snap())
	}
}

func tail(s []string, n int) []string { return s[max(0, len(s)-n):] }

func (w *world) enrolled() bool {
	for _, n := range w.snap().Nodes() {
		if n.Ironic != (state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "available"}) {
			return false
		}
	}
	return true
}

func (w *world) allGone() bool { return len(w.snap().Nodes()) == 0 }

// remove asks for all nodes to go, and lets the hypervisor be done with them.
func (w *world) remove(force bool) {
	w.t.Helper()
	w.apply(state.RemoveCluster{Name: "demo", Force: force})
	for _, n := range w.snap().Nodes() {
		w.apply(state.ReportHost{Hypervisor: "hv1", Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch,
			Status: state.HostStatus{Phase: state.HostGone}}}})
	}
}
