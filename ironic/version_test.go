package ironic

import (
	"fmt"
	"testing"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestAnIronicThatIsTooOldIsToldOfWithKeyAndVersions(t *testing.T) {
	w := newWorld(t, 2, ironictest.Options{MaxMinor: 70})
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Shard = "s1" })
	w.declareAnew(1, func(_ *state.NodeChange, e *state.Enrolment) { e.Lessee = "bob" })
	e := w.enroller()
	const want = "node tk0: ironic_config.shard needs version 1.82 of Ironic's API, and this Ironic has 1.70 at most: take the key out, or upgrade it"
	w.until(e, "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
	w.until(e, "the other node is enrolled", func() bool { return w.node(1).Ironic.Phase == state.IronicEnrolled })
	if got := w.ironic.Nodes(); len(got) != 1 {
		t.Errorf("nodes %v, want the other one alone", got)
	}
	w.declareAnew(0, func(_ *state.NodeChange, e *state.Enrolment) { e.Shard = "" })
	w.until(e, "enrolled", w.enrolled)
}

func TestAnIronicBelowTheLeastVersionIsOfNoUse(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{MaxMinor: 38})
	want := "ironic " + w.ironic.URL() + ": its API goes up to version 1.38, and 1.46 is needed: upgrade it; will retry"
	w.until(w.enroller(), "the reason is reported", func() bool { return w.node(0).Ironic.Error == want })
}

// oldest is what every Ironic that will do can be told.
func oldest() state.Enrolment {
	return state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_A"}, Properties: map[string]string{"capabilities": "x:y"},
		ConductorGroup: "rack1", Extra: map[string]string{"site": `"lab"`}, Interfaces: map[string]string{"network": "noop"}}
}

func TestOlderIronicsHaveWhatTheyKnow(t *testing.T) {
	keys := []struct {
		key, since string
		minor      int
		set        func(*state.Enrolment)
	}{
		{"automated_clean", "1.47", 47, func(e *state.Enrolment) { e.AutomatedClean = "false" }},
		{"owner", "1.50", 50, func(e *state.Enrolment) { e.Owner = "alice" }},
		{"description", "1.51", 51, func(e *state.Enrolment) { e.Description = "a node" }},
		{"lessee", "1.65", 65, func(e *state.Enrolment) { e.Lessee = "bob" }},
		{"network_data", "1.66", 66, func(e *state.Enrolment) { e.NetworkData = `{"links":[],"networks":[],"services":[]}` }},
		{"shard", "1.82", 82, func(e *state.Enrolment) { e.Shard = "s1" }},
		{"firmware_interface", "1.86", 86, func(e *state.Enrolment) { e.Interfaces = map[string]string{"firmware": "fake"} }},
	}
	for _, most := range []int{46, 58, 66, 86} {
		t.Run(fmt.Sprint("1.", most), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, len(keys)+1, ironictest.Options{MaxMinor: most})
			w.declareAnew(len(keys), func(_ *state.NodeChange, e *state.Enrolment) { *e = oldest() })
			for i, k := range keys {
				w.declareAnew(i, func(_ *state.NodeChange, e *state.Enrolment) { *e = oldest(); k.set(e) })
			}
			e := w.enroller()
			for i, k := range keys {
				if k.minor <= most {
					w.until(e, k.key+" is known", func() bool { return w.node(i).Ironic.ProvisionState == "available" && w.node(i).Ironic.Error == "" })
					continue
				}
				want := fmt.Sprintf("node tk%d: ironic_config.%s needs version %s of Ironic's API, and this Ironic has 1.%d at most: take the key out, or upgrade it", i, k.key, k.since, most)
				w.until(e, k.key+" is told of", func() bool { return w.node(i).Ironic.Error == want })
			}
			w.until(e, "the rest is enrolled", func() bool { return w.node(len(keys)).Ironic.Phase == state.IronicEnrolled })
			w.quiet()
			// What it does not know is taken out.
			for i := range keys {
				w.declareAnew(i, func(_ *state.NodeChange, e *state.Enrolment) { *e = oldest() })
			}
			w.until(e, "all are enrolled", func() bool {
				before := len(w.ironic.Writes())
				return e.Do(t.Context(), w.snap()) == nil && len(w.ironic.Writes()) == before && w.enrolled()
			})
			w.quiet()
			w.remove(false)
			w.until(e, "gone", w.allGone)
		})
	}
}
