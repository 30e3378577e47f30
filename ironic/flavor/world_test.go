package flavor

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenks/ironic/novatest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const meshID = "6c9e1d2a-0000-4000-8000-000000000001"

// world is a replicated state with clusters, and the cloud that they name.
type world struct {
	t      *testing.T
	cloud  *novatest.Cloud
	access state.IronicAccess
	logs   bytes.Buffer

	// mu serialises Apply, as Raft does.
	mu        sync.Mutex
	store     *state.Store
	index     uint64
	reports   int
	reportErr error
}

func newWorld(t *testing.T, opts novatest.Options) *world {
	w := &world{t: t, cloud: novatest.Start(t, opts), store: state.New()}
	w.access = state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: state.NewSecret(w.cloud.CloudsYAML(novatest.Password))}
	return w
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

func (w *world) clusterOf(name string) *state.Cluster {
	snap, _ := w.store.Snapshot()
	c, _ := snap.Cluster(name)
	return c
}

// declare applies a cluster with these flavors.
func (w *world) declare(name string, flavors ...state.Flavor) {
	w.t.Helper()
	expect := uint64(0)
	if c := w.clusterOf(name); c != nil {
		expect = c.ModifyIndex
	}
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: name, Ironic: &w.access, Flavors: flavors}, Expect: expect})
}

func (w *world) report(_ context.Context, clusters []state.ClusterFlavorReport) error {
	w.mu.Lock()
	w.reports++
	err := w.reportErr
	w.mu.Unlock()
	if err == nil {
		w.apply(state.ReportFlavors{Clusters: clusters})
	}
	return err
}

func (w *world) keeper() *Keeper {
	k := New(Config{Source: w.store, Report: w.report, Mesh: meshID, Log: slog.New(slog.NewTextHandler(&w.logs, nil))})
	w.t.Cleanup(k.Close)
	return k
}

// look makes one pass, due or not.
func (w *world) look(k *Keeper) error {
	for _, s := range k.sites {
		s.next, s.down = time.Time{}, false
	}
	snap, _ := w.store.Snapshot()
	return k.pass(w.t.Context(), snap)
}

// settle makes passes until all clusters' flavors are as declared.
func (w *world) settle(k *Keeper) {
	w.t.Helper()
	var why string
	for range 10 {
		if err := w.look(k); err != nil {
			w.t.Fatal(err)
		}
		settled := true
		snap, _ := w.store.Snapshot()
		for _, c := range snap.Clusters() {
			ok, reason := c.FlavorsSettled()
			settled, why = settled && ok, why+reason
		}
		if settled {
			return
		}
	}
	w.t.Fatalf("not settled after 10 passes: %s", why)
}

// problem is what is wrong with a cluster's flavors.
func (w *world) problem(name string) string {
	w.t.Helper()
	_, why := w.clusterOf(name).FlavorsSettled()
	if all := why + w.logs.String(); strings.Contains(all, "planted") {
		w.t.Errorf("a secret is in the status or the log:\n%s", all)
	}
	return why
}

var (
	small = state.Flavor{Name: "small", ResourceClass: "my.small-1", MemoryMB: 4096, VCPUs: 2, DiskGB: 18}
	large = state.Flavor{Name: "large", ResourceClass: "LARGE", MemoryMB: 8192, VCPUs: 4, DiskGB: 40, EphemeralGB: 4, SwapMB: 512,
		RequiredTraits: []string{"CUSTOM_GPU", "HW_CPU_X86_VMX"}, ForbiddenTraits: []string{"CUSTOM_OLD"},
		CustomSpecs: map[string]string{"capabilities:boot_option": "local", "a b": "c"}}
)

func changed(f state.Flavor, change func(*state.Flavor)) state.Flavor {
	change(&f)
	return f
}
