package redfish

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

func TestServe(t *testing.T) {
	var seen []string
	f := newFixture(t, func(c *Config) {
		c.Observe = func(method, pattern string, status int, _ time.Duration) {
			seen = append(seen, method+" "+pattern+" "+http.StatusText(status))
		}
	})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	conf := testCertificate()
	go func() { done <- f.Serve(ctx, l, conf) }()
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the server is ours
	for _, path := range []string{"/redfish/v1/", sys1} {
		r, err := http.NewRequestWithContext(t.Context(), get, "https://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(f.user, f.password)
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode != http.StatusOK || a.Header.Get("Odata-Version") != "4.0" || a.ProtoMajor != 2 {
			t.Errorf("%s: %s %v", path, a.Status, a.Header)
		}
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11} //nolint:gosec // it is to be refused
	if c, err := (&tls.Dialer{Config: old}).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("TLS 1.1 was accepted")
		_ = c.Close()
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if want := []string{"GET /redfish/v1 OK", "GET /redfish/v1/Systems/{system} OK"}; !slices.Equal(seen, want) {
		t.Errorf("observed %q, want %q", seen, want)
	}
}

func TestManyAtATime(t *testing.T) {
	f := newFixture(t)
	f.chassis[first].SetPower(state.PowerOn)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 10 {
				for _, x := range []exchange{
					{method: get, path: systemsPath + "?$expand=*($levels=2)"},
					{method: patch, path: sys1, body: fmt.Sprintf(`{"AssetTag":"%d-%d","Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"}}`, i, n)},
					{method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"GracefulRestart"}`},
					{method: post, path: sessionsPath, body: `{"UserName":"admin","Password":"correct horse"}`},
					{method: post, path: subscriptionsPath, body: `{"Destination":"http://127.0.0.1:9/","Protocol":"Redfish"}`},
					{method: get, path: sys1 + "/LogServices/EventLog/Entries"},
					{method: post, path: managersPath + "/" + first + "/LogServices/EventLog/Actions/LogService.ClearLog"},
				} {
					if a := f.do(x.method, x.path, x.body); a.Code >= 400 && a.Code != 409 && a.message() != "EventSubscriptionLimitExceeded" {
						t.Errorf("%s %s: %d %s", x.method, x.path, a.Code, a.Body)
					}
				}
			}
		})
	}
	wg.Go(func() {
		systems, _ := f.fleet.All()
		for i := range 50 {
			f.fleet.set(systems[:2+i%2])
		}
	})
	wg.Wait()
}

func TestAHandlerThatPanicsIsAnInternalError(t *testing.T) {
	f := newFixture(t)
	if err := f.insert(&route{Resource: Resource{Path: "/redfish/v1/Broken", Get: func(*Request) (Object, error) { panic("broken") }}}); err != nil {
		t.Fatal(err)
	}
	run(t, f, []exchange{{name: "panic", method: get, path: "/redfish/v1/Broken", status: 500, message: "InternalError"}})
}

func TestRowsThatCannotBe(t *testing.T) {
	row := Resource{Path: "/redfish/v1/A", Type: "#A.v1_0_0.A", Get: func(*Request) (Object, error) { return nil, nil }}
	linked := Resource{Path: "/redfish/v1/B/C", Link: "C"}
	for name, rows := range map[string][]Resource{"twice": {row, row}, "without a parent": {linked}} {
		if err := new(Service).route([][]Resource{rows}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
