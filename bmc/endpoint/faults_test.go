package endpoint

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/google/go-cmp/cmp"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/bmc/fault"
	"tenks/bmc/ipmi"
	"tenks/bmc/record"
	"tenks/raftfsm/state"
)

// broken is a mesh with one node, whose BMC faults can be declared for.
type broken struct {
	*mesh
	manager *Manager
	chassis *bmctest.Chassis
	port    int
	faults  int

	mu    sync.Mutex // guards calls
	calls []record.Call
}

func newBroken(t *testing.T) *broken {
	t.Helper()
	b := &broken{mesh: newMesh(t), chassis: bmctest.NewChassis(), port: freePorts(t, 1)[0]}
	b.manager = New(Config{Hypervisor: hypervisor, Chassis: func(string) (bmc.Chassis, bool) { return b.chassis, true },
		Record: func(c record.Call) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.calls = append(b.calls, c)
		},
		Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(b.manager.Close)
	b.declare(node(0))
	b.place(uuidOf(0), hypervisor, b.port)
	do(t, b.manager, b.snapshot())
	return b
}

// add declares a fault of the node and returns its ID.
func (b *broken) add(spec fault.Spec) string {
	b.t.Helper()
	f, err := fault.Parse(spec, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	b.faults++
	f.ID, f.Nodes = fmt.Sprintf("f%d", b.faults), []string{uuidOf(0)}
	b.apply(state.AddFault{Fault: f})
	do(b.t, b.manager, b.snapshot())
	return f.ID
}

// end ends all faults.
func (b *broken) end() {
	b.t.Helper()
	var ids []string
	for _, f := range b.snapshot().Faults() {
		ids = append(ids, f.ID)
	}
	b.apply(state.EndFaults{IDs: ids})
	do(b.t, b.manager, b.snapshot())
}

// ipmitool runs the real one, which tries once and waits a second.
func (b *broken) ipmitool(args ...string) (string, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	all := append([]string{"-I", "lanplus", "-N", "1", "-R", "1", "-H", "127.0.0.1", "-p", fmt.Sprint(b.port), "-U", "admin", "-P", "secret"}, args...)
	out, err := exec.CommandContext(ctx, "ipmitool", all...).CombinedOutput()
	return string(out), err
}

func needsIpmitool(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ipmitool"); err != nil {
		t.Skip("ipmitool is not installed")
	}
}

func TestIntegrationIpmitoolSeesFaultsAsThoseOfARealBMC(t *testing.T) {
	needsIpmitool(t)
	status, on := []string{"chassis", "status"}, []string{"chassis", "power", "on"}
	tests := map[string]struct {
		spec fault.Spec
		args []string
		say  string // what ipmitool says; empty: it succeeds
	}{
		"drop":                   {fault.Spec{Kind: "drop"}, status, "Unable to establish IPMI v2 / RMCP+ session"},
		"drop one command":       {fault.Spec{Kind: "drop", Call: "get chassis status"}, status, "Error sending Chassis Status command"},
		"another command":        {fault.Spec{Kind: "drop", Call: "chassis control"}, status, ""},
		"busy":                   {fault.Spec{Kind: "busy", Call: "chassis control"}, on, "Node busy"},
		"power is busy":          {fault.Spec{Kind: "busy", Call: "power"}, on, "Node busy"},
		"power is busy, status":  {fault.Spec{Kind: "busy", Call: "power"}, status, ""},
		"an error":               {fault.Spec{Kind: "error", Call: "power"}, on, "Unspecified error"},
		"an error of a code":     {fault.Spec{Kind: "error", Call: "power", Protocol: "ipmi", Code: 0xd4}, on, "Insufficient privilege level"},
		"bad credentials":        {fault.Spec{Kind: "bad-credentials"}, append([]string{"-v"}, status...), "RAKP 2 HMAC is invalid"},
		"late":                   {fault.Spec{Kind: "delay", Delay: "200ms", Call: "chassis status"}, status, ""},
		"too late":               {fault.Spec{Kind: "delay", Delay: "30s", Call: "chassis status"}, status, "Error sending Chassis Status command"},
		"a reset":                {fault.Spec{Kind: "bmc-reset"}, status, "Unable to establish IPMI v2 / RMCP+ session"},
		"a fault of the other":   {fault.Spec{Kind: "drop", Protocol: "redfish"}, status, ""},
		"a reset of the other":   {fault.Spec{Kind: "bmc-reset", Protocol: "redfish"}, status, ""},
		"a share that hits none": {fault.Spec{Kind: "drop", Share: ptr(1e-6)}, status, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroken(t)
			id := b.add(tt.spec)
			out, err := b.ipmitool(tt.args...)
			if (err == nil) != (tt.say == "") || !strings.Contains(out, tt.say) {
				t.Errorf("ipmitool: %v\n%s\nwant %q", err, out, tt.say)
			}
			if c := b.manager.FaultCounts()[id]; (c.Hit > 0) != (tt.say != "" || tt.spec.Delay != "") || c.Hit > c.Asked {
				t.Errorf("counts %+v", c)
			}
			b.end()
			if out, err := b.ipmitool("chassis", "power", "on"); err != nil {
				t.Errorf("once it has ended: %v\n%s", err, out)
			}
			if p := b.chassis.Status().Power; p != state.PowerOn {
				t.Errorf("power is %s, want on", p)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestIntegrationIpmitoolSwitchesOnWhatStaysOff(t *testing.T) {
	needsIpmitool(t)
	b := newBroken(t)
	b.add(fault.Spec{Kind: "stuck-power"})
	out, err := b.ipmitool("chassis", "power", "on")
	if err != nil || !strings.Contains(out, "Up/On") {
		t.Errorf("power on: %v\n%s", err, out)
	}
	if out, err := b.ipmitool("chassis", "power", "status"); err != nil || !strings.Contains(out, "is off") {
		t.Errorf("power status: %v\n%s, want off", err, out)
	}
}

func TestIntegrationIpmitoolSwitchesOnLater(t *testing.T) {
	needsIpmitool(t)
	b := newBroken(t)
	b.add(fault.Spec{Kind: "slow-power", Delay: "300ms"})
	if out, err := b.ipmitool("chassis", "power", "on"); err != nil || !strings.Contains(out, "Up/On") {
		t.Errorf("power on: %v\n%s", err, out)
	}
	for end := time.Now().Add(10 * time.Second); b.chassis.Status().Power != state.PowerOn; {
		if time.Now().After(end) {
			t.Fatal("it did not come on in 10 s")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestABMCThatResetsForgetsItsSessions(t *testing.T) {
	b := newBroken(t)
	c, err := client.NewClient("127.0.0.1", b.port, "admin", "secret")
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithTimeout(300 * time.Millisecond).WithRetry(0)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }()
	if _, err := c.GetChassisStatus(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.add(fault.Spec{Kind: "bmc-reset"})
	do(t, b.manager, b.snapshot()) // which does not reset it again
	b.end()
	if _, err := c.GetChassisStatus(t.Context()); err == nil {
		t.Error("the session goes on after a reset")
	}
	if _, err := status(t, b.port, "secret"); err != nil {
		t.Errorf("a new session: %v", err)
	}
}

func TestABMCResetsOncePerProtocolAndFault(t *testing.T) {
	m := newMesh(t)
	m.declare(node(0), node(1))
	m.place(uuidOf(0), hypervisor, 7000)
	m.place(uuidOf(1), hypervisor, 7001)
	f := &faults{}
	add := func(id, protocol string) {
		m.apply(state.AddFault{Fault: state.Fault{ID: id, Kind: state.FaultBMCReset, Protocol: protocol, Nodes: []string{uuidOf(0)}, ForMilli: 60_000}})
	}
	update := func() { f.update(m.snapshot(), hypervisor, time.Now()) }
	expect := func(what, protocol string, want ...string) {
		t.Helper()
		if got := f.resets(protocol, time.Now()); !slices.Equal(got, want) {
			t.Errorf("%s, %s: %v resets, want %v", what, protocol, got, want)
		}
	}
	update()
	expect("nothing is wrong", fault.IPMI)
	add("both", "")
	update()
	for _, protocol := range []string{fault.IPMI, fault.Redfish} {
		expect("a reset", protocol, uuidOf(0))
		expect("the same", protocol)
	}
	add("another", fault.IPMI)
	update()
	expect("another", fault.IPMI, uuidOf(0))
	expect("another", fault.Redfish)
	expect("the same", fault.IPMI)
}

func TestAFaultEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.declare(node(0))
		m.place(uuidOf(0), hypervisor, 7000)
		f := &faults{}
		update := func() {
			snap := m.snapshot()
			f.update(snap, hypervisor, time.Now())
		}
		update()
		call := fault.Call{Protocol: fault.IPMI, Node: uuidOf(0)}
		m.apply(state.AddFault{Fault: state.Fault{ID: "f1", Kind: state.FaultDrop, Nodes: []string{uuidOf(0)}, SharePPM: 1_000_000, ForMilli: 60_000}})
		update()
		manager := &Manager{}
		manager.faults.all = f.all
		for _, step := range []struct {
			after time.Duration
			hits  bool
		}{{0, true}, {59 * time.Second, true}, {time.Second, false}} {
			time.Sleep(step.after) //nolint:forbidigo // the bubble's clock
			if got := f.ask(call).Drop; got != step.hits {
				t.Errorf("dropped: %t, want %t", got, step.hits)
			}
			if got := len(manager.EndedFaults()) == 0; got != step.hits {
				t.Errorf("lasts: %t, want %t", got, step.hits)
			}
		}
		call.Node = uuidOf(1)
		if f.ask(call) != (fault.Effect{}) || f.counts()["f1"] != (FaultCount{2, 2}) {
			t.Errorf("counts %+v, want two requests, both hit", f.counts())
		}
		m.apply(state.EndFaults{IDs: []string{"f1"}})
		update()
		if len(f.counts()) != 0 {
			t.Error("it is counted still")
		}
	})
}

func TestWhatAFaultHitsDoesNotDependOnOtherFaults(t *testing.T) {
	hits := func(more ...state.Fault) (out []int) {
		m := newMesh(t)
		m.declare(node(0))
		m.place(uuidOf(0), hypervisor, 7000)
		for _, f := range append(more, state.Fault{ID: "share", Kind: state.FaultBusy, SharePPM: 300_000, Seed: 7}) {
			f.Nodes, f.ForMilli, f.AddedMilli = []string{uuidOf(0)}, 60_000, time.Now().UnixMilli()
			m.index++
			if err := m.store.Apply(m.index, state.Envelope{UnixMilli: time.Now().UnixMilli(), Command: state.AddFault{Fault: f}}); err != nil {
				t.Fatal(err)
			}
		}
		f := &faults{}
		f.update(m.snapshot(), hypervisor, time.Now())
		for i := range 100 {
			f.ask(fault.Call{Protocol: fault.IPMI, Node: uuidOf(0), Login: true, Open: true}) // not its business
			if f.ask(fault.Call{Protocol: fault.IPMI, Node: uuidOf(0)}).Code != 0 {
				out = append(out, i)
			}
		}
		return out
	}
	alone := hits()
	with := hits(state.Fault{ID: "other", Kind: state.FaultDelay, SharePPM: 500_000, DelayMilli: 1, Seed: 9})
	if len(alone) < 15 || !slices.Equal(alone, with) {
		t.Errorf("alone it hits %v, with another %v", alone, with)
	}
}

func TestPowerThatIsHeldBack(t *testing.T) {
	type request struct {
		action state.PowerAction
		effect fault.Effect
	}
	slow := fault.Effect{Slow: time.Minute}
	tests := map[string]struct {
		requests []request
		soon     state.Power
		late     state.Power
	}{
		"nothing is wrong":           {[]request{{state.ActionOn, fault.Effect{}}}, state.PowerOn, state.PowerOn},
		"stuck":                      {[]request{{state.ActionOn, fault.Effect{Stuck: true}}}, state.PowerOff, state.PowerOff},
		"slow":                       {[]request{{state.ActionOn, slow}}, state.PowerOff, state.PowerOn},
		"the last one counts":        {[]request{{state.ActionOn, slow}, {state.ActionOff, slow}}, state.PowerOff, state.PowerOff},
		"one that gets through, too": {[]request{{state.ActionOn, fault.Effect{}}, {state.ActionOff, slow}, {state.ActionOn, fault.Effect{}}}, state.PowerOn, state.PowerOn},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				behind := bmctest.NewChassis()
				var next fault.Effect
				c := &faulty{Chassis: behind, protocol: fault.IPMI, uuid: uuidOf(0), log: slog.New(slog.DiscardHandler),
					ask: func(call fault.Call) fault.Effect {
						if !call.Power || !call.AtChassis || call.Node != uuidOf(0) || call.Protocol != fault.IPMI {
							t.Errorf("asked about %+v", call)
						}
						return next
					}}
				for _, r := range tt.requests {
					next = r.effect
					if err := c.Power(t.Context(), r.action); err != nil {
						t.Fatal(err)
					}
				}
				if got := c.Status().Power; got != tt.soon {
					t.Errorf("power is %s, want %s", got, tt.soon)
				}
				time.Sleep(time.Minute + time.Second) //nolint:forbidigo // the bubble's clock
				synctest.Wait()
				if got := c.Status().Power; got != tt.late {
					t.Errorf("a minute later power is %s, want %s", got, tt.late)
				}
				c.close()
			})
		})
	}
}

func TestCloseTakesBackWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behind := bmctest.NewChassis()
		c := &faulty{Chassis: behind, log: slog.New(slog.DiscardHandler), ask: func(fault.Call) fault.Effect { return fault.Effect{Slow: time.Minute} }}
		for range 2 { // after it was closed nothing is held back any longer
			if err := c.Power(t.Context(), state.ActionOn); err != nil {
				t.Fatal(err)
			}
			c.close()
		}
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock
		if behind.Status().Power != state.PowerOff {
			t.Error("it came on after Close")
		}
	})
}

func TestRequestsAreRecordedAndAuditedByNode(t *testing.T) {
	b := newBroken(t)
	if _, err := status(t, b.port, "secret"); err != nil {
		t.Fatal(err)
	}
	b.apply(state.SetAudit{Nodes: []string{uuidOf(0)}, On: true})
	do(t, b.manager, b.snapshot())
	if _, err := status(t, b.port, "secret"); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[string]record.Call{}
	for _, c := range b.calls {
		seen[fmt.Sprintf("%s %s %t", c.Method, c.Result, c.Audit)] = c
		if c.Node != "tk0" || c.UUID != uuidOf(0) || c.Protocol != fault.IPMI || !c.Client.Addr().IsLoopback() || c.At.IsZero() {
			t.Errorf("recorded %+v", c)
		}
		if strings.Contains(fmt.Sprintf("%+v", c), "secret") {
			t.Errorf("a password is in %+v", c)
		}
	}
	for want, user := range map[string]string{"Login ok false": "admin", "Get Chassis Status ok false": "admin", "Get Chassis Status ok true": "admin"} {
		if c, ok := seen[want]; !ok || c.User != user {
			t.Errorf("no %q by %s among %v", want, user, seen)
		}
	}
}

func TestWhatIsRecordedOfAnIPMIRequest(t *testing.T) {
	tests := map[string]struct {
		call                 ipmi.Call
		method, result, user string
	}{
		"a command":                         {ipmi.Call{Name: "Chassis Control", User: "admin"}, "Chassis Control", "ok", "admin"},
		"one that is refused":               {ipmi.Call{Name: "Chassis Control", Code: 0xc0, User: "admin"}, "Chassis Control", "0xc0", "admin"},
		"one that is not known":             {ipmi.Call{Code: 0xc1, User: "admin"}, "unknown", "0xc1", "admin"},
		"a login":                           {ipmi.Call{Name: ipmi.LoginName, User: "operator"}, "Login", "ok", "operator"},
		"a wrong password":                  {ipmi.Call{Name: ipmi.LoginName, Code: rmcpWrongPassword, User: "admin"}, "Login", "wrong password", "admin"},
		"a password in place of the name":   {ipmi.Call{Name: ipmi.LoginName, Code: rmcpWrongPassword, User: "hunter2"}, "Login", "wrong password", record.Unknown},
		"a login that is refused otherwise": {ipmi.Call{Name: ipmi.LoginName, Code: 1, User: "hunter2"}, "Login", "0x01", record.Unknown},
	}
	for name, tt := range tests {
		var got record.Call
		m := New(Config{Record: func(c record.Call) { got = c }})
		m.observe(uuidOf(0), state.Account{Username: "admin"})(tt.call)
		if got.Method != tt.method || got.Result != tt.result || got.User != tt.user || got.UUID != uuidOf(0) {
			t.Errorf("%s: recorded %+v, want %s %s by %s", name, got, tt.method, tt.result, tt.user)
		}
	}
}

func TestARedfishServiceHasFaultsAndARecordAround(t *testing.T) {
	b := newBroken(t)
	h := b.manager.Around(func(user string) bool { return user == "admin" }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "root")
	}))
	system, root := "/redfish/v1/Systems/"+strings.ToUpper(uuidOf(0)), "/redfish/v1/"
	get := func(path string, want int) {
		t.Helper()
		rec := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.SetBasicAuth("admin", "secret")
		h.ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("%s: status %d, want %d", path, rec.Code, want)
		}
	}
	get(system, http.StatusOK)
	b.add(fault.Spec{Kind: "busy", Protocol: "redfish"})
	get(system, http.StatusServiceUnavailable)
	get(root, http.StatusOK)
	b.end()
	b.add(fault.Spec{Kind: "bad-credentials"})
	get(system, http.StatusUnauthorized)
	b.end()
	b.apply(state.AddFault{Fault: state.Fault{ID: "host", Kind: state.FaultBusy, Hypervisors: []string{hypervisor}, SharePPM: 1_000_000, ForMilli: 60_000}})
	do(t, b.manager, b.snapshot())
	get(root, http.StatusServiceUnavailable)
	var results []string
	for _, c := range b.calls {
		results = append(results, strings.Join([]string{c.Node, c.Protocol, c.Method, c.Result, c.User}, " "))
	}
	want := []string{"tk0 redfish GET /redfish/v1/Systems/* 200 admin", "tk0 redfish GET /redfish/v1/Systems/* 503 admin", " redfish GET /redfish/v1 200 admin",
		"tk0 redfish GET /redfish/v1/Systems/* 401 admin", " redfish GET /redfish/v1 503 admin"}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("recorded (-want +got)\n%s", diff)
	}
}

func TestRedfishSeesAChassisWithFaultsForAsLongAsTheNodeIsHere(t *testing.T) {
	b := newBroken(t)
	c := b.manager.RedfishChassis(uuidOf(0))
	if b.manager.RedfishChassis(uuidOf(0)) != c {
		t.Error("another chassis the second time")
	}
	b.add(fault.Spec{Kind: "stuck-power", Protocol: "ipmi"})
	if err := c.Power(t.Context(), state.ActionOn); err != nil || c.Status().Power != state.PowerOn {
		t.Errorf("a fault of IPMI: %v, power %s, want on", err, c.Status().Power)
	}
	b.add(fault.Spec{Kind: "stuck-power", Protocol: "redfish"})
	if err := c.Power(t.Context(), state.ActionOff); err != nil || c.Status().Power != state.PowerOn {
		t.Errorf("stuck: %v, power %s, want on", err, c.Status().Power)
	}
	b.end()
	b.add(fault.Spec{Kind: "slow-power"})
	if err := c.Power(t.Context(), state.ActionOff); err != nil {
		t.Fatal(err)
	}
	b.manager.Close() // which takes back what is held back, and waits
	if b.chassis.Status().Power != state.PowerOn {
		t.Error("it was carried out all the same")
	}
}
