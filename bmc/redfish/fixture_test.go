package redfish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenks/bmc"
	"tenks/bmc/bmcbench"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) {
	bmcbench.Serve(benchServer())
	goleak.VerifyTestMain(m)
}

// The systems of a fixture: the first two share an account, the third has another one.
const (
	first  = "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10"
	second = "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b11"
	other  = "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b12"
	meshID = "3c8d6f0e-52c4-4c63-9a58-0d6f5c1f9a11"
)

// fleet is a source of systems.
type fleet struct {
	mu      sync.Mutex
	systems []System
	changed chan struct{}
}

func (f *fleet) Lookup(id string) (System, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, ok := slices.BinarySearchFunc(f.systems, id, func(s System, id string) int { return strings.Compare(s.ID, id) })
	if !ok {
		return System{}, false
	}
	return f.systems[i], true
}

func (f *fleet) All() ([]System, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.systems, f.changed
}

// set replaces the systems.
func (f *fleet) set(systems []System) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed != nil {
		close(f.changed)
	}
	f.systems, f.changed = systems, make(chan struct{})
}

// fixture is a service with three systems.
type fixture struct {
	*Service
	t       testing.TB
	fleet   *fleet
	chassis map[string]*bmctest.Chassis
	// user and password go with each request; empty: none. token goes before them.
	user, password, token string
	// only is the system whose address requests are for; empty: the mesh's.
	only string
	// source is where requests come from.
	source string
	clock  time.Time
	mu     sync.Mutex // guards clock
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, fleet: &fleet{}, chassis: map[string]*bmctest.Chassis{}, user: "admin", password: "correct horse", source: "192.0.2.1:4000",
		clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var systems []System
	for i, id := range []string{first, second, other} {
		c := bmctest.NewChassis()
		hardware := c.Hardware()
		hardware.UUID, hardware.Name = id, fmt.Sprintf("node%d", i)
		c.SetHardware(hardware)
		f.chassis[id] = c
		sys := System{ID: id, Name: hardware.Name, Host: "hv1", Chassis: c, Account: state.Account{Username: "admin", Password: state.NewSecret("correct horse")}}
		if id == other {
			sys.Account.Password = state.NewSecret("another one")
		}
		systems = append(systems, sys)
	}
	f.fleet.set(systems)
	cfg := Config{Systems: f.fleet, Name: "mesh", UUID: meshID, Version: "1.2.3", Clock: f.now, AllowLocal: true}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f.Service = s
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func (f *fixture) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = f.clock.Add(d)
}

// answer is what came back.
type answer struct {
	*httptest.ResponseRecorder
	json map[string]any
}

// do sends a request; body is a string, or is encoded. headers are "Name: value".
func (f *fixture) do(method, path string, body any, headers ...string) answer {
	f.t.Helper()
	var reader io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			f.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	r := httptest.NewRequestWithContext(f.t.Context(), method, "http://bmc.example"+path, reader)
	r.RemoteAddr = f.source
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	switch {
	case f.token != "":
		r.Header.Set("X-Auth-Token", f.token)
	case f.user != "":
		r.SetBasicAuth(f.user, f.password)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	if f.only == "" {
		f.ServeHTTP(w, r)
	} else {
		Only(f.only, f).ServeHTTP(w, r)
	}
	a := answer{ResponseRecorder: w}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil {
			f.t.Fatalf("%s %s: body is no JSON: %v\n%s", method, path, err, w.Body)
		}
	}
	return a
}

// want checks the status.
func (f *fixture) want(status int, method, path string, body any, headers ...string) answer {
	f.t.Helper()
	a := f.do(method, path, body, headers...)
	if a.Code != status {
		f.t.Fatalf("%s %s %v: got status %d, want %d: %s", method, path, body, a.Code, status, a.Body)
	}
	return a
}

// at returns the value at a path such as "Boot/BootSourceOverrideTarget" or "Members/0".
func (a answer) at(path string) any {
	var v any = a.json
	for part := range strings.SplitSeq(path, "/") {
		switch o := v.(type) {
		case map[string]any:
			v = o[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(o) {
				return nil
			}
			v = o[i]
		default:
			return nil
		}
	}
	return v
}

// message is the MessageId of the first message without the registry's version.
func (a answer) message() string {
	id, _ := a.at("error/@Message.ExtendedInfo/0/MessageId").(string)
	return strings.TrimPrefix(id, basePrefix)
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not after 10 s: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

var _ bmc.Chassis = (*bmctest.Chassis)(nil)
