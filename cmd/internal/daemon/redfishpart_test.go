package daemon

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

func TestRedfishOfAPeerWithItsPartOfTheState(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers, i := seven(t)
	last, rest := peers[i], slices.Delete(slices.Clone(peers), i, i+1)
	file := strings.Replace(redfishNodes("shared", sharedAccount), "count: 3, placement: {spread: zone}", "count: 7", 1)
	if _, err := last.Apply(t.Context(), api.ApplyRequest{File: file, BMCPassword: "secret"}); err != nil {
		t.Fatal(err)
	}
	nodes := last.ready()
	last.eventually("all systems, by a peer that knows them", func() bool {
		status, ids := last.members("ops", "secret")
		return status == http.StatusOK && slices.Equal(ids, uuids(nodes))
	})
	if status, _ := last.members("ops", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("wrong password: %d", status)
	}
	login := func() string {
		t.Helper()
		status, answer := last.redfishOf(http.MethodPost, "/redfish/v1/SessionService/Sessions", "", "", `{"UserName":"ops","Password":"secret"}`)
		if status != http.StatusCreated {
			t.Fatalf("login: %d %v", status, answer)
		}
		return answer["token"].(string)
	}
	token := login()
	var own api.Node
	for _, n := range nodes {
		if status := last.reset(n, "On"); status != http.StatusNoContent {
			t.Errorf("switch on %s on %s: %d", n.Name, n.Hypervisor, status)
		}
		if n.Hypervisor == last.config.Name {
			own = n
		}
		if status, _ := last.redfishOf(http.MethodGet, systemsPath+"/"+n.UUID, "", token, ""); status != http.StatusOK {
			t.Errorf("by a session: %s on %s: %d", n.Name, n.Hypervisor, status)
		}
	}
	for _, n := range nodes { // each by each peer's own word
		last.eventually("on", func() bool {
			c, err := last.Chassis(t.Context(), n.Name)
			return err == nil && c.Power == "on"
		})
	}
	if status := rest[0].reset(own, "ForceOff"); status != http.StatusNoContent {
		t.Errorf("its node by another peer: %d", status)
	}
	checkRedfishCertificate(t, last)

	for _, p := range rest {
		p.stopped()
	}
	if status := last.reset(own, "On"); status != http.StatusNoContent {
		t.Errorf("nobody else is there: its own node: %d", status)
	}
	if status, ids := last.members("ops", "secret"); status != http.StatusOK || !slices.Equal(ids, []string{own.UUID}) {
		t.Errorf("nobody else is there: %d %v, want its own", status, ids)
	}
	if status, _ := last.redfishOf(http.MethodGet, systemsPath+"/"+own.UUID, "", login(), ""); status != http.StatusOK {
		t.Errorf("nobody else is there: by a session: %d", status)
	}
}
