package redfish

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatienceWithAnotherPeer(t *testing.T) {
	for _, c := range []struct {
		method, path, prefer string
		silent, most         time.Duration
	}{
		{method: get, path: sys1, silent: 5 * time.Second, most: 5 * time.Second},
		{method: get, path: cd, silent: 5 * time.Second, most: 5 * time.Second},
		{method: post, path: sys1 + "/Actions/ComputerSystem.Reset", silent: 10 * time.Second, most: mediaWait + 10*time.Second},
		{method: patch, path: sys1, silent: 10 * time.Second, most: 10 * time.Second},
		{method: post, path: cd + "/Actions/VirtualMedia.InsertMedia", silent: 10 * time.Second, most: mediaWait + 10*time.Second},
		{method: post, path: cd + "/Actions/VirtualMedia.InsertMedia", prefer: "wait=3", silent: 10 * time.Second, most: 13 * time.Second},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
		r.Header.Set("Prefer", c.prefer)
		if silent, most := Patience(r); silent != c.silent || most != c.most {
			t.Errorf("%s %s, Prefer %q: %s and %s, want %s and %s", c.method, c.path, c.prefer, silent, most, c.silent, c.most)
		}
	}
}

func TestMembersOnPeersThatHangTakeTenSecondsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) {
			c.Forward = func(_ http.ResponseWriter, r *http.Request, _ System, _ *Caller) { <-r.Context().Done() }
		})
		systems, _ := f.fleet.All()
		systems = []System{systems[0], systems[1]}
		systems[1].Chassis = nil
		f.fleet.set(systems)
		began := time.Now()
		a := f.want(http.StatusOK, get, systemsPath+"?$expand=.", nil)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("answered after %s", took)
		}
		if a.at("Members/0/PowerState") != "Off" || a.at("Members/1/@odata.id") == nil {
			t.Errorf("answer %s", a.Body)
		}
	})
}
