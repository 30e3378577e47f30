package ironic

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
)

// writesTo are the requests that changed something since the log was reset, by their last word.
func (w *world) writesTo() []string {
	var out []string
	for _, write := range w.ironic.Writes() {
		method, path, _ := strings.Cut(write, " ")
		out = append(out, method+" "+path[strings.LastIndex(path, "/")+1:])
	}
	for i, write := range out {
		out[i] = strings.TrimSuffix(write, " "+nodeUUID(0))
	}
	return out
}

// What removal does in each provision state of Ironic (ironic.common.states): the requests that
// take the node out, or why it is left, or that it is waited for. No node that has an instance,
// or may have one, is written to without force.
func TestRemovalInEveryProvisionState(t *testing.T) {
	const wait = "wait"
	verb, del, maintain := "PUT provision", "DELETE", "PUT maintenance"
	inUse := func(state string) []string {
		return []string{"node tk0 is " + state + " in Ironic: undeploy it or use --force"}
	}
	for _, c := range []struct {
		state         string
		plain, forced []string
	}{
		{"enroll", []string{del}, []string{del}},
		{"verifying", []string{wait}, []string{wait}},
		{"manageable", []string{del}, []string{del}},
		{"available", []string{del}, []string{del}},
		{"adopt failed", inUse("adopt failed"), []string{del}},
		// What goes on by itself ends by itself. What waits for a ramdisk may do so for long.
		{"cleaning", []string{wait}, []string{wait}},
		{"clean wait", []string{wait}, []string{verb, del}},
		{"clean hold", []string{verb, del}, []string{verb, del}},
		{"clean failed", []string{verb, del}, []string{verb, del}},
		{"inspecting", []string{wait}, []string{wait}},
		{"inspect wait", []string{wait}, []string{verb, verb, del}},
		{"inspect failed", []string{verb, del}, []string{verb, del}},
		{"adopting", []string{wait}, []string{wait}},
		{"deleting", []string{wait}, []string{wait}},
		// Undeployed, and then cleaned where Ironic does that.
		{"active", inUse("active"), []string{verb, del}},
		{"deploying", inUse("deploying"), []string{wait}},
		{"wait call-back", inUse("wait call-back"), []string{verb, del}},
		{"deploy failed", inUse("deploy failed"), []string{verb, del}},
		{"deploy hold", inUse("deploy hold"), []string{verb, verb, del}},
		{"error", inUse("error"), []string{maintain, del}},
		{"rescue", inUse("rescue"), []string{verb, del}},
		{"rescuing", inUse("rescuing"), []string{wait}},
		{"rescue wait", inUse("rescue wait"), []string{verb, del}},
		{"rescue failed", inUse("rescue failed"), []string{verb, del}},
		{"unrescuing", inUse("unrescuing"), []string{wait}},
		{"unrescue failed", inUse("unrescue failed"), []string{verb, del}},
		{"servicing", inUse("servicing"), []string{wait}},
		{"service wait", inUse("service wait"), []string{verb, verb, del}},
		{"service hold", inUse("service hold"), []string{verb, verb, del}},
		{"service failed", inUse("service failed"), []string{verb, del}},
	} {
		for force, want := range map[bool][]string{false: c.plain, true: c.forced} {
			t.Run(c.state+map[bool]string{true: ", forced"}[force], func(t *testing.T) {
				t.Parallel()
				set := map[string]any{"provision_state": c.state}
				if slices.Contains(moving, c.state) {
					set["target_provision_state"] = "elsewhere"
				}
				removed(t, set, force, want)
			})
		}
	}
}

// removed removes a node with these fields in Ironic, and wants the requests, the reason or "wait".
func removed(t *testing.T, set map[string]any, force bool, want []string) {
	t.Helper()
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Set(nodeUUID(0), set)
	w.ironic.LockNext(nodeUUID(0), 1) // a conductor holds it for the first request
	w.remove(force)
	w.ironic.ResetLog()
	gone := len(want) > 0 && want[len(want)-1] == "DELETE"
	if gone {
		w.until(e, "gone", w.allGone)
		// The refusal of the lock is one request more.
		if diff := cmp.Diff(append([]string{want[0]}, want...), w.writesTo()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		return
	}
	for range 5 {
		if err := e.Do(t.Context(), w.snap()); err != nil {
			t.Fatal(err)
		}
	}
	reason := want[0]
	if reason == "wait" {
		reason = ""
	}
	if got := w.node(0).Ironic.Error; got != reason {
		t.Errorf("reason %q, want %q", got, reason)
	}
	if got := w.ironic.Writes(); len(got) != 0 || w.ironic.Node(nodeUUID(0)) == nil {
		t.Errorf("wrote %q", got)
	}
}

func TestRemovalOfNodesThatPeopleHold(t *testing.T) {
	const instance = "11111111-1111-4111-8111-111111111111"
	for name, c := range map[string]struct {
		set   map[string]any
		force bool
		want  []string
	}{
		"an instance on an available node": {map[string]any{"instance_uuid": instance}, false,
			[]string{"node tk0 has instance " + instance + " in Ironic: undeploy it or use --force"}},
		"an instance on an available node, forced": {map[string]any{"instance_uuid": instance}, true, []string{"PUT maintenance", "DELETE"}},
		"an instance on a failed node": {map[string]any{"provision_state": "clean failed", "instance_uuid": instance}, false,
			[]string{"node tk0 has instance " + instance + " in Ironic: undeploy it or use --force"}},
		"maintenance of people": {map[string]any{"maintenance": true, "maintenance_reason": "mine"}, false,
			[]string{"node tk0 is in maintenance in Ironic (mine): end that or use --force"}},
		"maintenance of people, forced":          {map[string]any{"maintenance": true, "maintenance_reason": "mine"}, true, []string{"DELETE"}},
		"maintenance of Ironic's after cleaning": {map[string]any{"provision_state": "clean failed", "maintenance": true, "fault": "clean failure"}, false, []string{"DELETE"}},
		"maintenance of ours for ports":          {map[string]any{"maintenance": true, "maintenance_reason": reasonPorts}, false, []string{"DELETE"}},
		"maintenance of Ironic's, in use":        {map[string]any{"provision_state": "active", "maintenance": true, "fault": "power failure"}, false, []string{"node tk0 is active in Ironic: undeploy it or use --force"}},
		"maintenance while it is cleaned": {map[string]any{"provision_state": "cleaning", "target_provision_state": "available", "maintenance": true, "fault": "power failure"},
			true, []string{"wait"}},
		"protected, forced": {map[string]any{"protected": true}, true,
			[]string{"node tk0 is protected in Ironic, against --force as well: end that, or leave its record with --forget-ironic"}},
		"retired": {map[string]any{"retired": true}, false, []string{"DELETE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			removed(t, c.set, c.force, c.want)
		})
	}
}
