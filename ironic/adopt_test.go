package ironic

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

// old is a record as the Ansible tool left it: with its own UUID, and no mark.
func (w *world) old(uuid, provision string) {
	w.ironic.Set(uuid, map[string]any{"name": "tk0", "driver": "ipmi", "provision_state": provision, "traits": []any{"CUSTOM_A", "CUSTOM_OLD"},
		"resource_class": "baremetal", "conductor_group": "rack1", "network_interface": "noop", "properties": map[string]any{"cpus": "9", "vendor": "QEMU"}, "driver_info": map[string]any{"deploy_kernel": "k", "deploy_ramdisk": "r"}, "extra": map[string]any{"mine": true}})
	w.ironic.AddPort(uuid, mac(0, 0))
	w.ironic.AddPort(uuid, "52:54:00:ff:00:01")
}

func (w *world) adopt() {
	w.declareAnew(0, func(c *state.NodeChange, _ *state.Enrolment) { c.AdoptIronic = true })
}

func TestARecordIsAdoptedInItsState(t *testing.T) {
	const other = "dddddddd-0000-4000-8000-000000000001"
	for _, uuid := range []string{nodeUUID(0), other} {
		for _, provision := range []string{"active", "available", "manageable", "enroll", "clean failed"} {
			t.Run(provision+" "+uuid[:4], func(t *testing.T) {
				w := newWorld(t, 1, ironictest.Options{})
				w.old(uuid, provision)
				e := w.enroller()
				w.until(e, "without consent it is refused", func() bool { return strings.HasSuffix(w.node(0).Ironic.Error, "it is left alone") })
				w.quiet()
				w.adopt()
				w.until(e, "adopted", func() bool { return w.node(0).Ironic.ProvisionState == provision })
				w.until(e, "changed", func() bool {
					return w.ironic.Node(uuid)["properties"].(map[string]any)["cpus"] == 2.0 && len(w.ironic.Ports(uuid)) == 3
				})
				if verbs := w.verbs(); len(verbs) != 0 {
					t.Errorf("its state was changed: %q", verbs)
				}
				got := w.ironic.Node(uuid)
				if diff := cmp.Diff([]any{"CUSTOM_A", "CUSTOM_GPU", "CUSTOM_OLD"}, got["traits"]); diff != "" {
					t.Errorf("traits (-want +got):\n%s", diff)
				}
				extra := got["extra"].(map[string]any)
				if got["properties"].(map[string]any)["vendor"] != "QEMU" || extra["mine"] != true || got["provision_state"] != provision {
					t.Errorf("something was taken away: %v", got)
				}
				if mark := extra["tenks"].(map[string]any); mark["mesh"] != meshID || mark["adopted"] != true || (mark["node"] != nil) != (uuid == other) {
					t.Errorf("mark %v", mark)
				}
				marked := 0
				for _, p := range w.ironic.Ports(uuid) {
					if extra, ok := p["extra"].(map[string]any); ok && extra["tenks"] != nil {
						marked++
					}
				}
				if marked != 2 {
					t.Errorf("%d ports marked, want the two of the node", marked)
				}
				if want := map[bool]string{true: other}[uuid == other]; w.node(0).Ironic.Record != want {
					t.Errorf("record %q, want %q", w.node(0).Ironic.Record, want)
				}
				if provision != "clean failed" && w.node(0).Ironic.Phase != state.IronicEnrolled {
					t.Errorf("phase %s", w.node(0).Ironic.Phase)
				}
				w.quiet()
				w.ironic.Set(uuid, map[string]any{"provision_state": "available"})
				w.remove(false)
				w.until(e, "gone", w.allGone)
				if got := w.ironic.Nodes(); len(got) != 0 {
					t.Errorf("left in Ironic: %v", got)
				}
			})
		}
	}
}

func TestAnAdoptedRecordKeepsItsDeployImagesUntilSomeAreDeclared(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.old(nodeUUID(0), "available")
	images := func(kernel, ramdisk string) {
		w.declareAnew(0, func(c *state.NodeChange, _ *state.Enrolment) {
			c.AdoptIronic, c.DeployKernel, c.DeployRamdisk = true, kernel, ramdisk
		})
	}
	images("", "")
	e := w.enroller()
	for _, step := range []struct{ declared, want string }{{"", "k"}, {"http://192.0.2.1/k", "http://192.0.2.1/k"}, {"", ""}} {
		images(step.declared, step.declared)
		w.until(e, "as declared", func() bool {
			got, _ := w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any)["deploy_kernel"].(string)
			return got == step.want && w.node(0).Ironic.Phase == state.IronicEnrolled
		})
		w.quiet()
	}
}

func TestARecordOfAnotherMeshIsNotAdopted(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.old(nodeUUID(0), "available")
	w.ironic.Set(nodeUUID(0), map[string]any{"extra": map[string]any{"tenks": map[string]any{"mesh": "other"}}})
	w.adopt()
	e := w.enroller()
	w.until(e, "it is refused", func() bool { return strings.HasSuffix(w.node(0).Ironic.Error, "it is left alone") })
	w.quiet()
}

// Whatever call a leader dies at, the record is adopted whole, or is nobody's.
func TestAdoptionConvergesAfterACrashAtAnyCall(t *testing.T) {
	const other = "dddddddd-0000-4000-8000-000000000001"
	for _, fault := range []ironictest.Fault{ironictest.CutBefore, ironictest.CutAfter} {
		for k := 1; ; k++ {
			w := newWorld(t, 1, ironictest.Options{})
			w.old(other, "available")
			w.adopt()
			done := func() bool { return w.node(0).Ironic.ProvisionState == "available" && w.node(0).Ironic.Error == "" }
			died := crashAt(w, k, fault, done)
			w.until(w.enroller(), "adopted", done)
			if nodes, ports := w.ironic.Nodes(), w.ironic.Ports(""); len(nodes) != 1 || len(ports) != 3 {
				t.Fatalf("crash at call %d: nodes %v, %d ports", k, nodes, len(ports))
			}
			w.remove(false)
			w.until(w.enroller(), "gone", w.allGone)
			if nodes := w.ironic.Nodes(); len(nodes) != 0 {
				t.Fatalf("crash at call %d: left %v", k, nodes)
			}
			if !died {
				break
			}
		}
	}
}

// The bugs of the Ansible tool that are about Ironic, by their numbers.

// B-4: a changed node type reached no node that was there.
func TestB4AChangedTypeReachesNodesThatAreThere(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.declareAnew(0, func(c *state.NodeChange, _ *state.Enrolment) { c.Machine.MemoryMB, c.Machine.VCPUs = 8192, 4 })
	w.until(e, "changed", func() bool {
		p := w.ironic.Node(nodeUUID(0))["properties"].(map[string]any)
		return p["memory_mb"] == 8192.0 && p["cpus"] == 4.0
	})
	if verbs := w.verbs(); len(verbs) != 2 {
		t.Errorf("changes of state %q, want the two of the enrolment", verbs)
	}
}

// B-5, B-6: a changed ironic_config made a second node of the same name, or deleted the first.
func TestB5AChangedIronicConfigKeepsTheRecord(t *testing.T) { changedConfigKeepsTheRecord(t, false) }

func TestB6AChangedIronicConfigKeepsTheRecordOnAnotherHost(t *testing.T) {
	changedConfigKeepsTheRecord(t, true)
}

func changedConfigKeepsTheRecord(t *testing.T, moved bool) {
	t.Helper()
	w := newWorld(t, 2, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.ironic.ResetLog()
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) {
		e.ResourceClass, e.Traits = "other", []string{"CUSTOM_NEW"}
	})
	if moved {
		w.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "hv2", Name: "hv2"}})
		w.apply(state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: nodeUUID(0), Epoch: w.node(0).Placement.Epoch}}})
		w.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: nodeUUID(0), Hypervisor: "hv2", BMC: state.Endpoint{Address: "127.0.0.2", Port: 6230}}}})
		w.ready(0)
	}
	w.until(e, "changed", func() bool { return w.ironic.Node(nodeUUID(0))["resource_class"] == "other" && w.enrolled() })
	if nodes := w.ironic.Nodes(); len(nodes) != 2 {
		t.Errorf("nodes %v, want the two", nodes)
	}
	for _, write := range w.ironic.Writes() {
		if strings.HasPrefix(write, "DELETE /v1/nodes/"+nodeUUID(0)) && !strings.HasSuffix(write, "/maintenance") || strings.HasPrefix(write, "POST /v1/nodes") {
			t.Errorf("the record was made anew: %s", write)
		}
	}
}

// B-8: conductor group and shard never arrived.
func TestB8ConductorGroupAndShardArrive(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.ConductorGroup, e.Shard = "rack2", "s1" })
	w.until(w.enroller(), "enrolled", w.enrolled)
	if got := w.ironic.Node(nodeUUID(0)); got["conductor_group"] != "rack2" || got["shard"] != "s1" {
		t.Errorf("conductor group %v, shard %v", got["conductor_group"], got["shard"])
	}
}

// B-15: Ironic was given 0.0.0.0 as the address of a BMC.
func TestB15IronicGetsAnAddressThatItCanReach(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	w.until(w.enroller(), "enrolled", w.enrolled)
	if got := w.ironic.Node(nodeUUID(0))["driver_info"].(map[string]any)["ipmi_address"]; got != w.node(0).Placement.BMC.Address || got == "0.0.0.0" {
		t.Errorf("ipmi_address %v", got)
	}
}

// B-18: what a spec no longer named stayed in Ironic for ever.
func TestB18TraitsThatAreNoLongerDeclaredGo(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	e := w.enroller()
	w.until(e, "enrolled", w.enrolled)
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) {
		e.Traits, e.Interfaces, e.Properties = []string{"CUSTOM_A"}, nil, nil
	})
	w.until(e, "gone", func() bool {
		got := w.ironic.Node(nodeUUID(0))
		_, rack := got["properties"].(map[string]any)["rack"]
		return slices.Equal(got["traits"].([]any), []any{"CUSTOM_A"}) && got["network_interface"] != "noop" && !rack
	})
	// And drift is seen.
	w.ironic.Set(nodeUUID(0), map[string]any{"traits": []any{"CUSTOM_A", "CUSTOM_DRIFT"}, "resource_class": "drifted"})
	w.until(e, "drift is put right", func() bool {
		got := w.ironic.Node(nodeUUID(0))
		return slices.Equal(got["traits"].([]any), []any{"CUSTOM_A"}) && got["resource_class"] == "baremetal"
	})
}

// B-21: every run wrote to every node, and put it into maintenance.
func TestB21ASecondPassWritesNothing(t *testing.T) {
	w := newWorld(t, 3, ironictest.Options{Verify: time.Millisecond})
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { *e = *everything() })
	w.until(w.enroller(), "enrolled", w.enrolled)
	w.quiet()
}

func TestOnlyTheRecordThatWasFoundIsAdopted(t *testing.T) {
	n := placed()
	n.AdoptIronic, n.Origin = true, &state.Origin{IronicUUID: "found"}
	w, err := wanted(n, meshID)
	if err != nil {
		t.Fatal(err)
	}
	for uuid, adopted := range map[string]bool{"found": true, "a machine that came later": false} {
		inv := newInventory([]*record{{UUID: uuid, Name: n.Name}}, nil)
		r, problem := conflict(w, inv, n)
		if (r != nil) != adopted || strings.Contains(problem, "it is left alone") == adopted {
			t.Errorf("%s: record %v, problem %q", uuid, r, problem)
		}
	}
}
