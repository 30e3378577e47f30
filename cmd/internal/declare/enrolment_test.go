package declare

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

func TestThePlanSaysWhatChangesOfANodeInIronic(t *testing.T) {
	m := newMesh(t)
	declared := func(e state.Enrolment) state.Cluster {
		return demo(1, func(c *state.Cluster) {
			c.Ironic = &state.IronicAccess{Auth: "none"}
			c.Specs[0].Enrol = &e
		})
	}
	m.do(declared(state.Enrolment{Objects: map[string]string{"root_device": `{"size":1}`, "old": "{}"}, PXE: []bool{true, false}}))
	m.place()
	m.apply(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: m.node("tk0").UUID, Status: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "active"}}}})
	p := m.plan(declared(state.Enrolment{Objects: map[string]string{"root_device": `{"size":2}`}, Shard: "s1", State: state.TargetManageable,
		AutomatedClean: "false", NetworkData: `{"links":[]}`}), Options{})
	want := []string{"shard none → s1", "properties.old {} → none", `root_device {"size":1} → {"size":2}`, `network_data none → {"links":[]}`, "automated_clean none → false",
		"state available → manageable (the node is active in Ironic, and stays so unless somebody takes it back)", "pxe_enabled [0] → all"}
	if diff := cmp.Diff(want, texts(p.Steps[0])); diff != "" || p.Steps[0].When != Now {
		t.Errorf("when %s (-want +got):\n%s", p.Steps[0].When, diff)
	}
}
