package hostops

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self = "peer-1"

// env is a host with its surroundings.
type env struct {
	t       *testing.T
	state   *state.Store
	links   *kernel
	nodes   *provider
	host    *Host
	config  Config
	cancel  context.CancelFunc
	running sync.WaitGroup

	// mu guards what follows.
	mu        sync.Mutex
	index     uint64
	reports   [][]state.NodeHostReport
	reportErr error
	notReady  error
	// noLeader makes a report wait for its context.
	noLeader bool
}

// newEnv opens a host without nodes. Nothing runs yet.
func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, state: state.New(), links: newKernel(), nodes: newProvider()}
	e.config = Config{Hypervisor: self, Mesh: mesh, Source: e.state, Report: e.report,
		Drivers: map[string]driver.Driver{"test": e.nodes}, Health: map[string]func() error{"test": e.nodes.healthy}, Links: e.links,
		Physnets: map[string]Physnet{"p1": {}, "p2": {}}, DB: filepath.Join(t.TempDir(), "host.db"), BootID: "boot-1",
		Ready: e.ready, Log: slog.New(slog.DiscardHandler)}
	for _, id := range []string{self, "peer-2"} {
		e.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: id, Name: id}})
	}
	e.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "c"}})
	e.open()
	t.Cleanup(e.close)
	return e
}

func (e *env) open() {
	e.t.Helper()
	h, err := Open(e.config)
	if err != nil {
		e.t.Fatal(err)
	}
	e.host = h
}

func (e *env) close() {
	if e.cancel != nil {
		e.cancel()
		e.running.Wait()
		e.cancel = nil
	}
	if e.host != nil {
		if err := e.host.Close(); err != nil {
			e.t.Error(err)
		}
		e.host = nil
	}
}

// run starts the reconciler; close ends it.
func (e *env) run() {
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.running.Go(func() {
		if err := e.host.Run(ctx); err != nil {
			e.t.Error(err)
		}
	})
}

// restart is an agent that ends and starts again.
func (e *env) restart() {
	e.t.Helper()
	e.close()
	e.open()
}

// rebootHost ends the agent and the host, and starts both again.
func (e *env) rebootHost() {
	e.t.Helper()
	e.close()
	e.nodes.crash()
	e.links.clear()
	e.config.BootID += "+"
	e.open()
}

func (e *env) apply(c state.Command) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.index++
	if err := e.state.Apply(e.index, state.Envelope{Command: c}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) report(ctx context.Context, nodes []state.NodeHostReport) error {
	e.mu.Lock()
	e.reports = append(e.reports, nodes)
	err, noLeader := e.reportErr, e.noLeader
	e.mu.Unlock()
	if noLeader {
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	e.apply(state.ReportHost{Hypervisor: self, Nodes: nodes})
	return nil
}

func (e *env) ready(*state.Node) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notReady
}

func (e *env) setReady(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notReady = err
}

func (e *env) setReportErr(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reportErr = err
}

func (e *env) setNoLeader(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noLeader = on
}

func (e *env) reported() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.reports)
}

// node declares a node; its UUID and name are the same.
func node(uuid string, physnets ...string) state.Node {
	n := state.Node{UUID: uuid, Name: uuid, Cluster: "c", LinkName: uuid,
		Machine: state.Machine{Driver: "test", MemoryMB: 512, VCPUs: 1, Physnets: physnets}}
	for i, p := range physnets {
		n.Ports = append(n.Ports, state.Port{MAC: macOf(uuid, i), Physnet: p})
	}
	return n
}

// macOf is an address that no other port has.
func macOf(uuid string, i int) string {
	sum := sha256.Sum256([]byte(uuid))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], byte(i))
}

// place creates nodes and places them here.
func (e *env) place(nodes ...state.Node) { e.placeOn(self, nodes...) }

func (e *env) placeOn(hypervisor string, nodes ...state.Node) {
	e.t.Helper()
	snap, _ := e.state.Snapshot()
	c, _ := snap.Cluster("c")
	e.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Expect: c.ModifyIndex, Create: nodes})
	var p state.PlaceNodes
	for i, n := range nodes {
		p.Placements = append(p.Placements, state.NodePlacement{UUID: n.UUID, Hypervisor: hypervisor,
			BMC: state.Endpoint{Address: "127.0.0.1", Port: int(e.index)*1000 + i}})
	}
	e.apply(p)
}

// change declares a node anew.
func (e *env) change(uuid string, memory uint64, restart bool) {
	e.t.Helper()
	n := e.node(uuid)
	snap, _ := e.state.Snapshot()
	c, _ := snap.Cluster("c")
	m := n.Machine
	m.MemoryMB = memory
	e.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Expect: c.ModifyIndex,
		Change: []state.NodeChange{{UUID: uuid, Machine: m, Ports: n.Ports, Restart: restart}}})
}

func (e *env) removeNode(uuid string) {
	e.t.Helper()
	e.apply(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: uuid}}})
}

func (e *env) node(uuid string) *state.Node {
	e.t.Helper()
	snap, _ := e.state.Snapshot()
	n, ok := snap.Node(uuid)
	if !ok {
		e.t.Fatalf("node %s is not in the state", uuid)
	}
	return n
}

// pass makes one pass with the newest snapshot and waits for its reports.
func (e *env) pass() error {
	snap, _ := e.state.Snapshot()
	err := e.host.Pass(e.t.Context(), snap)
	synctest.Wait()
	return err
}

func (e *env) mustPass() {
	e.t.Helper()
	if err := e.pass(); err != nil {
		e.t.Fatal(err)
	}
}

// phase fails the test unless a node's host phase is want.
func (e *env) phase(uuid string, want state.HostPhase) {
	e.t.Helper()
	if got := e.node(uuid).Host; got.Phase != want {
		e.t.Fatalf("node %s: host status %+v, want phase %q", uuid, got, want)
	}
}

func (e *env) chassis(uuid string) *Chassis {
	e.t.Helper()
	c, ok := e.host.Chassis(uuid)
	if !ok {
		e.t.Fatalf("node %s has no chassis", uuid)
	}
	return c
}

// power asks for a power change and fails the test on an error.
func (e *env) power(uuid string, a state.PowerAction) {
	e.t.Helper()
	if err := e.chassis(uuid).Power(e.t.Context(), a); err != nil {
		e.t.Fatalf("power %s: %v", a, err)
	}
}

// elapse lets fake time pass.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// simulate runs a test with a fake clock on a host of its own.
func simulate(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		test(t, e)
		e.close()
	})
}
