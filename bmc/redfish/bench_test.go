package redfish

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenks/bmc/bmcbench"
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

func benchID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

// benchSystems are n systems of one account.
func benchSystems(n int) []System {
	systems := make([]System, n)
	for i := range systems {
		c := bmctest.NewChassis()
		hardware := c.Hardware()
		hardware.UUID = benchID(i)
		c.SetHardware(hardware)
		systems[i] = System{ID: hardware.UUID, Name: fmt.Sprintf("node%d", i), Chassis: c, Account: state.Account{Username: "admin", Password: state.NewSecret("correct horse")}}
	}
	return systems
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
				f.fleet.set(benchSystems(bench.systems))
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

// What sushy-tools 2.2 came to with libvirt behind it: Flask's server, on a machine with
// two cores that its clients and libvirtd shared, with 1 to 32 clients. The rates are of a
// machine that did nothing else, the processor times the ends of all runs. It has no
// sessions: those are beside its HTTP without authentication. The largest collection that it
// was asked for had 50 members.
var (
	sushyBasic      = bmcbench.Peer{Name: "sushy-tools, basic", Rate: 177, Best: (5000 + 1400) * time.Microsecond, Busy: (6800 + 2400) * time.Microsecond}
	sushySystem     = bmcbench.Peer{Name: "sushy-tools, HTTP, nobody", Rate: 234, Best: (2700 + 1200) * time.Microsecond, Busy: (4500 + 2500) * time.Microsecond}
	sushyCollection = bmcbench.Peer{Name: "sushy-tools, HTTP, nobody, 50 members", Rate: 532, Best: (1200 + 420) * time.Microsecond, Busy: (1600 + 720) * time.Microsecond}
)

// loadTime is for how long each number of clients is measured: three are the second that
// a benchmark lasts by default.
const loadTime = 350 * time.Millisecond

// benchClients are the numbers of clients to measure with.
var benchClients = []int{1, 8, 32}

// benchServer is what the process of a server does.
func benchServer() bmcbench.Commands {
	return bmcbench.Commands{"listen": func(args ...string) (string, error) {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return "", err
		}
		all := &fleet{}
		all.set(benchSystems(n))
		s, err := New(context.Background(), Config{Systems: all, Name: "mesh", UUID: meshID, Version: "1.2.3"})
		if err != nil {
			return "", err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		conf := testCertificate()
		go func() { fmt.Fprintln(os.Stderr, s.Serve(context.Background(), l, conf)) }()
		return l.Addr().String(), nil
	}}
}

// BenchmarkServer loads a service of 1,000 systems in a process of its own: HTTP/1.1 over
// TLS connections that stay open, as clients in Python have them.
func BenchmarkServer(b *testing.B) {
	var table bmcbench.Table
	server := bmcbench.Start(b)
	addr := server.Do("listen", "1000")
	for _, bench := range []struct {
		name, path string
		session    bool
		peer       bmcbench.Peer
	}{
		{"System, basic", systemsPath + "/" + benchID(500), false, sushyBasic},
		{"System, session", systemsPath + "/" + benchID(500), true, sushySystem},
		{"collection of 1000", systemsPath, true, sushyCollection},
	} {
		b.Run(bench.name, func(b *testing.B) {
			header := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:correct horse"))
			if bench.session {
				header = "X-Auth-Token: " + benchLogin(b, addr)
			}
			var results []bmcbench.Result
			for b.Loop() {
				results = nil
				for _, clients := range benchClients {
					results = append(results, bmcbench.Load(server, clients, loadTime, func() (bmcbench.Client, error) {
						return dialTLS(b.Context(), addr, "GET "+bench.path+" HTTP/1.1\r\nHost: bmc.example\r\n"+header+"\r\n\r\n")
					}))
				}
			}
			for i, r := range results {
				table.Load(b, "Redfish "+bench.name, benchClients[i], r, bench.peer)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	table.Print()
}

// dialTLS is a client that sends the same request again and again. It is as simple as that
// because it runs on the server's cores.
func dialTLS(ctx context.Context, addr, request string) (bmcbench.Client, error) {
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", addr) //nolint:gosec // the server is ours
	if err != nil {
		return bmcbench.Client{}, err
	}
	raw, answers := []byte(request), bufio.NewReaderSize(conn, 16<<10)
	return bmcbench.Client{Close: func() { _ = conn.Close() }, Do: func() error {
		if _, err := conn.Write(raw); err != nil {
			return err
		}
		a, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, a.Body)
		_ = a.Body.Close()
		if err == nil && (a.StatusCode != http.StatusOK || n < 1000) {
			err = fmt.Errorf("%s, %d bytes", a.Status, n)
		}
		return err
	}}, nil
}

// benchLogin returns the token of a session.
func benchLogin(b *testing.B, addr string) string {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the server is ours
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://"+addr+sessionsPath, strings.NewReader(`{"UserName":"admin","Password":"correct horse"}`))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	_ = a.Body.Close()
	token := a.Header.Get("X-Auth-Token")
	if token == "" {
		b.Fatalf("login: %s", a.Status)
	}
	return token
}

// testCertificate is one that a test server has.
func testCertificate() *tls.Config {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return &tls.Config{Certificates: server.TLS.Certificates}
}
