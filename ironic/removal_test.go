package ironic

import (
	"context"
	"strings"
	"testing"
	"time"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestActiveNodesAreNotRemovedWithoutForce(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "active", "instance_uuid": "i"})
	w.remove(false)
	w.ironic.ResetLog()
	const want = "node tk0 is active in Ironic: undeploy it or use --force"
	w.until(e, "the idle node is gone and the active one refused", func() bool {
		return len(w.snap().Nodes()) == 1 && w.node(0).Ironic.Error == want
	})
	for _, write := range w.ironic.Writes() {
		if strings.Contains(write, nodeUUID(0)) {
			t.Errorf("wrote %q to the active node", write)
		}
	}
	// Its user undeploys it; then it goes by itself.
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "available", "instance_uuid": nil})
	w.until(e, "gone", w.allGone)
}

func TestForceUndeploysThenDeletes(t *testing.T) {
	for name, opts := range map[string]ironictest.Options{
		"without cleaning": {Undeploy: 5 * time.Millisecond},
		"cleaning that would take an hour is aborted": {Undeploy: 5 * time.Millisecond, Clean: time.Hour, AutomatedClean: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, ironictest.Options{})
			e := w.enroller()
			w.until(e, "enrolled", w.enrolled)
			slow := ironictest.Start(t, opts)
			slow.Set(nodeUUID(0), w.ironic.Node(nodeUUID(0)))
			slow.Set(nodeUUID(0), map[string]any{"provision_state": "active", "instance_uuid": "i"})
			w.access = state.IronicAccess{Endpoint: slow.URL(), Auth: "none"}
			w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex()})
			w.remove(true)
			if opts.AutomatedClean {
				// The conductor is waiting for the ramdisk to call back.
				slow.Set(nodeUUID(0), map[string]any{"provision_state": "clean wait", "target_provision_state": "available", "instance_uuid": nil})
			}
			w.until(e, "gone", w.allGone)
			writes := strings.Join(slow.Writes(), "\n")
			if slow.Node(nodeUUID(0)) != nil || !strings.Contains(writes, "/states/provision") {
				t.Errorf("node %v after %s", slow.Node(nodeUUID(0)), writes)
			}
		})
	}
}

func TestNodesLeaveEveryStateUnderForce(t *testing.T) {
	for _, from := range []string{stEnroll, stManageable, stAvailable, stActive, stDeployWait, stDeployFailed, stError,
		stCleanWait, stCleanFailed, stInspectWait, stInspectFailed, stAdoptFailed, stRescue, stRescueFailed} {
		t.Run(from, func(t *testing.T) {
			w := newWorld(t, 1, ironictest.Options{})
			e := w.enroller()
			w.until(e, "enrolled", w.enrolled)
			w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": from, "last_error": "it broke"})
			w.remove(true)
			w.until(e, "gone", w.allGone)
			if got := w.ironic.Nodes(); len(got) != 0 {
				t.Errorf("left: %v", got)
			}
		})
	}
}

func TestNodesThatNeverGotToIronicGoWithoutIt(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	w.ironic.Down()
	w.remove(false)
	w.until(w.enroller(), "gone", w.allGone)
}

func TestRemovalWaitsForAnIronicThatIsDown(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Down()
	w.remove(false)
	w.until(e, "the reason is reported", func() bool {
		return strings.HasSuffix(w.node(0).Ironic.Error, "connection refused; will retry")
	})
	if err := w.ironic.Up(); err != nil {
		t.Fatal(err)
	}
	w.until(e, "gone", w.allGone)
	if got := w.ironic.Nodes(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestForgottenNodesKeepTheirRecord(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.ResetLog()
	w.apply(state.RemoveCluster{Name: "demo", Forget: true})
	if err := e.Do(t.Context(), w.snap()); err != nil {
		t.Fatal(err)
	}
	if writes := w.ironic.Writes(); len(writes) != 0 || len(w.ironic.Nodes()) != 1 {
		t.Errorf("writes %q, nodes %v", writes, w.ironic.Nodes())
	}
}

func TestRemovableNamesTheNodesInUse(t *testing.T) {
	w := newWorld(t, 4, ironictest.Options{})
	if got, err := Removable(t.Context(), w.access, w.snap().Nodes()); err != nil || len(got) != 0 || len(w.ironic.Log()) != 0 {
		t.Errorf("before enrolment: %v, %v, requests %q; want none of them", got, err, w.ironic.Log())
	}
	w.until(w.enroller(), "enrolled", w.enrolled)
	w.ironic.Set(nodeUUID(1), map[string]any{"provision_state": "active"})
	w.ironic.Set(nodeUUID(2), map[string]any{"instance_uuid": "i-1"})
	w.ironic.Set(nodeUUID(3), map[string]any{"provision_state": "active", "extra": map[string]any{}})
	got, err := Removable(t.Context(), w.access, w.snap().Nodes())
	if err != nil || len(got) != 2 ||
		got[nodeUUID(1)] != "node tk1 is active in Ironic: undeploy it or use --force" ||
		got[nodeUUID(2)] != "node tk2 has instance i-1 in Ironic: undeploy it or use --force" {
		t.Errorf("Removable = %v, %v", got, err)
	}
	w.ironic.Down()
	if _, err := Removable(t.Context(), w.access, w.snap().Nodes()); err == nil ||
		err.Error() != "ironic "+w.ironic.URL()+": connection refused" {
		t.Errorf("while Ironic is down: %v", err)
	}
}

func TestAPassEndsSoonWhenItsContextDoes(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{Latency: 3 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := w.enroller().Do(ctx, w.snap()); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("Do = %v after %v", err, time.Since(start))
	}
	if got := w.node(0).Ironic; got != (state.IronicStatus{}) {
		t.Errorf("the end of leadership was reported as a failure of Ironic: %+v", got)
	}
}
