package api_test

import (
	"net/http"
	"strings"
	"testing"

	"tenks/raftfsm"
)

func TestABackupIsTheWholeState(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v1/backup", "/v1/backup?stale=true"} {
		a := w.call(http.MethodGet, path, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		d, err := raftfsm.ReadSnapshot(strings.NewReader(a.body))
		if err != nil || d.Mesh.ID != "mesh-id" || len(d.Hypervisors) != 1 {
			t.Errorf("%s: %+v, %v", path, d, err)
		}
	}
}
