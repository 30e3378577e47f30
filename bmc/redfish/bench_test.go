package redfish

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// request is one that a benchmark repeats.
func (f *fixture) request(path string) *http.Request {
	r := httptest.NewRequestWithContext(f.t.Context(), http.MethodGet, "http://bmc.example"+path, http.NoBody)
	r.RemoteAddr = f.source
	if f.token != "" {
		r.Header.Set("X-Auth-Token", f.token)
	} else {
		r.SetBasicAuth(f.user, f.password)
	}
	return r
}

func (f *fixture) login() {
	f.t.Helper()
	f.token = f.want(http.StatusCreated, http.MethodPost, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`).Header().Get("X-Auth-Token")
}

// fill gives the fixture's account n systems.
func (f *fixture) fill(n int) {
	systems := make([]System, n)
	for i := range systems {
		c := bmctest.NewChassis()
		hardware := c.Hardware()
		hardware.UUID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		c.SetHardware(hardware)
		systems[i] = System{ID: hardware.UUID, Name: fmt.Sprintf("node%d", i), Chassis: c, Account: state.Account{Username: "admin", Password: state.NewSecret("correct horse")}}
	}
	f.fleet.set(systems)
}

func BenchmarkGet(b *testing.B) {
	for _, bench := range []struct {
		name, path string
		session    bool
		systems    int
	}{
		{"System/basic", sys1, false, 0},
		{"System/session", sys1, true, 0},
		{"Thermal", chassisPath + "/" + first + "/Thermal", true, 0},
		{"Systems of 1000", systemsPath, true, 1000},
		{"Systems of 1000 expanded", systemsPath + "?$expand=.", true, 1000},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := newFixture(b)
			if bench.systems > 0 {
				f.fill(bench.systems)
			}
			if bench.session {
				f.login()
			}
			r := f.request(bench.path)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				if f.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

// BenchmarkTLS is a GET of a System over TLS connections that stay open, client and
// server in one process.
func BenchmarkTLS(b *testing.B) {
	f := newFixture(b)
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	conf := testCertificate()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, l, conf) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64}} //nolint:gosec // the server is ours
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://"+l.Addr().String()+sys1, nil)
			r.SetBasicAuth(f.user, f.password)
			a, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
		}
	})
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// testCertificate is one that a test server has.
func testCertificate() *tls.Config {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return &tls.Config{Certificates: server.TLS.Certificates}
}
