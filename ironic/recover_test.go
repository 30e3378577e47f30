package ironic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func cleaned() ironictest.Options {
	return ironictest.Options{Verify: time.Millisecond, Clean: 2 * time.Millisecond, AutomatedClean: true}
}

func (w *world) verbs() []string {
	return slices.DeleteFunc(w.ironic.Writes(), func(s string) bool { return !strings.HasSuffix(s, "/states/provision") })
}

// well reports whether the node is enrolled, and no try to recover it is counted any longer.
func (w *world) well() bool {
	extra, _ := w.ironic.Node(nodeUUID(0))["extra"].(map[string]any)
	mark, _ := extra["tenks"].(map[string]any)
	return w.enrolled() && mark["recovery"] == nil
}

func TestAFailedCleaningIsRecoveredInAFewTries(t *testing.T) {
	w := newWorld(t, 1, cleaned())
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover = true })
	w.ironic.FailClean(nodeUUID(0), "no answer", "no answer")
	w.until(w.enroller(), "enrolled", w.well)
	got := w.ironic.Node(nodeUUID(0))
	if got["maintenance"] != false || got["fault"] != nil {
		t.Errorf("maintenance %v, fault %v", got["maintenance"], got["fault"])
	}
	if mark := got["extra"].(map[string]any)["tenks"].(map[string]any); mark["recovery"] != nil {
		t.Errorf("still counted: %v", mark["recovery"])
	}
	w.quiet()
}

func TestANodeThatDoesNotGetWellIsLeftAfterAFewTries(t *testing.T) {
	w := newWorld(t, 1, cleaned())
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover = true })
	w.ironic.FailClean(nodeUUID(0), "1", "2", "3", "4")
	const want = "node tk0 is clean failed in Ironic: 4; not well after 3 tries: tenks node recover tk0 tries again"
	given := func() bool { return w.node(0).Ironic.Error == want }
	w.until(w.enroller(), "it is given up", given)
	// manage, provide, and three times both again. A new leader does not begin anew.
	if n := len(w.verbs()); n != 8 {
		t.Errorf("%d changes of state, want 8: %q", n, w.verbs())
	}
	w.quiet()
	w.apply(state.RecoverNodes{Nodes: []string{nodeUUID(0)}})
	w.until(w.enroller(), "recovered", w.enrolled)
	w.quiet()
}

func TestWithoutRecoverAFailureIsReportedUntilSomebodyAsks(t *testing.T) {
	w := newWorld(t, 1, cleaned())
	w.ironic.FailClean(nodeUUID(0), "no answer")
	const want = "node tk0 is clean failed in Ironic: no answer; tenks node recover tk0 tries again"
	e := w.enroller()
	w.until(e, "it is reported", func() bool { return w.node(0).Ironic.Error == want })
	w.quiet()
	w.apply(state.RecoverNodes{Nodes: []string{nodeUUID(0)}})
	w.until(e, "recovered", w.enrolled)
	w.quiet()
	// What was asked for once is not done another time.
	w.ironic.FailClean(nodeUUID(0), "again")
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "clean failed", "last_error": "again"})
	w.until(e, "it is reported again", func() bool { return strings.Contains(w.node(0).Ironic.Error, "again; tenks node recover") })
	w.quiet()
}

func TestFailedStatesAreLeftByTheirWays(t *testing.T) {
	for failed, verbs := range map[string]int{"error": 1, "deploy failed": 1, "inspect failed": 2, "adopt failed": 2, "clean failed": 2,
		"rescue failed": 1, "unrescue failed": 1} {
		t.Run(failed, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, cleaned())
			e := w.enroller()
			w.until(e, "enrolled", w.enrolled)
			w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": failed, "last_error": "broken"})
			want := "node tk0 is " + failed + " in Ironic: broken; tenks node recover tk0 tries again"
			w.until(e, "it is reported", func() bool { return w.node(0).Ironic.Error == want })
			w.quiet()
			w.ironic.ResetLog()
			w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover = true })
			recovered := func() bool { return w.wellAgain(failed) }
			if failed == "adopt failed" { // somebody's workload is on it: it is cleaned if that is asked for, only
				w.quiet()
				w.apply(state.RecoverNodes{Nodes: []string{nodeUUID(0)}})
				recovered = w.enrolled // that it was asked for is remembered
			}
			w.until(e, "recovered", func() bool { return len(w.verbs()) == verbs && recovered() })
			if got := w.verbs(); len(got) != verbs {
				t.Errorf("verbs %q, want %d", got, verbs)
			}
			w.quiet()
		})
	}
}

// wellAgain reports whether the node is where recovery takes it, and nothing is counted.
func (w *world) wellAgain(failed string) bool {
	if !strings.Contains(failed, "rescue") {
		return w.well()
	}
	mark, _ := w.ironic.Node(nodeUUID(0))["extra"].(map[string]any)["tenks"].(map[string]any)
	return w.node(0).Ironic == state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "active"} && mark["recovery"] == nil
}

// An aborted rescue can put the node into maintenance, in which Ironic does not unrescue it.
func TestARescueThatFailedInMaintenanceIsReportedUntilThatEnds(t *testing.T) {
	w := newWorld(t, 1, cleaned())
	w.until(w.enroller(), "enrolled", w.enrolled)
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "rescue failed", "target_provision_state": "rescue", "last_error": "broken",
		"maintenance": true, "maintenance_reason": "no clean-up", "fault": "rescue abort failure"})
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover = true })
	w.ironic.ResetLog()
	const want = "node tk0 is rescue failed in Ironic: broken; it is in maintenance (no clean-up)"
	e := w.enroller()
	w.until(e, "it is reported", func() bool { return w.node(0).Ironic.Error == want })
	w.quiet()
	if got := w.verbs(); len(got) > 0 {
		t.Errorf("verbs %q, want none", got)
	}
	w.ironic.Set(nodeUUID(0), map[string]any{"maintenance": false, "maintenance_reason": nil, "fault": nil})
	w.until(e, "unrescued", func() bool { return w.wellAgain("rescue failed") })
}

func TestNoFailedStateIsLeftWithoutEnd(t *testing.T) {
	four := []string{"1", "2", "3", "4", "5", "6"}
	for name, c := range map[string]struct {
		from  string
		fails func(i *ironictest.Ironic, uuid string, messages ...string)
		// end is where it is left, after so many verbs.
		end   string
		verbs int
	}{
		"clean failed":                   {"clean failed", (*ironictest.Ironic).FailClean, "clean failed in Ironic: 3", 6},
		"inspect failed":                 {"inspect failed", (*ironictest.Ironic).FailInspect, "inspect failed in Ironic: 3", 6},
		"deploy failed":                  {"deploy failed", (*ironictest.Ironic).FailUndeploy, "error in Ironic: 3", 3},
		"error":                          {"error", (*ironictest.Ironic).FailUndeploy, "error in Ironic: 3", 3},
		"error, and then cleaning fails": {"error", (*ironictest.Ironic).FailClean, "clean failed in Ironic: 3", 5},
		"rescue failed":                  {"rescue failed", (*ironictest.Ironic).FailUnrescue, "unrescue failed in Ironic: 3", 3},
		"unrescue failed":                {"unrescue failed", (*ironictest.Ironic).FailUnrescue, "unrescue failed in Ironic: 3", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, cleaned())
			w.until(w.enroller(), "enrolled", w.enrolled)
			c.fails(w.ironic, nodeUUID(0), four...)
			w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": c.from, "last_error": "broken"})
			w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover, e.Inspect = true, c.from == "inspect failed" })
			w.ironic.ResetLog()
			want := "node tk0 is " + c.end + "; not well after 3 tries: tenks node recover tk0 tries again"
			w.until(w.enroller(), "it is given up", func() bool { return w.node(0).Ironic.Error == want })
			if got := w.verbs(); len(got) != c.verbs {
				t.Errorf("verbs %q, want %d", got, c.verbs)
			}
			w.quiet()
		})
	}
}

func TestPeoplesFlagsAreRespected(t *testing.T) {
	for name, c := range map[string]struct {
		set  map[string]any
		want string
	}{
		"maintenance on the way": {map[string]any{"provision_state": "manageable", "maintenance": true, "maintenance_reason": "mine"},
			"node tk0 is in maintenance in Ironic: mine"},
		"retired on the way": {map[string]any{"provision_state": "manageable", "retired": true, "retired_reason": "old"},
			"node tk0 is retired in Ironic (old): it is not provided"},
		"maintenance of a failed node": {map[string]any{"provision_state": "clean failed", "last_error": "x", "maintenance": true, "maintenance_reason": "mine"},
			"node tk0 is clean failed in Ironic: x; it is in maintenance (mine)"},
		"a failed node that is retired": {map[string]any{"provision_state": "clean failed", "last_error": "x", "retired": true},
			"node tk0 is clean failed in Ironic: x; it is retired"},
		"a failed node that is protected": {map[string]any{"provision_state": "deploy failed", "last_error": "x", "protected": true},
			"node tk0 is deploy failed in Ironic: x; it is protected"},
		"a failed node with an instance": {map[string]any{"provision_state": "deploy failed", "last_error": "x", "instance_uuid": "i1"},
			"node tk0 is deploy failed in Ironic: x; it has instance i1, and is left to whoever that belongs to"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, ironictest.Options{Verify: time.Hour})
			w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover = true })
			e := w.enroller()
			w.until(e, "verifying", func() bool { return len(w.verbs()) == 1 })
			w.ironic.Set(nodeUUID(0), map[string]any{"target_provision_state": nil})
			w.ironic.Set(nodeUUID(0), c.set)
			w.until(e, "it is said", func() bool { return w.node(0).Ironic.Error == c.want })
			w.quiet()
		})
	}
}

func TestANodeThatIsKeptIsNotRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		set         map[string]any
		want        string
		evenByForce bool
	}{
		"protected":   {map[string]any{"provision_state": "active", "protected": true, "protected_reason": "mine"}, "node tk0 is protected in Ironic (mine), against --force as well: end that, or leave its record with --forget-ironic", true},
		"maintenance": {map[string]any{"maintenance": true, "maintenance_reason": "mine"}, "node tk0 is in maintenance in Ironic (mine): end that or use --force", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, ironictest.Options{})
			e := w.enroller()
			w.until(e, "enrolled", w.enrolled)
			w.ironic.Set(nodeUUID(0), c.set)
			w.until(e, "seen", func() bool { return true })
			refused, err := Removable(t.Context(), w.access, w.snap().Nodes())
			if err != nil || refused[nodeUUID(0)] != c.want {
				t.Errorf("Removable = %q, %v", refused, err)
			}
			w.remove(c.evenByForce)
			w.until(e, "it is said", func() bool { return w.node(0).Ironic.Error == c.want })
			w.quiet()
			w.ironic.Set(nodeUUID(0), map[string]any{"protected": false})
			w.remove(true)
			w.until(e, "gone", w.allGone)
		})
	}
}

func TestNodesAreTakenToTheirStateAndLaterOnlyUp(t *testing.T) {
	w := newWorld(t, 1, cleaned())
	e := w.enroller()
	at := func(s string) func() bool {
		return func() bool {
			got := w.node(0).Ironic
			return got.Phase == state.IronicEnrolled && got.ProvisionState == s && got.Error == ""
		}
	}
	for _, step := range []struct {
		target state.EnrolTarget
		want   string
	}{{state.TargetEnroll, "enroll"}, {state.TargetManageable, "manageable"}, {state.TargetAvailable, "available"},
		{state.TargetManageable, "available"}, {state.TargetEnroll, "available"}} {
		w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.State = step.target })
		w.until(e, fmt.Sprintf("%s declared", step.target), at(step.want))
		w.quiet()
		if !at(step.want)() {
			t.Errorf("%s declared: %+v", step.target, w.node(0).Ironic)
		}
	}
	// What its user takes back stays there.
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "manageable"})
	w.until(e, "seen", at("manageable"))
	w.quiet()
}

func TestNodesAreInspectedOnceBeforeTheyAreProvided(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{Inspect: time.Millisecond})
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Inspect = true })
	w.ironic.FailInspect(nodeUUID(0), "no answer")
	e := w.enroller()
	const want = "node tk0 is inspect failed in Ironic: no answer; tenks node recover tk0 tries again"
	w.until(e, "the failure is reported", func() bool { return w.node(0).Ironic.Error == want })
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Recover = true })
	w.until(e, "inspecting", func() bool { return w.ironic.Node(nodeUUID(0))["inspection_finished_at"] != nil })
	props := w.ironic.Node(nodeUUID(0))["properties"].(map[string]any)
	props["vendor"] = "QEMU" // as an inspection would
	w.until(e, "enrolled", w.enrolled)
	if got := w.ironic.Node(nodeUUID(0))["properties"].(map[string]any); got["vendor"] != "QEMU" {
		t.Errorf("properties %v lost what the inspection found", got)
	}
	// manage; inspect; manage; inspect; provide
	if got := w.verbs(); len(got) != 5 {
		t.Errorf("verbs %q, want 5", got)
	}
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "clean failed"})
	w.ironic.ResetLog()
	w.until(e, "recovered", func() bool { return len(w.verbs()) >= 2 && w.well() })
	if got := w.verbs(); len(got) != 2 {
		t.Errorf("verbs %q: inspected twice", got)
	}
}

// A backup that was restored goes on with lower log indexes than those that Ironic has heard of.
func TestARecoveryThatIsAskedForAfterABackupWasRestoredIsHeard(t *testing.T) {
	const want = "node tk0 is clean failed in Ironic: no answer; tenks node recover tk0 tries again"
	w := newWorld(t, 1, cleaned())
	w.apply(state.RecoverNodes{Nodes: []string{nodeUUID(0)}}) // in the backup, and heard long since
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	mark := w.ironic.Node(nodeUUID(0))["extra"].(map[string]any)["tenks"].(map[string]any)
	mark["recovery"] = map[string]any{"asked": 1_000_000}
	w.ironic.Set(nodeUUID(0), map[string]any{"extra": map[string]any{"tenks": mark}, "provision_state": "clean failed", "last_error": "no answer"})

	e = New(Config{Source: w.store, Report: w.report, Mesh: meshID, Since: w.index, Poll: time.Millisecond, Retry: time.Millisecond})
	t.Cleanup(e.Close)
	w.ironic.ResetLog()
	w.until(e, "it is reported", func() bool { return w.node(0).Ironic.Error == want })
	for range 3 {
		if err := e.Do(t.Context(), w.snap()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.ironic.Writes(); len(got) > 0 {
		t.Errorf("what was heard before the backup was restored is done again: %q", got)
	}
	w.apply(state.RecoverNodes{Nodes: []string{nodeUUID(0)}})
	w.until(e, "recovered", w.enrolled)
	w.quiet()
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "clean failed", "last_error": "no answer"})
	w.until(e, "once", func() bool { return w.node(0).Ironic.Error == want })
}
