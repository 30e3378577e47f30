package ironic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestEnrolWritesTheWholeRecordBeforeManage(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{Verify: 5 * time.Millisecond, Clean: 10 * time.Millisecond, AutomatedClean: true})
	w.until(w.enroller(), "enrolled", w.enrolled)

	got := w.ironic.Node(nodeUUID(0))
	for field, want := range map[string]any{
		"name": "tk0", "driver": "ipmi", "resource_class": "baremetal", "conductor_group": "rack1", "description": "a test node",
		"network_interface": "noop", "provision_state": "available",
		"driver_info": map[string]any{"ipmi_address": "127.0.0.1", "ipmi_port": 6230.0, "ipmi_username": "admin", "ipmi_password": bmcPassword,
			"deploy_kernel": "http://192.0.2.1/kernel", "deploy_ramdisk": "http://192.0.2.1/ramdisk"},
		"properties": map[string]any{"cpus": 2.0, "memory_mb": 4096.0, "local_gb": 20.0, "cpu_arch": "x86_64",
			"capabilities": "boot_mode:uefi,x:y", "rack": "r1"},
		"traits": []any{"CUSTOM_A", "CUSTOM_GPU"},
	} {
		if diff := cmp.Diff(want, got[field]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", field, diff)
		}
	}
	mark, _ := got["extra"].(map[string]any)["tenks"].(map[string]any)
	if mark["mesh"] != meshID || mark["cluster"] != "demo" || mark["epoch"] != float64(w.node(0).Placement.Epoch) {
		t.Errorf("extra.tenks = %v", mark)
	}
	for i, p := range w.ironic.Ports(nodeUUID(0)) {
		want := map[string]any{"switch_id": fmt.Sprintf("02:00:00:00:00:0%d", i+1), "switch_info": fmt.Sprintf("brtenks%d", i),
			"port_id": fmt.Sprintf("p-n0-%d-br", i)}
		if diff := cmp.Diff(want, p["local_link_connection"]); diff != "" || p["physical_network"] != fmt.Sprintf("physnet%d", i+1) ||
			p["address"] != mac(0, i) || p["pxe_enabled"] != true {
			t.Errorf("port %d = %v", i, p)
		}
	}
	node := "/v1/nodes/" + nodeUUID(0)
	want := []string{"POST /v1/nodes", "PUT " + node + "/traits", "POST /v1/ports", "POST /v1/ports",
		"PUT " + node + "/states/provision", "PUT " + node + "/states/provision"}
	if diff := cmp.Diff(want, w.ironic.Writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestEnrolledNodesAreNotWrittenToAgain(t *testing.T) {
	w := newWorld(t, 3, ironictest.Options{})
	w.until(w.enroller(), "enrolled", w.enrolled)
	for name, e := range map[string]*Enroller{"the same leader": w.enroller(), "a new leader": w.enroller()} {
		w.ironic.ResetLog()
		before := w.reported()
		for range 3 {
			if err := e.Do(t.Context(), w.snap()); err != nil {
				t.Fatal(err)
			}
		}
		if writes := w.ironic.Writes(); len(writes) != 0 {
			t.Errorf("%s wrote %q", name, writes)
		}
		if got := w.ironic.Log(); len(got) != 6 {
			t.Errorf("%s: 3 passes over 3 nodes made %d requests, want 6: %q", name, len(got), got)
		}
		if n := w.reported() - before; n != 0 {
			t.Errorf("%s proposed %d reports", name, n)
		}
	}
}

func TestListsLongerThanAPageAreReadWhole(t *testing.T) {
	w := newWorld(t, 7, ironictest.Options{MaxPage: 2})
	w.until(w.enroller(), "enrolled", w.enrolled)
	w.ironic.ResetLog()
	if err := w.enroller().Do(t.Context(), w.snap()); err != nil {
		t.Fatal(err)
	}
	if writes := w.ironic.Writes(); len(writes) != 0 {
		t.Errorf("wrote %q", writes)
	}
}

// Whatever call the leader dies at, and whether or not the call had its effect, the
// next leader ends with the same nodes.
func TestEnrolmentAndRemovalConvergeAfterACrashAtAnyCall(t *testing.T) {
	opts := ironictest.Options{Verify: time.Millisecond, Clean: time.Millisecond, AutomatedClean: true}
	for _, fault := range []ironictest.Fault{ironictest.CutBefore, ironictest.CutAfter} {
		for k := 1; ; k++ {
			w := newWorld(t, 2, opts)
			enrolling := crashAt(w, k, fault, w.enrolled)
			w.until(w.enroller(), fmt.Sprintf("enrolled after a crash at call %d", k), w.enrolled)
			if nodes, ports := w.ironic.Nodes(), w.ironic.Ports(""); len(nodes) != 2 || len(ports) != 4 {
				t.Fatalf("crash at call %d: nodes %v, %d ports; want 2 and 4", k, nodes, len(ports))
			}
			w.remove(false)
			removing := crashAt(w, k, fault, w.allGone)
			w.until(w.enroller(), fmt.Sprintf("gone after a crash at call %d", k), w.allGone)
			if nodes := w.ironic.Nodes(); len(nodes) != 0 || len(w.ironic.Ports("")) != 0 {
				t.Fatalf("crash at call %d: left in Ironic: %v", k, nodes)
			}
			if !enrolling && !removing {
				t.Logf("fault %d: tried every call up to %d", fault, k-1)
				break
			}
			if k > 500 {
				t.Fatal("the number of calls does not end")
			}
		}
	}
}

// crashAt runs a leader that dies at the k-th call; false if it was done before.
func crashAt(w *world, k int, fault ironictest.Fault, done func() bool) bool {
	ctx, die := context.WithCancel(w.t.Context())
	defer die()
	w.ironic.Intercept(func(n int, _, _ string) ironictest.Fault {
		if n < k {
			return ironictest.None
		}
		die()
		if n == k {
			return fault
		}
		return ironictest.CutBefore
	})
	defer w.ironic.Intercept(nil)
	e := w.enroller()
	defer e.Close()
	for ctx.Err() == nil && !done() {
		_ = e.Do(ctx, w.snap())
	}
	return ctx.Err() != nil
}

func TestIronicThatIsDownIsNamedAndEnrolmentFinishesOnceItIsBack(t *testing.T) {
	w := newWorld(t, 4, ironictest.Options{})
	w.ironic.Down()
	e := w.enroller()
	want := "ironic " + w.ironic.URL() + ": connection refused; will retry"
	w.until(e, "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
	for i := range 4 {
		n := w.node(i)
		phase, reason := n.Phase()
		if n.Ironic.Phase != "" || phase != state.PhaseReady || reason != want {
			t.Errorf("node %d: %+v shows %s, %q; want ready and the reason", i, n.Ironic, phase, reason)
		}
	}
	before := w.reported()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range 30 {
		<-tick.C
		if err := e.Do(t.Context(), w.snap()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.reported() - before; n != 0 {
		t.Errorf("an Ironic that stays down made %d more reports", n)
	}
	if err := w.ironic.Up(); err != nil {
		t.Fatal(err)
	}
	w.until(e, "enrolled", w.enrolled)
}

func TestRunPollsFasterThanItsPeriodAndEndsWithItsContext(t *testing.T) {
	w := newWorld(t, 3, ironictest.Options{Verify: 20 * time.Millisecond})
	e := New(Config{Source: w.store, Report: w.report, Mesh: meshID, Poll: 4 * time.Millisecond, Period: time.Hour, Retry: 2 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	wait(t, "enrolled", w.enrolled)

	// Nothing changes, so Ironic is left in peace.
	wait(t, "quiet", func() bool {
		before := len(w.ironic.Log())
		<-time.After(30 * time.Millisecond) // how long "nothing" has to last
		return len(w.ironic.Log()) == before
	})
	w.remove(false)
	wait(t, "gone", w.allGone)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunNeitherSpinsNorForgetsWhenReportsFail(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	refuse := func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reportErr = err
	}
	refuse(errors.New("no leader"))
	e := New(Config{Source: w.store, Report: w.report, Mesh: meshID, Poll: 4 * time.Millisecond, Period: time.Hour, Retry: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	<-time.After(100 * time.Millisecond) // how long "no spinning" has to last
	if n := len(w.ironic.Log()); n == 0 || n > 14 {
		t.Errorf("%d requests in 100 ms with a retry of 20 ms", n)
	}
	refuse(nil)
	wait(t, "enrolled", w.enrolled)
	cancel()
	<-ended
}

func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestNothingIsMadeInIronicBeforeItIsAnnounced(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	w.reportErr = errors.New("no leader")
	if err := w.enroller().Do(t.Context(), w.snap()); err == nil {
		t.Error("Do = nil, want the error of Report")
	}
	if writes := w.ironic.Writes(); len(writes) != 0 {
		t.Errorf("wrote %q", writes)
	}
}

func TestForeignObjectsAreNamedAndNeverTouched(t *testing.T) {
	foreign := "ffffffff-0000-4000-8000-000000000001"
	for name, c := range map[string]struct {
		prepare func(*ironictest.Ironic)
		want    string
	}{
		"a node with our UUID": {
			func(i *ironictest.Ironic) { i.Set(nodeUUID(0), map[string]any{"name": "theirs"}) },
			"Ironic has a node " + nodeUUID(0) + " (theirs) with this UUID that is not of this mesh: it is left alone",
		},
		"a node with our UUID of another mesh": {
			func(i *ironictest.Ironic) {
				i.Set(nodeUUID(0), map[string]any{"name": "theirs", "extra": map[string]any{"tenks": map[string]any{"mesh": "other"}}})
			},
			"Ironic has a node " + nodeUUID(0) + " (theirs) with this UUID that is not of this mesh: it is left alone",
		},
		"a node with our name": {
			func(i *ironictest.Ironic) { i.Set(foreign, map[string]any{"name": "tk0"}) },
			"Ironic has another node named tk0 (" + foreign + "): it is left alone",
		},
		"a port with our MAC": {
			func(i *ironictest.Ironic) {
				i.Set(foreign, map[string]any{"name": "theirs"})
				i.AddPort(foreign, mac(0, 1))
			},
			"Ironic has MAC " + mac(0, 1) + " on node theirs (" + foreign + "): it is left alone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, ironictest.Options{})
			c.prepare(w.ironic)
			before := snapshotOf(w.ironic, foreign, nodeUUID(0))
			e := w.enroller()
			w.until(e, "the other node is enrolled", func() bool { return w.node(1).Ironic.Phase == state.IronicEnrolled })
			if got := w.node(0).Ironic; got.Error != c.want {
				t.Errorf("status = %+v, want error %q", got, c.want)
			}
			if diff := cmp.Diff(before, snapshotOf(w.ironic, foreign, nodeUUID(0))); diff != "" {
				t.Errorf("the foreign object changed:\n%s", diff)
			}
			w.remove(true)
			w.until(e, "gone", w.allGone)
			if diff := cmp.Diff(before, snapshotOf(w.ironic, foreign, nodeUUID(0))); diff != "" {
				t.Errorf("removal changed the foreign object:\n%s", diff)
			}
		})
	}
}

func snapshotOf(i *ironictest.Ironic, uuids ...string) []any {
	var out []any
	for _, uuid := range uuids {
		out = append(out, i.Node(uuid), i.Ports(uuid))
	}
	return out
}

func TestFailedVerificationIsReportedAndRetriedWithBackoff(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	w.ironic.FailVerify(nodeUUID(0), "Failed to get power state: IPMI timeout")
	e := w.enroller()
	const want = "node tk0 is enroll in Ironic: Failed to get power state: IPMI timeout"
	w.until(e, "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
	w.until(e, "the other node is enrolled", func() bool { return w.node(1).Ironic.Phase == state.IronicEnrolled })

	w.ironic.ResetLog()
	start := time.Now()
	w.until(e, "some time has passed", func() bool { return time.Since(start) > 100*time.Millisecond })
	// Of 100 ms, backoff of at least 16 ms leaves room for 7 attempts.
	if n := len(w.ironic.Writes()); n == 0 || n > 8 {
		t.Errorf("%d attempts in 100 ms with a longest backoff of 20 ms", n)
	}
	if got := w.node(0).Ironic.Error; got != want {
		t.Errorf("while it is retried the status says %q, want %q", got, want)
	}
	w.ironic.FailVerify(nodeUUID(0), "")
	w.until(e, "enrolled", w.enrolled)
}

// Verification that takes longer than the backoff: its reason is seen all the same,
// and Ironic gets its rest after it.
func TestSlowlyFailingVerificationIsReportedAtOnce(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{Verify: 40 * time.Millisecond})
	w.ironic.FailVerify(nodeUUID(0), "IPMI timeout")
	e := w.enroller()
	w.until(e, "the reason is reported", func() bool { return strings.HasSuffix(w.node(0).Ironic.Error, "IPMI timeout") })
	manages := slices.DeleteFunc(w.ironic.Writes(), func(s string) bool { return !strings.HasSuffix(s, "/provision") })
	if len(manages) != 1 {
		t.Errorf("%d attempts before the first failure was reported, want 1", len(manages))
	}
	// A changed declaration is reason to try at once.
	w.ironic.FailVerify(nodeUUID(0), "")
	change := changeOf(w.node(0))
	change.BMC.Password = state.NewSecret("another-password")
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex(), Change: []state.NodeChange{change}})
	w.until(e, "enrolled", w.enrolled)
}

func TestAChangeThatIronicDoesNotKeepIsNotRepeatedHotly(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Drop("/properties/rack")
	w.ironic.Set(nodeUUID(0), map[string]any{"properties": map[string]any{}})
	w.ironic.ResetLog()
	const want = "node tk0: Ironic does not keep change /properties/rack"
	start := time.Now()
	w.until(e, "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
	w.until(e, "some time has passed", func() bool { return time.Since(start) > 100*time.Millisecond })
	if n := len(w.ironic.Writes()); n > 12 {
		t.Errorf("%d writes in 100 ms", n)
	}
	w.ironic.Drop()
	w.until(e, "enrolled", w.enrolled)
}

func TestDeclaredChangesAreMadeWithTheSmallestPatch(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.ResetLog()

	change := changeOf(w.node(0))
	change.Machine.MemoryMB = 8192
	enrol := *change.Enrol
	enrol.Properties, enrol.Interfaces, enrol.Traits = nil, nil, []string{"CUSTOM_B"}
	change.Enrol = &enrol
	change.DeployRamdisk = ""
	change.BMC.Password = state.NewSecret("another-password")
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex(), Change: []state.NodeChange{change}})
	w.until(e, "the new password arrived", func() bool {
		return w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any)["ipmi_password"] == "another-password"
	})
	got := w.ironic.Node(nodeUUID(0))
	if diff := cmp.Diff(map[string]any{"cpus": 2.0, "memory_mb": 8192.0, "local_gb": 20.0, "cpu_arch": "x86_64",
		"capabilities": "boot_mode:uefi"}, got["properties"]); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if _, has := got["driver_info"].(map[string]any)["deploy_ramdisk"]; has || got["network_interface"] == "noop" {
		t.Errorf("what is no longer declared is still there: %v %v", got["driver_info"], got["network_interface"])
	}
	if diff := cmp.Diff([]any{"CUSTOM_B"}, got["traits"]); diff != "" {
		t.Errorf("traits:\n%s", diff)
	}
	if n := len(w.ironic.Writes()); n != 2 {
		t.Errorf("writes = %q, want a patch and the traits", w.ironic.Writes())
	}
	w.ironic.ResetLog()
	if err := w.enroller().Do(t.Context(), w.snap()); err != nil || len(w.ironic.Writes()) != 0 {
		t.Errorf("after the change: %v, writes %q", err, w.ironic.Writes())
	}
}

func (w *world) clusterIndex() uint64 {
	c, _ := w.snap().Cluster("demo")
	return c.ModifyIndex
}

func changeOf(n *state.Node) state.NodeChange {
	return state.NodeChange{UUID: n.UUID, Spec: n.Spec, Machine: n.Machine, Enrol: n.Enrol, DeployKernel: n.DeployKernel,
		DeployRamdisk: n.DeployRamdisk, Ports: n.Ports, BMC: n.BMC}
}

func TestMovedLinksAreChangedInMaintenanceThatEnds(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.until(w.enroller(), "enrolled", w.enrolled)
	n := w.node(0)
	links := slices.Clone(n.Host.Links)
	links[1].BridgeMAC = "02:00:00:00:00:99"
	w.apply(state.ReportHost{Hypervisor: "hv1", Nodes: []state.NodeHostReport{{UUID: n.UUID, Epoch: n.Placement.Epoch,
		Status: state.HostStatus{Phase: state.HostReady, Links: links}}}})
	w.ironic.ResetLog()
	w.until(w.enroller(), "the link is as it is", func() bool {
		return w.ironic.Ports(n.UUID)[1]["local_link_connection"].(map[string]any)["switch_id"] == "02:00:00:00:00:99"
	})
	if got := w.ironic.Node(n.UUID); got["maintenance"] != false || got["provision_state"] != "available" {
		t.Errorf("maintenance %v, state %v; want false, available", got["maintenance"], got["provision_state"])
	}
	if n := len(w.ironic.Writes()); n != 3 {
		t.Errorf("writes = %q, want maintenance on, port, maintenance off", w.ironic.Writes())
	}
}

func TestWhatIronicRefusesOfAnActiveNodeIsSaidAndNotTriedAgain(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "active"})
	change := changeOf(w.node(0))
	enrol := *change.Enrol
	enrol.ResourceClass = "other"
	change.Enrol = &enrol
	w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex(), Change: []state.NodeChange{change}})
	w.ironic.ResetLog()
	const want = "node tk0 is active in Ironic, which refuses to change resource_class: it is done once the node is available"
	w.until(e, "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
	for range 5 {
		if err := e.Do(t.Context(), w.snap()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.node(0).Ironic; got.Phase != state.IronicEnrolled || got.ProvisionState != "active" {
		t.Errorf("status = %+v, want enrolled, active", got)
	}
	if writes := w.ironic.Writes(); len(writes) != 0 {
		t.Errorf("wrote %q", writes)
	}
}

func TestLockedNodesAreTriedAgainWithoutAnError(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "created", func() bool {
		w.ironic.LockNext(nodeUUID(0), 3)
		return len(w.ironic.Nodes()) == 1
	})
	if got := w.node(0).Ironic; got.Error != "" || got.Phase != state.IronicEnrolling {
		t.Errorf("status = %+v, want enrolling without an error", got)
	}
	w.until(e, "enrolled", w.enrolled)
}

func TestARefusalIsTheNodesAloneAndIsRetried(t *testing.T) {
	w := newWorld(t, 3, ironictest.Options{})
	w.ironic.FailNext(http.StatusBadRequest, "No valid host was found")
	e := w.enroller()
	refused := func() (out []string) {
		for _, n := range w.snap().Nodes() {
			if n.Ironic.Error != "" {
				out = append(out, n.Name+": "+n.Ironic.Error)
			}
		}
		return out
	}
	if err := e.Do(t.Context(), w.snap()); err != nil {
		t.Fatal(err)
	}
	if got := refused(); len(got) != 1 || !strings.HasSuffix(got[0], "create: No valid host was found (HTTP 400)") {
		t.Errorf("refused = %q, want one node with Ironic's words", got)
	}
	w.until(e, "enrolled", w.enrolled)
}

func TestDeletedRecordsAreMadeAnewAndManageableOnesAreLeftToTheirUser(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Forget(nodeUUID(0))
	w.ironic.Set(nodeUUID(1), map[string]any{"provision_state": "manageable"})
	w.until(e, "made anew", func() bool {
		return w.ironic.Node(nodeUUID(0)) != nil && w.node(0).Ironic.ProvisionState == "available"
	})
	if got := w.node(1).Ironic; got.Phase != state.IronicEnrolled || got.ProvisionState != "manageable" {
		t.Errorf("status = %+v, want enrolled, manageable", got)
	}
}

func TestParallelIsBoundAndUsed(t *testing.T) {
	w := newWorld(t, 24, ironictest.Options{Latency: 4 * time.Millisecond})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	if most := w.ironic.MostAtOnce(); most < 5 || most > 8 {
		t.Errorf("most requests at once = %d, want up to 8", most)
	}
}

func TestNoSecretGetsIntoLogsOrStatuses(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	w.ironic.FailNext(http.StatusBadRequest, "driver_info: ipmi_password="+bmcPassword+" is too good")
	e := w.enroller()
	var statuses []string
	w.until(e, "enrolled", func() bool {
		for _, n := range w.snap().Nodes() {
			statuses = append(statuses, n.Ironic.Error)
		}
		return w.enrolled()
	})
	all := strings.Join(statuses, "\n")
	if !strings.Contains(all, "ipmi_password=(hidden) is too good") {
		t.Errorf("the refusal was not reported: %q", slices.Compact(statuses))
	}
	if logs := w.logs.String(); strings.Contains(all+logs, bmcPassword) || logs == "" {
		t.Errorf("secret in:\n%s\n%s", all, logs)
	}
	extra := fmt.Sprint(w.ironic.Node(nodeUUID(0))["extra"])
	if strings.Contains(extra, bmcPassword) {
		t.Errorf("secret in extra: %s", extra)
	}
}

// That requests are under way together is counted, not timed: on a loaded machine all of it
// may take longer than one request after the other does elsewhere.
func TestHundredNodesAreEnrolledSideBySide(t *testing.T) {
	const nodes = 100
	w := newWorld(t, nodes, ironictest.Options{Latency: 10 * time.Millisecond})
	start := time.Now()
	w.until(w.enroller(), "enrolled", w.enrolled)
	writes := len(w.ironic.Writes())
	t.Logf("%d nodes, %d writes, at most %d requests at once: %v", nodes, writes, w.ironic.MostAtOnce(), time.Since(start))
	if writes > 6*nodes {
		t.Errorf("%d writes for %d nodes, want at most 6 each", writes, nodes)
	}
	if most := w.ironic.MostAtOnce(); most < 5 {
		t.Errorf("most requests at once = %d, want 5 or more", most)
	}
}

func TestKeysOfTheRecordAreStable(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.until(w.enroller(), "enrolled", w.enrolled)
	mark := w.ironic.Node(nodeUUID(0))["extra"].(map[string]any)["tenks"].(map[string]any)
	want := []string{"bmc_check", "capabilities", "cluster", "epoch", "managed", "mesh"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(mark))); diff != "" {
		t.Errorf("extra.tenks (-want +got):\n%s", diff)
	}
}
