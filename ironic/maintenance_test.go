package ironic

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// interrupted is a node that was put into maintenance to change its ports, by a leader that did
// not get any further.
func interrupted(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 1, ironictest.Options{MaxMinor: 82})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.Intercept(func(_ int, method, path string) ironictest.Fault {
		if method == http.MethodPatch && strings.HasPrefix(path, "/v1/ports/") {
			return ironictest.CutBefore
		}
		return ironictest.None
	})
	w.declareAnew(0, func(c *state.NodeChange, _ *state.Enrolment) {
		c.Ports = slices.Clone(c.Ports)
		c.Ports[0].Physnet = "physnet9"
	})
	w.until(e, "in maintenance", func() bool { return w.maintenance() == reasonPorts })
	w.ironic.Intercept(nil)
	return w
}

// maintenance is why node 0 is in it; empty: it is not.
func (w *world) maintenance() any {
	n := w.ironic.Node(nodeUUID(0))
	if n["maintenance"] != true {
		return ""
	}
	return n["maintenance_reason"]
}

func TestMaintenanceForPortsEndsWhateverCameBetween(t *testing.T) {
	for name, c := range map[string]struct {
		declare func(*state.NodeChange, *state.Enrolment)
		host    state.HostPhase
		status  func(state.IronicStatus) bool
	}{
		"nothing did": {declare: func(*state.NodeChange, *state.Enrolment) {}},
		"the change was taken back": {declare: func(c *state.NodeChange, _ *state.Enrolment) {
			c.Ports = slices.Clone(c.Ports)
			c.Ports[0].Physnet = "physnet1"
		}},
		"ironic_config was dropped": {declare: func(c *state.NodeChange, _ *state.Enrolment) { c.Enrol = nil },
			status: func(s state.IronicStatus) bool { return s.Error == "" && s.ProvisionState == "available" }},
		"the host lost the node": {declare: func(*state.NodeChange, *state.Enrolment) {}, host: state.HostError},
		"a declaration came that Ironic is too old for": {declare: func(_ *state.NodeChange, e *state.Enrolment) {
			e.Interfaces = map[string]string{"firmware": "fake"}
		}, status: func(s state.IronicStatus) bool { return strings.Contains(s.Error, "needs version 1.86") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := interrupted(t)
			w.declareAnew(0, c.declare)
			if c.host != "" {
				w.apply(state.ReportHost{Hypervisor: "hv1", Nodes: []state.NodeHostReport{{UUID: nodeUUID(0), Epoch: w.node(0).Placement.Epoch,
					Status: state.HostStatus{Phase: c.host}}}})
			}
			e := w.enroller() // another leader
			w.until(e, "out of maintenance", func() bool {
				return w.maintenance() == "" && (c.status == nil || c.status(w.node(0).Ironic))
			})
			w.quiet()
		})
	}
}

func TestMaintenanceOfOthersIsNotEnded(t *testing.T) {
	for name, declare := range map[string]func(*state.NodeChange, *state.Enrolment){
		"still declared":            func(*state.NodeChange, *state.Enrolment) {},
		"ironic_config was dropped": func(c *state.NodeChange, _ *state.Enrolment) { c.Enrol = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := interrupted(t)
			w.ironic.Set(nodeUUID(0), map[string]any{"maintenance_reason": "mine"})
			w.declareAnew(0, declare)
			e := w.enroller()
			for range 5 {
				_ = e.Do(t.Context(), w.snap())
			}
			if got := w.maintenance(); got != "mine" {
				t.Errorf("in maintenance for %q, want mine", got)
			}
			w.quiet()
		})
	}
}

func TestSomebodyWhoComesBetweenTheListAndMaintenanceKeepsIt(t *testing.T) {
	for name, from := range map[string]func(*testing.T) *world{
		"as ours would begin": func(t *testing.T) *world {
			t.Helper()
			w := newWorld(t, 1, ironictest.Options{})
			w.until(w.enroller(), "enrolled", w.enrolled)
			w.declareAnew(0, func(c *state.NodeChange, _ *state.Enrolment) {
				c.Ports = slices.Clone(c.Ports)
				c.Ports[0].Physnet = "physnet9"
			})
			return w
		},
		"as ours would end": interrupted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := from(t)
			var once sync.Once
			w.ironic.Before(func(method, path string) {
				if method == http.MethodGet && path == "/v1/ports" { // the nodes have been listed
					once.Do(func() { w.ironic.Set(nodeUUID(0), map[string]any{"maintenance": true, "maintenance_reason": "mine"}) })
				}
			})
			e := w.enroller()
			w.until(e, "the port is changed", func() bool { return w.portsIn(nodeUUID(0))[mac(0, 0)] == "physnet9 p-n0-0-br" })
			for range 3 {
				_ = e.Do(t.Context(), w.snap())
			}
			if got := w.maintenance(); got != "mine" {
				t.Errorf("in maintenance for %q, want mine", got)
			}
		})
	}
}

func TestANodeThatIsGivenOutBetweenTheListAndMaintenanceIsLeftAlone(t *testing.T) {
	for name, set := range map[string]map[string]any{
		"it is being deployed": {"provision_state": "wait call-back", "target_provision_state": "active", "instance_uuid": "11111111-1111-4111-8111-111111111111"},
		"it is reserved":       {"instance_uuid": "11111111-1111-4111-8111-111111111111"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, ironictest.Options{})
			w.until(w.enroller(), "enrolled", w.enrolled)
			w.declareAnew(0, func(c *state.NodeChange, _ *state.Enrolment) {
				c.Ports = slices.Clone(c.Ports)
				c.Ports[0].Physnet = "physnet9"
			})
			var once sync.Once
			w.ironic.Before(func(method, path string) {
				if method == http.MethodGet && path == "/v1/ports" { // the nodes have been listed
					once.Do(func() { w.ironic.Set(nodeUUID(0), set) })
				}
			})
			w.ironic.ResetLog()
			e := w.enroller()
			for range 5 {
				_ = e.Do(t.Context(), w.snap())
			}
			if got := w.ironic.Writes(); len(got) > 0 {
				t.Errorf("written to: %q", got)
			}
		})
	}
}

func TestAFailedChangeOfAPortLeavesTheRecordAsItIs(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	s := e.sites[w.access]
	r := record{UUID: nodeUUID(0), Ports: []portRecord{{UUID: "p"}}, Groups: []groupRecord{{UUID: "g"}}}
	for _, a := range []action{{Kind: createPort}, {Kind: patchPort, PortID: "p"}, {Kind: createGroup}, {Kind: patchGroup, PortID: "g"}} {
		w.ironic.FailNext(http.StatusBadRequest, "no")
		after := r
		err := s.change(t.Context(), w.node(0), want{}, &after, a)
		if err == nil || len(after.Ports) != 1 || len(after.Groups) != 1 {
			t.Errorf("%s: %v, ports %v, groups %v", a, err, after.Ports, after.Groups)
		}
	}
}
