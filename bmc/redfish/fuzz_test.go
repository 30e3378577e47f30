package redfish

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"

	bmcguard "tenks/bmc/guard"
)

// fuzzed sends a request that was made up, and checks what holds for every answer.
func fuzzed(t *testing.T, f *fixture, r *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	switch {
	case w.Code == http.StatusInternalServerError:
		t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	case w.Code >= 400 && r.Method != http.MethodHead && !strings.Contains(w.Body.String(), "@Message.ExtendedInfo"):
		t.Errorf("%s %s: an error without message: %d %s", r.Method, r.URL, w.Code, w.Body)
	case strings.Contains(w.Body.String(), f.password) || strings.Contains(w.Body.String(), "another one"):
		t.Errorf("%s %s: a password in the answer", r.Method, r.URL)
	}
}

func FuzzURI(f *testing.F) {
	fx := newFixture(f)
	for _, rt := range fx.table {
		f.Add(strings.ReplaceAll(rt.Path, "{system}", first), "$expand=*($levels=2)&$select=Id,Links/Chassis")
	}
	f.Add(systemsPath, "$filter=PowerState eq 'On' and not (Id lt 'x')&$top=1&$skip=0")
	f.Add(sys1+"/Processors", "only")
	f.Add("//..//%00", ";=&")
	f.Fuzz(func(t *testing.T, path, query string) {
		if path == eventServicePath+"/SSE" || path == eventServicePath+"/SSE/" {
			return // it does not end
		}
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
			if method == http.MethodDelete && strings.HasPrefix(path, sessionsPath) {
				continue
			}
			r := httptest.NewRequestWithContext(t.Context(), method, "http://bmc.example/", http.NoBody)
			r.URL = &url.URL{Path: path, RawQuery: query}
			r.SetBasicAuth(fx.user, fx.password)
			fuzzed(t, fx, r)
		}
	})
}

func FuzzBody(f *testing.F) {
	fx := newFixture(f)
	// Events of what is subscribed to here go nowhere.
	nowhere := &http.Client{Transport: unreachable{}}
	fx.events.verifying, fx.events.lax = nowhere, nowhere
	targets := []struct{ method, path string }{
		{http.MethodPatch, sys1}, {http.MethodPatch, chassisPath + "/" + first}, {http.MethodPatch, managersPath + "/" + first}, {http.MethodPatch, accountsPath + "/admin"},
		{http.MethodPost, sys1 + "/Actions/ComputerSystem.Reset"}, {http.MethodPost, sessionsPath}, {http.MethodPost, subscriptionsPath},
		{http.MethodPost, eventServicePath + "/Actions/EventService.SubmitTestEvent"},
		{http.MethodPost, insert}, {http.MethodPatch, cd}, {http.MethodPost, cd + "/Certificates"},
		{http.MethodPatch, bios + "/Settings"}, {http.MethodPost, bios + "/Actions/Bios.ChangePassword"},
		{http.MethodPatch, secure},
		{http.MethodPost, updatePath + "/Actions/UpdateService.SimpleUpdate"},
		{http.MethodPost, volumes}, {http.MethodDelete, volumes + "/1"}, {http.MethodPost, volumes + "/1/Actions/Volume.Initialize"}, {http.MethodPatch, storage + "/Drives/Disk1"},
	}
	for i := range targets {
		f.Add(byte(i), `{"AssetTag":"a","Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"},"PowerState":1e999}`)
		f.Add(byte(i), `{"UserName":"a","Password":"b","ResetType":"On","DateTime":"2026-01-01T00:00:00Z","MessageId":"x"}`)
		f.Add(byte(i), `{"Destination":"http://192.0.2.1","Protocol":"Redfish","HttpHeaders":[{"A":"b"}],"OriginResources":[{"@odata.id":"/redfish/v1/Systems"}]}`)
		f.Add(byte(i), `{"Image":"http://u:p@[::1]:99/a.iso#x","Inserted":true,"TransferProtocolType":"HTTP","CertificateString":"-----BEGIN CERTIFICATE-----","CertificateType":"PEM"}`)
		f.Add(byte(i), `{"Attributes":{"BootTimeout":1e2,"NumLock":null,"SystemProfile":"Custom"},"@Redfish.SettingsApplyTime":{"ApplyTime":"OnReset"}}`)
		f.Add(byte(i), `{"ImageURI":"http://h/bios-1.2.bin","Targets":["`+sys1+`/Bios"],"TransferProtocol":"HTTP"}`)
		f.Add(byte(i), `{"RAIDType":"RAID0","CapacityBytes":512,"Links":{"Drives":[{"@odata.id":"`+storage+`/Drives/Disk1"},{}]},"@Redfish.OperationApplyTime":"OnReset"}`)
	}
	f.Fuzz(func(t *testing.T, target byte, body string) {
		to := targets[int(target)%len(targets)]
		r := httptest.NewRequestWithContext(t.Context(), to.method, "http://bmc.example"+to.path, strings.NewReader(body))
		r.SetBasicAuth(fx.user, fx.password)
		r.RemoteAddr = "192.0.2.1:1"
		fuzzed(t, fx, r)
		fx.guard().forgetAll()
	})
}

// unreachable is a network without anybody.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) { return nil, syscall.ENETUNREACH }

// guard is the part of access that slows clients down.
func (f *fixture) guard() *guard { return &f.access.guard }

func (g *guard) forgetAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known = bmcguard.Guard{}
}

func FuzzFilter(f *testing.F) {
	o := Object{{"A", "x"}, {"N", 5}, {"B", true}, {"In", Object{{"F", 1.5}}}}
	for _, filter := range []string{"A eq 'x'", "not (N gt 5 or B ne true) and In/F le 1.5", "A eq 'it''s'", "((("} {
		f.Add(filter)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		e, ok := parseFilter(filter)
		if !ok {
			return
		}
		not := expression{op: "not", left: e}
		if e.holds(o) == not.holds(o) {
			t.Errorf("%q holds, and so does its negation", filter)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	fx := newFixture(f)
	for _, header := range []string{"Basic YWRtaW46Y29ycmVjdCBob3JzZQ==", "Basic !!!", "Bearer abc", "Basic", "basic Og=="} {
		f.Add(header, "")
		f.Add("", header)
	}
	f.Fuzz(func(t *testing.T, authorization, token string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://bmc.example"+sys1, nil)
		r.Header["Authorization"], r.Header["X-Auth-Token"] = []string{authorization}, []string{token}
		w := httptest.NewRecorder()
		fx.ServeHTTP(w, r)
		user, password, _ := r.BasicAuth()
		right := token == "" && user == fx.user && password == fx.password
		if (w.Code == http.StatusOK) != right {
			t.Errorf("%q %q: %d", authorization, token, w.Code)
		}
		fx.guard().forgetAll()
	})
}

func FuzzPushUpdate(f *testing.F) {
	fx := newFixture(f)
	for _, parameters := range []string{`{"Targets":["` + sys1 + `"]}`, `{`, ``} {
		body, kind := pushed(f, parameters, "bios-1.2.bin", `{"Component":"BMC","Version":"7"}`)
		f.Add(kind, body)
	}
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://bmc.example"+multipartPath, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		r.SetBasicAuth(fx.user, fx.password)
		fuzzed(t, fx, r)
	})
}

func FuzzVersion(f *testing.F) {
	for _, name := range []string{"bios-2.19.1.bin", "x.tar.gz", "", "ü", "1.1.1.1.1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if v := versionOf(name); v == "" || len(v) > maxVersion || printable(v) != v {
			t.Errorf("%q has version %q", name, v)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	f.Add(certificate(f, "a name"))
	f.Add("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := appendObject(nil, certificateObject(keptCertificate{ID: "1", PEM: text})); err != nil {
			t.Error(err)
		}
	})
}
