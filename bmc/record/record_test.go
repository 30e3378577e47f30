package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

var client = netip.MustParseAddrPort("192.0.2.9:40000")

// recorded runs a recorder until all calls are written, and returns the directory.
func recorded(t *testing.T, cfg Config, calls ...Call) *Recorder {
	t.Helper()
	cfg.Log = discard()
	r := New(cfg)
	for _, c := range calls {
		r.Observe(c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what was queued is written all the same
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCallsAreCountedByProtocolMethodAndResult(t *testing.T) {
	r := New(Config{Log: discard()})
	for _, took := range []time.Duration{time.Microsecond, 10 * time.Millisecond, time.Minute} {
		r.Observe(Call{Protocol: "ipmi", Method: "Chassis Control", Result: OK, Took: took})
	}
	r.Observe(Call{Protocol: "ipmi", Method: "Chassis Control", Result: "0xc0", Took: time.Second})
	want := []Series{
		{Key{"ipmi", "Chassis Control", "0xc0"}, 1, time.Second, []uint64{0, 0, 0, 0, 0, 1, 1, 1}},
		{Key{"ipmi", "Chassis Control", OK}, 3, time.Minute + 10*time.Millisecond + time.Microsecond, []uint64{1, 1, 2, 2, 2, 2, 2, 2}},
	}
	if diff := cmp.Diff(want, r.Series()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	r := New(Config{Log: discard()})
	for i := range maxSeries + 10 {
		r.Observe(Call{Protocol: "ipmi", Method: fmt.Sprint(i), Result: OK})
	}
	all := r.Series()
	if len(all) != maxSeries+1 {
		t.Errorf("%d series, want %d", len(all), maxSeries+1)
	}
	for _, s := range all {
		if s.Method == other && s.Count != 10 {
			t.Errorf("%d others, want 10", s.Count)
		}
	}
}

func TestTheAuditHasALinePerCallOfAnAuditedNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	at := time.Date(2026, 11, 27, 12, 0, 0, 123_000_000, time.FixedZone("", 3600))
	call := Call{At: at, Took: 1500 * time.Microsecond, Node: "tk0", UUID: "u0", Protocol: "ipmi", Method: "Chassis Control", Result: OK,
		Client: client, User: "admin", Audit: true}
	quiet := call
	quiet.Audit, quiet.Node = false, "tk1"
	recorded(t, Config{Path: path}, call, quiet)
	recorded(t, Config{Path: path}, call) // another agent goes on with the file
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-11-27T11:00:00.123Z","node":"tk0","uuid":"u0","protocol":"ipmi","client":"192.0.2.9:40000","user":"admin","method":"Chassis Control","result":"ok","took_ms":1.5}` + "\n"
	if string(b) != want+want {
		t.Errorf("got\n%s\nwant twice\n%s", b, want)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
}

func TestTheAuditIsPutAsideByItsSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // somebody made it readable
		t.Fatal(err)
	}
	var calls []Call
	for i := range 20 {
		calls = append(calls, Call{Node: fmt.Sprintf("n%02d", i), Client: client, Audit: true})
	}
	recorded(t, Config{Path: path, MaxBytes: 500, Keep: 2}, calls...)
	var all []byte
	for _, name := range []string{path + ".2", path + ".1", path} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || len(b) > 500 {
			t.Errorf("%s has %d bytes, want 1 to 500", name, len(b))
		}
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", name, st.Mode(), err)
		}
		all = append(all, b...)
	}
	if _, err := os.Stat(path + ".3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a third file: %v", err)
	}
	lines := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	for i, l := range lines {
		var got line
		if err := json.Unmarshal(l, &got); err != nil || got.Node != fmt.Sprintf("n%02d", 20-len(lines)+i) {
			t.Errorf("line %d is %s", i, l)
		}
	}
}

func TestWhatCannotBeWrittenIsCounted(t *testing.T) {
	r := recorded(t, Config{Path: filepath.Join(t.TempDir(), "none", "audit.log")}, Call{Audit: true}, Call{Audit: true})
	if r.Lost() != 2 {
		t.Errorf("%d lost, want 2", r.Lost())
	}
	full := New(Config{Log: discard()})
	for range maxQueue + 3 {
		full.Observe(Call{Audit: true}) // nobody writes
	}
	if full.Lost() != 3 {
		t.Errorf("%d lost, want 3", full.Lost())
	}
}

func TestMethodHoldsNothingThatAClientChose(t *testing.T) {
	tests := map[string]string{
		"GET /redfish/v1/":                                          "GET /redfish/v1",
		"GET /redfish/v1/Systems/abc-1":                             "GET /redfish/v1/Systems/*",
		"POST /redfish/v1/Systems/abc/Actions/ComputerSystem.Reset": "POST /redfish/v1/Systems/*/Actions/ComputerSystem.Reset",
		"POST /redfish/v1/Systems/abc/Actions/hunter2":              "POST /redfish/v1/Systems/*/Actions/*",
		"DELETE /redfish/v1/SessionService/Sessions/hunter2":        "DELETE /redfish/v1/SessionService/Sessions/*",
		"HUNTER2 /redfish/v1":                                       "OTHER /redfish/v1",
		"GET /hunter2":                                              "GET other",
		"GET /redfish/v1" + strings.Repeat("/Log", 20):              "GET other",
	}
	for in, want := range tests {
		method, path, _ := strings.Cut(in, " ")
		if got := Method(httptest.NewRequest(method, path, nil)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestMiddlewareNotesRequests(t *testing.T) {
	known := func(user string) bool { return user == "admin" }
	tests := map[string]struct {
		request func(r *http.Request)
		handler http.HandlerFunc
		user    string
		result  string
	}{
		"nobody":           {nil, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "root") }, "", "200"},
		"a user":           {func(r *http.Request) { r.SetBasicAuth("admin", "x") }, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "admin", "401"},
		"who is no user":   {func(r *http.Request) { r.SetBasicAuth("x", "x") }, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, Unknown, "204"},
		"a session":        {func(r *http.Request) { r.Header.Set("X-Auth-Token", "x") }, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, "(session)", "200"},
		"a known session":  {func(r *http.Request) { r.Header.Set("X-Auth-Token", "x") }, func(_ http.ResponseWriter, r *http.Request) { SetUser(r.Context(), "other") }, "other", "none"},
		"the first status": {nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); _, _ = w.Write(nil) }, "", "202"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []Call
			h := Middleware(func(_ *http.Request, c Call) { got = append(got, c) }, known, tt.handler)
			r := httptest.NewRequest(http.MethodGet, "/redfish/v1/", nil)
			r.RemoteAddr = "[::ffff:192.0.2.9]:40000"
			if tt.request != nil {
				tt.request(r)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if len(got) != 1 || got[0].User != tt.user || got[0].Result != tt.result || got[0].Client != client || got[0].Method != "GET /redfish/v1" || got[0].At.IsZero() {
				t.Errorf("got %+v, want one by %q with %s", got, tt.user, tt.result)
			}
		})
	}
}

func TestAStreamIsFlushedThroughTheMiddleware(t *testing.T) {
	h := Middleware(func(*http.Request, Call) {}, func(string) bool { return false }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/redfish/v1/EventService/SSE", nil))
	if !rec.Flushed {
		t.Error("not flushed")
	}
}

// TestNoSecretGetsIntoTheRecord plants a password wherever a client can write one.
func TestNoSecretGetsIntoTheRecord(t *testing.T) {
	const password = "hunter2-SeCrEt"
	path := filepath.Join(t.TempDir(), "audit.log")
	r := New(Config{Path: path, Log: discard()})
	observe := func(_ *http.Request, c Call) {
		c.Node, c.UUID, c.Audit = "tk0", "u0", true
		r.Observe(c)
	}
	h := Middleware(observe, func(user string) bool { return user == "admin" }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	plant := map[string]func(r *http.Request){
		"path":      func(r *http.Request) { r.URL.Path = "/redfish/v1/" + password },
		"all of it": func(r *http.Request) { r.URL.Path = "/" + password },
		"query":     func(r *http.Request) { r.URL.RawQuery = "password=" + password },
		"method":    func(r *http.Request) { r.Method = password },
		"user":      func(r *http.Request) { r.SetBasicAuth(password, "x") },
		"password":  func(r *http.Request) { r.SetBasicAuth("admin", password) },
		"token":     func(r *http.Request) { r.Header.Set("X-Auth-Token", password) },
		"bearer":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+password) },
		"agent":     func(r *http.Request) { r.Header.Set("User-Agent", password) },
		"address":   func(r *http.Request) { r.RemoteAddr = password },
		"host":      func(r *http.Request) { r.Host = password },
	}
	for _, change := range plant {
		req := httptest.NewRequest(http.MethodPost, "/redfish/v1/SessionService/Sessions", strings.NewReader(`{"UserName":"`+password+`","Password":"`+password+`"}`))
		change(req)
		h.ServeHTTP(httptest.NewRecorder(), req)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || bytes.Count(b, []byte("\n")) != len(plant) {
		t.Fatalf("%d lines, %v, want %d", bytes.Count(b, []byte("\n")), err, len(plant))
	}
	for _, seen := range []string{string(b), fmt.Sprintf("%+v", r.Series())} {
		if strings.Contains(seen, password) {
			t.Errorf("the password is in\n%s", seen)
		}
	}
}
