package ironic

import (
	"maps"
	"testing"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

func TestCapabilitiesThatAreNoLongerDeclaredGoAndOthersStay(t *testing.T) {
	w := newWorld(t, 1, ironictest.Options{})
	declare := func(secure bool, capabilities string) {
		w.declareAnew(0, func(c *state.NodeChange, e *state.Enrolment) {
			c.Machine.SecureBoot = secure
			e.Properties = nil
			if capabilities != "" {
				e.Properties = map[string]string{"capabilities": capabilities}
			}
		})
	}
	capabilities := func() any { return w.ironic.Node(nodeUUID(0))["properties"].(map[string]any)["capabilities"] }
	others := func(more string) {
		props := maps.Clone(w.ironic.Node(nodeUUID(0))["properties"].(map[string]any))
		props["capabilities"] = more
		w.ironic.Set(nodeUUID(0), map[string]any{"properties": props})
	}
	e := w.enroller()
	see := func(want string) {
		t.Helper()
		w.until(e, want, func() bool { return w.enrolled() && capabilities() == want })
		w.quiet()
		e = w.enroller() // a new leader knows as much
	}
	declare(true, "x:y, node:a")
	see("boot_mode:uefi,secure_boot:true,x:y,node:a")
	others("boot_mode:uefi,secure_boot:true,cpu_vt:true,x:y,node:a")
	declare(true, "node:b,z:1")
	see("boot_mode:uefi,secure_boot:true,cpu_vt:true,node:b,z:1")
	declare(false, "")
	see("boot_mode:uefi,cpu_vt:true")
	// What somebody else adds later under a name that was ours is theirs.
	others("boot_mode:uefi,cpu_vt:true,x:mine,secure_boot:true")
	see("boot_mode:uefi,cpu_vt:true,x:mine,secure_boot:true")
}

func TestDiffCapabilities(t *testing.T) {
	for name, c := range map[string]struct {
		have     any
		set      []string
		declared string
		want     string // "-": is removed; "": stays
	}{
		"nothing of nothing":                   {nil, nil, "", ""},
		"added":                                {nil, nil, "a:1", "a:1"},
		"as it is, in another order":           {"b:2, a:1", []string{"a", "b"}, "a:1,b:2", ""},
		"the last one goes with the property":  {"a:1", []string{"a"}, "", "-"},
		"a foreign one stays":                  {"a:1,b:2", []string{"a"}, "", "b:2"},
		"one that somebody took away is added": {"b:2", []string{"a"}, "a:1", "b:2,a:1"},
		"one that is gone already":             {"b:2", []string{"a"}, "", ""},
		"foreign ones alone are not touched":   {"b:2,c", nil, "", ""},
		"a value with a colon":                 {"a:1:2", []string{"a"}, "a:1:3", "a:1:3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := want{Fields: map[string]any{}, Mark: mark{Capabilities: namesOf(c.declared)}}
			if c.declared != "" {
				w.Fields[pathCapabilities] = c.declared
			}
			r := &record{Mark: &mark{Capabilities: c.set}, Fields: map[string]any{}}
			if c.have != nil {
				r.Fields[pathCapabilities] = c.have
			}
			got := ""
			for _, p := range diffCapabilities(w, r) {
				got = text(p.Value)
				if p.Op == "remove" {
					got = "-"
				}
			}
			if got != c.want {
				t.Errorf("%v with %q of ours, declared %q: %q, want %q", c.have, c.set, c.declared, got, c.want)
			}
		})
	}
}
