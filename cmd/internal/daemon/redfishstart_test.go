package daemon

import (
	"net/http"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

// A node that is made while the agent runs is followed like those that were there before,
// also after a restart that has waited for its guest.
func TestPendingSettingsOfANewNodeAreThereAfterItsStart(t *testing.T) {
	r := start(t, newMesh(t))
	r.offered(1)
	file := strings.Replace(redfishNodes("demo", ""), "count: 3, placement: {spread: zone}", "count: 1", 1)
	if _, err := r.Apply(t.Context(), api.ApplyRequest{File: file}); err != nil {
		t.Fatal(err)
	}
	n := r.ready()[0]
	bios := systemsPath + "/" + n.UUID + "/Bios"
	for i, kind := range []string{"On", "GracefulRestart", "ForceRestart"} {
		want := float64(7 + i)
		status, answer := r.redfishOf(http.MethodPatch, bios+"/Settings", n.BMC.Username, n.BMC.Password, `{"Attributes":{"BootTimeout":`+string(rune('7'+i))+`}}`)
		if status >= 300 {
			t.Fatalf("settings: %d %v", status, answer)
		}
		if status := r.reset(n, kind); status != http.StatusNoContent {
			t.Fatalf("%s: %d", kind, status)
		}
		r.eventually("the attribute after "+kind, func() bool {
			_, answer := r.redfishOf(http.MethodGet, bios, n.BMC.Username, n.BMC.Password, "")
			attributes, _ := answer["Attributes"].(map[string]any)
			return attributes["BootTimeout"] == want
		})
	}
}
