package ironic

import (
	"testing"

	"tenks/ironic/ironictest"
)

func TestOnlyWhatIsProtectedIsKeptAgainstForce(t *testing.T) {
	w := newWorld(t, 3, ironictest.Options{})
	w.until(w.enroller(), "enrolled", w.enrolled)
	w.ironic.Set(nodeUUID(0), map[string]any{"provision_state": "active", "protected": true})
	w.ironic.Set(nodeUUID(1), map[string]any{"provision_state": "active"})
	w.ironic.Set(nodeUUID(2), map[string]any{"maintenance": true, "maintenance_reason": "mine"})
	all, err := Removable(t.Context(), w.access, w.snap().Nodes())
	if err != nil || len(all) != 3 {
		t.Errorf("Removable = %q, %v", all, err)
	}
	held, err := Protected(t.Context(), w.access, w.snap().Nodes())
	if err != nil || len(held) != 1 || held[nodeUUID(0)] != all[nodeUUID(0)] {
		t.Errorf("Protected = %q, %v", held, err)
	}
}
