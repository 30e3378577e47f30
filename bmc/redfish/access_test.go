package redfish

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/bmc/bmctest"
	bmcguard "tenks/bmc/guard"
	"tenks/raftfsm/state"
)

func TestWhoIsLetIn(t *testing.T) {
	for _, row := range []struct {
		name, user, password, token string
		status                      int
	}{
		{"right", "admin", "correct horse", "", 200},
		{"of other systems", "admin", "another one", "", 200},
		{"wrong password", "admin", "nope", "", 401},
		{"unknown user", "root", "correct horse", "", 401},
		{"no password", "admin", "", "", 401},
		{"nobody", "", "", "", 401},
		{"a token that is none", "admin", "correct horse", "abc", 401},
	} {
		f := newFixture(t)
		f.user, f.password, f.token = row.user, row.password, row.token
		a := f.want(row.status, get, systemsPath, nil)
		if row.status != 401 {
			continue
		}
		if a.Header().Get("WWW-Authenticate") == "" || a.message() != "NoValidSession" || strings.Contains(a.Body.String(), "admin") {
			t.Errorf("%s: %v %s", row.name, a.Header(), a.Body)
		}
		f.want(401, get, "/redfish/v1/Nothing", nil)
	}
}

func TestAnAccountSeesItsSystemsOnly(t *testing.T) {
	f := newFixture(t)
	if got := f.want(200, get, systemsPath, nil).at("Members@odata.count"); got != float64(2) {
		t.Errorf("got %v systems, want 2", got)
	}
	for _, base := range []string{systemsPath, chassisPath, managersPath} {
		f.want(404, get, base+"/"+other, nil)
	}
	f.want(404, post, systemsPath+"/"+other+"/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`)
	mine := f.want(201, post, subscriptionsPath, `{"Destination":"http://127.0.0.1:9/","Protocol":"Redfish"}`).Header().Get("Location")
	session := f.want(201, post, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`).Header().Get("Location")
	f.want(201, post, accountsPath, `{"UserName":"op","Password":"long enough","RoleId":"Operator"}`)
	f.want(400, post, subscriptionsPath, map[string]any{"Destination": "http://127.0.0.1:9/", "Protocol": "Redfish", "OriginResources": []any{map[string]string{"@odata.id": systemsPath + "/" + other}}})
	f.password = "another one"
	for _, path := range []string{mine, session, accountsPath + "/op"} {
		f.want(404, get, path, nil)
		f.want(404, remove, path, nil)
	}
	if got := f.want(200, get, systemsPath+"?$expand=.", nil).at("Members/0/@odata.id"); got != systemsPath+"/"+other {
		t.Errorf("got %v", got)
	}
	f.user, f.password = "op", "long enough"
	f.want(200, get, sys1, nil)
	f.want(404, get, systemsPath+"/"+other, nil)
}

func TestSessions(t *testing.T) {
	f := newFixture(t)
	a := f.want(201, post, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`)
	token, path := a.Header().Get("X-Auth-Token"), a.Header().Get("Location")
	if len(token) < 32 || strings.Contains(a.Body.String(), token) {
		t.Errorf("token %q in %s", token, a.Body)
	}
	f.user, f.token = "", token
	f.want(200, get, sys1, nil)
	f.want(200, get, path, nil)
	f.advance(defaultSessionTimeout - time.Minute)
	f.want(200, get, sys1, nil)
	f.advance(defaultSessionTimeout - time.Minute)
	f.want(200, get, sys1, nil)
	f.advance(defaultSessionTimeout)
	f.want(401, get, sys1, nil)

	f.token = ""
	f.want(401, post, sessionsPath, `{"UserName":"admin","Password":"wrong"}`)
	f.want(400, post, sessionsPath, `{"UserName":"admin"}`)
	a = f.want(201, post, sessionsPath+"/Members", `{"UserName":"admin","Password":"correct horse"}`)
	f.token = a.Header().Get("X-Auth-Token")
	f.want(204, remove, a.Header().Get("Location"), nil)
	f.want(401, get, sys1, nil)
}

func TestASessionEndsWithItsAccount(t *testing.T) {
	f := newFixture(t)
	f.token = f.want(201, post, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`).Header().Get("X-Auth-Token")
	systems, _ := f.fleet.All()
	systems = slices.Clone(systems)
	for i := range systems {
		systems[i].Account.Password = state.NewSecret("changed")
	}
	f.fleet.set(systems)
	f.want(401, get, sys1, nil)
	f.token, f.password = "", "changed"
	f.want(200, get, sys1, nil)
}

func TestSessionsOfAnAccountAreBounded(t *testing.T) {
	f := newFixture(t)
	var tokens []string
	for range maxUserSessions + 1 {
		f.advance(time.Second)
		tokens = append(tokens, f.want(201, post, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`).Header().Get("X-Auth-Token"))
	}
	f.token = tokens[0]
	f.want(401, get, sys1, nil)
	f.token = tokens[1]
	f.want(200, get, sys1, nil)
}

func TestGuessing(t *testing.T) {
	f := newFixture(t)
	f.password = "guess"
	for range bmcguard.MaxFailures {
		f.want(401, get, systemsPath, nil)
	}
	f.password = "correct horse"
	f.want(503, get, systemsPath, nil)
	f.source = "192.0.2.2:4000"
	f.want(200, get, systemsPath, nil)
	f.source = "192.0.2.1:5000"
	f.want(503, post, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`)
	f.advance(bmcguard.BlockFor)
	f.want(200, get, systemsPath, nil)
}

func TestRequestsOfASourceAreBounded(t *testing.T) {
	f := newFixture(t)
	source := suspectOf(f.source, "").Source
	for range maxPerSource {
		if !f.inFlight.enter(source) {
			t.Fatal("refused too early")
		}
	}
	f.want(503, get, systemsPath, nil)
	f.source = "192.0.2.2:1"
	f.want(200, get, systemsPath, nil)
	f.source = "192.0.2.1:1"
	f.inFlight.leave(source)
	f.want(200, get, systemsPath, nil)
	for range maxGuesses {
		f.access.guesses <- struct{}{}
	}
	f.want(200, get, systemsPath, nil) // the nodes' account is not guessed
	f.password = "wrong"
	f.want(503, get, systemsPath, nil)
}

func TestAccountsAndRoles(t *testing.T) {
	f := newFixture(t)
	account := accountsPath + "/op"
	run(t, f, []exchange{
		{name: "short password", method: post, path: accountsPath, body: `{"UserName":"op","Password":"short","RoleId":"Operator"}`, status: 400, message: "PropertyValueFormatError"},
		{name: "no role", method: post, path: accountsPath, body: `{"UserName":"op","Password":"long enough"}`, status: 400, message: "CreateFailedMissingReqProperties"},
		{name: "odd name", method: post, path: accountsPath, body: `{"UserName":"o/p","Password":"long enough","RoleId":"Operator"}`, status: 400, message: "PropertyValueFormatError"},
		{name: "of the nodes", method: post, path: accountsPath, body: `{"UserName":"admin","Password":"long enough","RoleId":"Operator"}`, status: 409, message: "ResourceAlreadyExists"},
		{name: "made", method: post, path: accountsPath, body: `{"UserName":"op","Password":"long enough","RoleId":"Operator"}`, status: 201, has: map[string]any{"RoleId": "Operator", "Password": nil}, header: map[string]string{"Location": account}},
		{name: "twice", method: post, path: accountsPath, body: `{"UserName":"op","Password":"long enough","RoleId":"Operator"}`, status: 409},
		{name: "the nodes' own is fixed", method: patch, path: accountsPath + "/admin", body: `{"Password":"long enough"}`, status: 400, message: "PropertyNotWritable"},
		{name: "and stays", method: remove, path: accountsPath + "/admin", status: 403},
	})
	f.user, f.password = "op", "long enough"
	run(t, f, []exchange{
		{name: "operator reads", method: get, path: sys1, status: 200},
		{name: "operator switches", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, status: 204},
		{name: "operator makes no accounts", method: post, path: accountsPath, body: `{"UserName":"x","Password":"long enough","RoleId":"Administrator"}`, status: 403, message: "InsufficientPrivilege"},
		{name: "operator sets no clock", method: patch, path: managersPath + "/" + first, body: `{"DateTime":"2026-03-01T15:30:00+02:00"}`, status: 403},
		{name: "nor its role", method: patch, path: account, body: `{"RoleId":"Administrator"}`, status: 403},
		{name: "nor its role with a password", method: patch, path: account, body: `{"RoleId":"Administrator","Password":"another long"}`, status: 403},
		{name: "but its password", method: patch, path: account, body: `{"Password":"another long"}`, status: 200},
	})
	f.want(401, get, sys1, nil)
	f.password = "another long"
	f.want(200, get, sys1, nil)
	token := f.want(201, post, sessionsPath, `{"UserName":"op","Password":"another long"}`).Header().Get("X-Auth-Token")
	f.user, f.password = "admin", "correct horse"
	run(t, f, []exchange{
		{name: "to read only", method: patch, path: account, body: `{"RoleId":"ReadOnly","PasswordChangeRequired":true}`, status: 200, has: map[string]any{"RoleId": "ReadOnly"}},
	})
	f.user, f.password = "op", "another long"
	run(t, f, []exchange{
		{name: "must change", method: get, path: sys1, status: 403, message: "PasswordChangeRequired"},
		{name: "is told at login", method: post, path: sessionsPath, body: `{"UserName":"op","Password":"another long"}`, status: 201, has: map[string]any{"@Message.ExtendedInfo/0/MessageId": "Base.1.16.PasswordChangeRequired"}},
		{name: "does", method: patch, path: account, body: `{"Password":"a third one"}`, status: 200},
	})
	f.password = "a third one"
	run(t, f, []exchange{
		{name: "reads", method: get, path: sys1, status: 200},
		{name: "switches nothing", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"Off"}`, status: 403},
	})
	f.token = token
	f.want(401, get, sys1, nil)
	f.token, f.user, f.password = "", "admin", "correct horse"
	f.want(200, patch, account, `{"Enabled":false}`)
	f.user, f.password = "op", "a third one"
	f.want(401, get, sys1, nil)
	f.user, f.password = "admin", "correct horse"
	f.want(204, remove, account, nil)
	f.want(404, get, account, nil)
}

func TestSystemsElsewhere(t *testing.T) {
	far := newFixture(t)
	f := newFixture(t, func(c *Config) {
		c.Forward = func(w http.ResponseWriter, r *http.Request, sys System, caller *Caller) {
			far.ServeHTTP(w, r.WithContext(AsCaller(r.Context(), caller.UserName, caller.Role, sys.ID)))
		}
	})
	systems, _ := f.fleet.All()
	systems = slices.Clone(systems)
	systems[0].Chassis, systems[0].Peer = nil, "hv2"
	f.fleet.set(systems)
	run(t, f, []exchange{
		{name: "read", method: get, path: sys1, status: 200, has: map[string]any{"Id": first}},
		{name: "collection", method: get, path: systemsPath, status: 200, has: map[string]any{"Members@odata.count": float64(2)}},
		{name: "expanded", method: get, path: systemsPath + "?$expand=.", status: 200, has: map[string]any{"Members/0/PowerState": "Off", "Members/1/PowerState": "Off"}},
		{name: "filtered", method: get, path: systemsPath + "?$filter=Boot/BootSourceOverrideMode%20eq%20'UEFI'", status: 200, has: map[string]any{"Members@odata.count": float64(2)}},
		{name: "switched", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, status: 204},
	})
	if got := far.chassis[first].Status().Power; got != state.PowerOn {
		t.Errorf("power there: %s", got)
	}
	f.password = "another one"
	f.want(404, get, sys1, nil)
	// What was forwarded is not forwarded again, and is for that system only.
	r := httptest.NewRequestWithContext(AsCaller(t.Context(), "admin", roleAdministrator, first), get, systemsPath+"/"+second, nil)
	w := httptest.NewRecorder()
	far.ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("another system through a forwarded request: %d", w.Code)
	}
}

func TestAnAccountOfSystemsElsewhereIsMadeThere(t *testing.T) {
	const body = `{"UserName":"op","Password":"long enough","RoleId":"Operator"}`
	far := newFixture(t)
	var at []string
	f := newFixture(t, func(c *Config) {
		c.Forward = func(w http.ResponseWriter, r *http.Request, sys System, caller *Caller) {
			at = append(at, sys.Peer)
			far.ServeHTTP(w, r.WithContext(AsCaller(r.Context(), caller.UserName, caller.Role, sys.ID)))
		}
	})
	systems, _ := f.fleet.All()
	systems = slices.Clone(systems)
	for i := range systems {
		systems[i].Chassis, systems[i].Peer = nil, "hv2"
	}
	f.fleet.set(systems)
	a := f.want(http.StatusCreated, post, accountsPath, body)
	if got := a.Header().Get("Location"); got != accountsPath+"/op" || !slices.Equal(at, []string{"hv2"}) {
		t.Errorf("made at %q, location %q", at, got)
	}
	far.user, far.password = "op", "long enough"
	if a := far.want(http.StatusOK, get, sys1, nil); a.at("Id") != first {
		t.Errorf("there it sees %s", a.Body)
	}
	account := accountsPath + "/op"
	run(t, f, []exchange{
		{name: "read", method: get, path: account, status: http.StatusOK, has: map[string]any{"RoleId": "Operator"}},
		{name: "changed", method: patch, path: account, body: `{"RoleId":"ReadOnly"}`, status: http.StatusOK, has: map[string]any{"RoleId": "ReadOnly"}},
		{name: "made again", method: post, path: accountsPath, body: body, status: http.StatusConflict},
		{name: "deleted", method: remove, path: account, status: http.StatusNoContent},
		{name: "gone", method: get, path: account, status: http.StatusNotFound},
		{name: "its own, which is known here", method: get, path: accountsPath + "/admin", status: http.StatusOK},
	})
	// So is a subscription.
	location := f.want(http.StatusCreated, post, subscriptionsPath, `{"Destination":"http://127.0.0.1:9/","Protocol":"Redfish","Context":"far"}`).Header().Get("Location")
	run(t, f, []exchange{
		{name: "a subscription, read", method: get, path: location, status: http.StatusOK, has: map[string]any{"Context": "far"}},
		{name: "a subscription, deleted", method: remove, path: location, status: http.StatusNoContent},
		{name: "a subscription, gone", method: get, path: location, status: http.StatusNotFound},
	})
	at = nil
	// A peer that has a system of the account makes it itself.
	systems = slices.Clone(systems)
	systems[1].Chassis = f.chassis[second]
	f.fleet.set(systems)
	f.want(http.StatusCreated, post, accountsPath, body)
	if len(at) > 0 {
		t.Errorf("forwarded to %q", at)
	}
	// Nobody to forward it to, or one that is not there: it can be asked for again.
	alone := newFixture(t)
	alone.fleet.set([]System{{ID: first, Account: systems[0].Account}})
	if a := alone.want(http.StatusServiceUnavailable, post, accountsPath, body); a.Header().Get("Retry-After") == "" {
		t.Errorf("headers %v", a.Header())
	}
}

func TestManySystemsWithTheirOwnPasswords(t *testing.T) {
	f := newFixture(t)
	var systems []System
	for i := range 2000 {
		systems = append(systems, System{ID: fmt.Sprintf("00000000-0000-0000-0000-%012d", i), Name: "n", Chassis: bmctest.NewChassis(),
			Account: state.Account{Username: "admin", Password: state.NewSecret(fmt.Sprintf("password %d", i))}})
	}
	f.fleet.set(systems)
	for _, i := range []int{0, 999, 1999} {
		f.password = fmt.Sprintf("password %d", i)
		if got := f.want(200, get, systemsPath, nil).at("Members/0/@odata.id"); got != systemsPath+"/"+systems[i].ID {
			t.Errorf("password %d: got %v", i, got)
		}
	}
}

func TestTasks(t *testing.T) {
	f := newFixture(t)
	r := &Request{HTTP: httptest.NewRequestWithContext(t.Context(), post, sys1, nil), Service: f.Service, Path: sys1, System: System{ID: first},
		Caller: &Caller{UserName: "admin", Role: roleAdministrator, systems: []string{first, second}}}
	start := func(run func(ctx context.Context, t *Task) error) *Task {
		result, err := r.Start("work", run)
		if err != nil {
			t.Fatal(err)
		}
		return result.Task
	}
	hold := make(chan struct{})
	slow := start(func(_ context.Context, task *Task) error { task.Progress(40); <-hold; return nil })
	eventually(t, "progress", func() bool { return f.want(200, get, slow.path(), nil).at("PercentComplete") == float64(40) })
	run(t, f, []exchange{{name: "running", method: get, path: slow.monitor(), status: 202, header: map[string]string{"Location": slow.monitor(), "Retry-After": "1"}, has: map[string]any{"TaskState": "Running"}}})
	close(hold)
	eventually(t, "completed", func() bool { return f.do(get, slow.monitor(), nil).Code == 200 })
	run(t, f, []exchange{{name: "completed", method: get, path: slow.monitor(), status: 200, has: map[string]any{"TaskState": "Completed", "@odata.id": slow.path(), "Messages/0/MessageId": "Base.1.16.Success"}}})
	bad := start(func(context.Context, *Task) error { return fail(400, msg("PropertyValueError", "Image")) })
	eventually(t, "failed", func() bool { return f.want(200, get, bad.path(), nil).at("TaskState") == "Exception" })
	endless := start(func(ctx context.Context, _ *Task) error { <-ctx.Done(); return ctx.Err() })
	eventually(t, "started", func() bool { endless.mu.Lock(); defer endless.mu.Unlock(); return endless.cancel != nil })
	f.want(204, remove, endless.monitor(), nil)
	f.want(404, get, endless.path(), nil)
	f.password = "another one"
	f.want(404, get, slow.path(), nil)
	w := httptest.NewRecorder()
	if err := f.answer(w, r, &Result{Task: slow}); err != nil || w.Code != 202 || w.Body.Len() > 0 {
		t.Errorf("answer of a task: %v %d %s", err, w.Code, w.Body)
	}
}

func TestSessionsEndWithTheResetOfABMC(t *testing.T) {
	f := newFixture(t)
	login := func(password string) string {
		return f.want(201, post, sessionsPath, `{"UserName":"admin","Password":"`+password+`"}`).Header().Get("X-Auth-Token")
	}
	shared, apart := login("correct horse"), login("another one")
	for _, c := range []struct {
		reset                      string
		ended, ofShared, ofAnother int
	}{{"unknown", 0, 200, 200}, {second, 1, 401, 200}, {second, 0, 401, 200}, {other, 1, 401, 401}} {
		if got := f.EndSessions(c.reset); got != c.ended {
			t.Errorf("%s: ended %d sessions, want %d", c.reset, got, c.ended)
		}
		f.token = shared
		f.want(c.ofShared, get, systemsPath, nil)
		f.token = apart
		f.want(c.ofAnother, get, systemsPath, nil)
		f.token = ""
	}
}
