package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// exchange is a request and what comes back.
type exchange struct {
	name         string
	method, path string
	body         any
	headers      []string
	status       int
	// message is the MessageId of a refusal without the registry; has are values by path.
	message string
	has     map[string]any
	// header are headers that the answer has.
	header map[string]string
}

// run carries out exchanges, in order, with one fixture.
func run(t *testing.T, f *fixture, list []exchange) {
	t.Helper()
	for _, x := range list {
		a := f.do(x.method, x.path, x.body, x.headers...)
		if a.Code != x.status || x.message != "" && a.message() != x.message {
			t.Errorf("%s: %s %s %v: got %d %s, want %d %s: %s", x.name, x.method, x.path, x.body, a.Code, a.message(), x.status, x.message, a.Body)
			continue
		}
		for path, want := range x.has {
			if got := a.at(path); got != want {
				t.Errorf("%s: %s %s %v: got %s %v, want %v", x.name, x.method, x.path, x.body, path, got, want)
			}
		}
		for name, want := range x.header {
			if got := a.Header().Get(name); got != want {
				t.Errorf("%s: %s %s: got header %s %q, want %q", x.name, x.method, x.path, name, got, want)
			}
		}
	}
}

const (
	get    = http.MethodGet
	post   = http.MethodPost
	patch  = http.MethodPatch
	remove = http.MethodDelete
	sys1   = systemsPath + "/" + first
)

func TestProtocol(t *testing.T) {
	f := newFixture(t)
	run(t, f, []exchange{
		{name: "versions", method: get, path: "/redfish", status: 200, has: map[string]any{"v1": "/redfish/v1/"}},
		{name: "root", method: get, path: "/redfish/v1", status: 200, has: map[string]any{"@odata.id": "/redfish/v1/", "UUID": meshID}},
		{name: "service document", method: get, path: "/redfish/v1/odata", status: 200, has: map[string]any{"value/0/name": "Service"}},
		{name: "metadata", method: get, path: "/redfish/v1/$metadata", status: 200, headers: []string{"Accept: application/xml"}, header: map[string]string{"Content-Type": "application/xml;charset=utf-8"}},
		{name: "metadata is no JSON", method: get, path: "/redfish/v1/$metadata", status: 406, headers: []string{"Accept: application/json"}},
		{name: "a trailing slash", method: get, path: systemsPath + "/", status: 200, has: map[string]any{"@odata.id": systemsPath}},
		{name: "another OData version", method: get, path: systemsPath, status: 412, headers: []string{"OData-Version: 3.0"}},
		{name: "HTML", method: get, path: systemsPath, status: 406, headers: []string{"Accept: text/html"}},
		{name: "anything", method: get, path: systemsPath, status: 200, headers: []string{"Accept: text/html, */*;q=0.1"}},
		{name: "an origin", method: get, path: systemsPath, status: 200, headers: []string{"Origin: http://a.example"}, header: map[string]string{"Access-Control-Allow-Origin": "http://a.example"}},
		{name: "no such resource", method: get, path: "/redfish/v1/Nothing", status: 404, message: "ResourceMissingAtURI"},
		{name: "outside", method: get, path: "/other", status: 404, message: "ResourceMissingAtURI"},
		{name: "an unknown method", method: "FOO", path: systemsPath, status: 501, message: "NotImplemented"},
		{name: "a method that is not there", method: remove, path: systemsPath, status: 405, message: "OperationNotAllowed", header: map[string]string{"Allow": "GET, HEAD"}},
		{name: "GET of an action", method: get, path: sys1 + "/Actions/ComputerSystem.Reset", status: 405, header: map[string]string{"Allow": "POST"}},
		{name: "options", method: http.MethodOptions, path: sys1, status: 204, header: map[string]string{"Allow": "GET, HEAD, PATCH"}},
		{name: "action info", method: get, path: sys1 + "/ResetActionInfo", status: 200, has: map[string]any{"Parameters/0/Name": "ResetType", "Parameters/0/AllowableValues/0": "On"}},
		{name: "a large body", method: patch, path: sys1, body: `{"AssetTag":"` + strings.Repeat("x", maxBody) + `"}`, status: 413},
		{name: "no JSON", method: patch, path: sys1, body: `{"AssetTag"`, status: 400, message: "MalformedJSON"},
		{name: "two documents", method: patch, path: sys1, body: `{} {}`, status: 400, message: "MalformedJSON"},
		{name: "a list", method: patch, path: sys1, body: `[]`, status: 400, message: "UnrecognizedRequestBody"},
		{name: "no body", method: patch, path: sys1, status: 400, message: "MalformedJSON"},
		{name: "a form", method: patch, path: sys1, body: `a=b`, headers: []string{"Content-Type: application/x-www-form-urlencoded"}, status: 415},
		{name: "nothing to do", method: patch, path: sys1, body: `{}`, status: 400, message: "NoOperation"},
		{name: "annotations only", method: patch, path: sys1, body: `{"@odata.id":"x"}`, status: 400, message: "NoOperation"},
		{name: "an unknown property", method: patch, path: sys1, body: `{"Nonsense":1}`, status: 400, message: "PropertyUnknown",
			has: map[string]any{"error/@Message.ExtendedInfo/0/RelatedProperties/0": "/Nonsense"}},
		{name: "a read-only property", method: patch, path: sys1, body: `{"PowerState":"On"}`, status: 400, message: "PropertyNotWritable"},
		{name: "a wrong type", method: patch, path: sys1, body: `{"AssetTag":7}`, status: 400, message: "PropertyValueTypeError"},
		{name: "not in the list", method: patch, path: sys1, body: `{"IndicatorLED":"Purple"}`, status: 400, message: "PropertyValueNotInList"},
		{name: "inside", method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideTarget":"Tape"}}`, status: 400, message: "PropertyValueNotInList",
			has: map[string]any{"error/@Message.ExtendedInfo/0/RelatedProperties/0": "/Boot/BootSourceOverrideTarget"}},
		{name: "some good, some bad", method: patch, path: sys1, body: `{"AssetTag":"a","PowerState":"On"}`, status: 200,
			has: map[string]any{"AssetTag": "a", "PowerState@Message.ExtendedInfo/0/MessageId": "Base.1.16.PropertyNotWritable"}},
		{name: "minimal", method: patch, path: sys1, body: `{"AssetTag":"b"}`, headers: []string{"Prefer: return=minimal"}, status: 204},
		{name: "back to nothing", method: patch, path: sys1, body: `{"AssetTag":null}`, status: 200, has: map[string]any{"AssetTag": nil}},
		{name: "a missing parameter", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", status: 400, message: "ActionParameterMissing"},
		{name: "an unknown parameter", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On","x":1}`, status: 400, message: "ActionParameterUnknown"},
		{name: "a wrong parameter", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"Explode"}`, status: 400, message: "ActionParameterValueNotInList"},
		{name: "an unknown action", method: post, path: sys1 + "/Actions/ComputerSystem.Fly", body: `{}`, status: 404},
		{name: "no body and no type", method: post, path: sys1 + "/LogServices/EventLog/Actions/LogService.ClearLog", status: 204},
		{name: "a query with POST", method: post, path: sys1 + "/Actions/ComputerSystem.Reset?$select=Id", body: `{"ResetType":"On"}`, status: 400, message: "QueryNotSupportedOnOperation"},
	})
}

func TestConditions(t *testing.T) {
	f := newFixture(t)
	etag := f.want(200, get, sys1, nil).Header().Get("Etag")
	strong := strings.TrimPrefix(etag, "W/")
	run(t, f, []exchange{
		{name: "not modified", method: get, path: sys1, headers: []string{"If-None-Match: " + etag}, status: 304},
		{name: "strong spelling", method: patch, path: sys1, body: `{"AssetTag":"a"}`, headers: []string{"If-Match: " + strong}, status: 200},
		{name: "stale", method: patch, path: sys1, body: `{"AssetTag":"b"}`, headers: []string{"If-Match: " + etag}, status: 412, message: "PreconditionFailed"},
		{name: "any", method: patch, path: sys1, body: `{"AssetTag":"b"}`, headers: []string{"If-Match: *"}, status: 200},
		{name: "modified", method: get, path: sys1, headers: []string{"If-None-Match: " + etag}, status: 200},
	})
	manager := managersPath + "/" + first
	etag = f.want(200, get, manager, nil).Header().Get("Etag")
	f.advance(3e9)
	f.want(304, get, manager, nil, "If-None-Match: "+etag)
}

func TestQueries(t *testing.T) {
	f := newFixture(t)
	f.chassis[second].SetPower(state.PowerOn)
	run(t, f, []exchange{
		{name: "select", method: get, path: sys1 + "?$select=PowerState,Boot/BootSourceOverrideMode", status: 200,
			has: map[string]any{"PowerState": "Off", "Boot/BootSourceOverrideMode": "UEFI", "Boot/BootSourceOverrideTarget": nil, "UUID": nil, "@odata.id": sys1}},
		{name: "expand", method: get, path: systemsPath + "?$expand=.($levels=1)", status: 200, has: map[string]any{"Members/1/PowerState": "On", "Members/1/Bios/Id": nil}},
		{name: "two levels", method: get, path: systemsPath + "?$expand=.($levels=2)", status: 200, has: map[string]any{"Members/0/Processors/Members@odata.count": float64(1)}},
		{name: "links", method: get, path: sys1 + "?$expand=~", status: 200, has: map[string]any{"Links/Chassis/0/ChassisType": "RackMount", "Processors/Name": nil}},
		{name: "all", method: get, path: sys1 + "?$expand=*", status: 200, has: map[string]any{"Links/Chassis/0/ChassisType": "RackMount", "Processors/Name": "Processors"}},
		{name: "bad levels", method: get, path: sys1 + "?$expand=.($levels=x)", status: 400},
		{name: "too many levels", method: get, path: sys1 + "?$expand=.($levels=99)", status: 400},
		{name: "filter", method: get, path: systemsPath + "?$filter=PowerState%20eq%20'On'", status: 200, has: map[string]any{"Members@odata.count": float64(1), "Members/0/@odata.id": systemsPath + "/" + second}},
		{name: "filter with logic", method: get, path: systemsPath + "?$filter=not%20(PowerState%20eq%20'On'%20or%20MemorySummary/TotalSystemMemoryGiB%20gt%204)", status: 200,
			has: map[string]any{"Members@odata.count": float64(1), "Members/0/@odata.id": sys1}},
		{name: "bad filter", method: get, path: systemsPath + "?$filter=PowerState%20is%20'On'", status: 400},
		{name: "filter of no collection", method: get, path: sys1 + "?$filter=Id%20eq%20'a'", status: 400, message: "QueryNotSupportedOnResource"},
		{name: "top", method: get, path: systemsPath + "?$top=1", status: 200, has: map[string]any{"Members@odata.count": float64(2), "Members/0/@odata.id": sys1, "Members/1": nil}},
		{name: "skip", method: get, path: systemsPath + "?$skip=1", status: 200, has: map[string]any{"Members/0/@odata.id": systemsPath + "/" + second}},
		{name: "skip all", method: get, path: systemsPath + "?$skip=9", status: 200, has: map[string]any{"Members/0": nil}},
		{name: "below zero", method: get, path: systemsPath + "?$top=-1", status: 400, message: "QueryParameterOutOfRange"},
		{name: "no number", method: get, path: systemsPath + "?$top=many", status: 400, message: "QueryParameterValueTypeError"},
		{name: "only one", method: get, path: sys1 + "/Processors?only", status: 200, has: map[string]any{"Id": "CPU1"}},
		{name: "only of two", method: get, path: systemsPath + "?only", status: 200, has: map[string]any{"Members@odata.count": float64(2)}},
		{name: "only and more", method: get, path: systemsPath + "?only&$top=1", status: 400, message: "QueryCombinationInvalid"},
		{name: "unknown", method: get, path: systemsPath + "?$apply=x", status: 501, message: "QueryNotSupported"},
		{name: "of somebody else", method: get, path: systemsPath + "?x=1&excerpt", status: 200},
	})
}

func TestFilter(t *testing.T) {
	o := Object{{"A", "x"}, {"N", 5}, {"B", true}, {"Z", nil}, {"In", Object{{"F", 1.5}}}}
	for filter, want := range map[string]bool{
		"A eq 'x'": true, "A ne 'x'": false, "A gt 'w'": true, "A lt 'w'": false, "N ge 5": true, "N le 4": false, "N gt 5": false, "N lt 6": true,
		"B eq true": true, "B gt false": false, "B ne false": true, "Z eq null": true, "A eq null": false, "A gt null": false, "A ne null": true,
		"In/F eq 1.5": true, "In/G eq 1": false, "In/G ne 1": true, "A eq 5": false, "A ne 5": true, "A/B eq 'x'": false,
		"A eq 'x' and N eq 5": true, "A eq 'y' and N eq 5 or B eq true": true, "A eq 'y' and (N eq 5 or B eq true)": false, "not A eq 'x'": false, "not (not (B eq true))": true,
	} {
		e, ok := parseFilter(filter)
		if !ok || e.holds(o) != want {
			t.Errorf("%s: parsed %v, want %v", filter, ok, want)
		}
	}
	for _, bad := range []string{"", "A", "A eq", "A eq x", "eq 'x'", "(A eq 'x'", "A eq 'x')", "A eq 'x", "A eq 'x' and", "'x' eq A", "not", "A eq 'x' B eq 1",
		strings.Repeat("(", 50) + "A eq 1" + strings.Repeat(")", 50)} {
		if _, ok := parseFilter(bad); ok {
			t.Errorf("%q: was parsed", bad)
		}
	}
}

func TestResets(t *testing.T) {
	type row struct {
		resetType string
		from      state.Power
		actions   []state.PowerAction
		to        state.Power
	}
	for _, row := range []row{
		{"On", state.PowerOff, []state.PowerAction{state.ActionOn}, state.PowerOn},
		{"On", state.PowerOn, []state.PowerAction{state.ActionOn}, state.PowerOn},
		{"ForceOn", state.PowerOff, []state.PowerAction{state.ActionOn}, state.PowerOn},
		{"ForceOff", state.PowerOn, []state.PowerAction{state.ActionOff}, state.PowerOff},
		{"ForceOff", state.PowerOff, []state.PowerAction{state.ActionOff}, state.PowerOff},
		{"GracefulShutdown", state.PowerOn, []state.PowerAction{state.ActionSoft}, state.PowerOff},
		{"GracefulShutdown", state.PowerOff, nil, state.PowerOff},
		{"GracefulRestart", state.PowerOn, []state.PowerAction{state.ActionSoft, state.ActionOn}, state.PowerOn},
		{"GracefulRestart", state.PowerOff, []state.PowerAction{state.ActionOn}, state.PowerOn},
		{"ForceRestart", state.PowerOn, []state.PowerAction{state.ActionReset}, state.PowerOn},
		{"ForceRestart", state.PowerOff, []state.PowerAction{state.ActionOn}, state.PowerOn},
		{"PowerCycle", state.PowerOn, []state.PowerAction{state.ActionCycle}, state.PowerOn},
		{"PowerCycle", state.PowerOff, []state.PowerAction{state.ActionOn}, state.PowerOn},
		{"Nmi", state.PowerOn, []state.PowerAction{state.ActionDiag}, state.PowerOn},
		{"PushPowerButton", state.PowerOn, []state.PowerAction{state.ActionSoft}, state.PowerOff},
		{"PushPowerButton", state.PowerOff, []state.PowerAction{state.ActionOn}, state.PowerOn},
	} {
		for _, path := range []string{sys1 + "/Actions/ComputerSystem.Reset", chassisPath + "/" + first + "/Actions/Chassis.Reset"} {
			f := newFixture(t)
			f.chassis[first].SetPower(row.from)
			f.want(http.StatusNoContent, post, path, map[string]string{"ResetType": row.resetType})
			eventually(t, row.resetType, func() bool { return slices.Equal(f.chassis[first].Actions(), row.actions) })
			if got := f.chassis[first].Status().Power; got != row.to {
				t.Errorf("%s from %s: got %s, want %s", row.resetType, row.from, got, row.to)
			}
		}
	}
}

// busyChassis never has time for a power change.
type busyChassis struct{ *bmctest.Chassis }

func (busyChassis) Power(context.Context, state.PowerAction) error { return state.ErrBusy }

func TestResetsThatFail(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.PowerPatience = 300 * time.Millisecond })
	reset := sys1 + "/Actions/ComputerSystem.Reset"
	run(t, f, []exchange{{name: "an interrupt without power", method: post, path: reset, body: `{"ResetType":"Nmi"}`, status: 409, message: "ActionParameterValueConflict"}})
	f.chassis[first].FailNext(state.ErrBusy)
	run(t, f, []exchange{{name: "busy for a moment", method: post, path: reset, body: `{"ResetType":"On"}`, status: 204}})
	f.replaceChassis(busyChassis{f.chassis[first]})
	run(t, f, []exchange{{name: "busy", method: post, path: reset, body: `{"ResetType":"On"}`, status: 503, message: "ServiceTemporarilyUnavailable", header: map[string]string{"Retry-After": "2"}}})
	f.replaceChassis(f.chassis[first])
	f.chassis[first].FailNext(state.ErrUnsupported)
	run(t, f, []exchange{{name: "not of this driver", method: post, path: reset, body: `{"ResetType":"On"}`, status: 400}})
}

func TestBoot(t *testing.T) {
	f := newFixture(t)
	c := f.chassis[first]
	boot := func(body string) exchange {
		return exchange{name: body, method: patch, path: sys1, body: `{"Boot":` + body + `}`, status: 200}
	}
	step := func(x exchange, target, enabled string, want state.Boot) {
		t.Helper()
		x.has = map[string]any{"Boot/BootSourceOverrideTarget": target, "Boot/BootSourceOverrideEnabled": enabled}
		run(t, f, []exchange{x})
		if got := c.Status().Boot; got != want {
			t.Errorf("%s: got %+v, want %+v", x.name, got, want)
		}
	}
	step(boot(`{"BootSourceOverrideTarget":"Pxe"}`), "Pxe", "Disabled", state.Boot{})
	step(boot(`{"BootSourceOverrideEnabled":"Once"}`), "Pxe", "Once", state.Boot{Device: state.BootPXE, EFI: true})
	step(boot(`{"BootSourceOverrideTarget":"Hdd"}`), "Hdd", "Once", state.Boot{Device: state.BootDisk, EFI: true})
	step(boot(`{"BootSourceOverrideEnabled":"Continuous"}`), "Hdd", "Continuous", state.Boot{Device: state.BootDisk, Persistent: true, EFI: true})
	step(boot(`{"BootSourceOverrideMode":"UEFI"}`), "Hdd", "Continuous", state.Boot{Device: state.BootDisk, Persistent: true, EFI: true})
	step(boot(`{"BootSourceOverrideTarget":"None"}`), "None", "Disabled", state.Boot{})
	step(boot(`{"BootSourceOverrideTarget":"Cd","BootSourceOverrideEnabled":"Once"}`), "Cd", "Once", state.Boot{Device: state.BootCDROM, EFI: true})
	if err := c.Power(t.Context(), state.ActionOn); err != nil {
		t.Fatal(err)
	}
	step(exchange{name: "once is over", method: get, path: sys1, status: 200}, "None", "Disabled", state.Boot{})
	step(boot(`{"BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideEnabled":"Once"}`), "UefiHttp", "Once", state.Boot{Device: state.BootPXE, EFI: true})
	step(boot(`{"BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideEnabled":"Once","HttpBootUri":"http://192.0.2.9/a.iso"}`), "UefiHttp", "Once", state.Boot{Device: state.BootCDROM, EFI: true})
	if got := c.Media(); got.URL != "http://192.0.2.9/a.iso" {
		t.Errorf("drive: %+v", got)
	}
	run(t, f, []exchange{
		{name: "the URI is there", method: get, path: sys1, status: 200, has: map[string]any{"Boot/HttpBootUri": "http://192.0.2.9/a.iso"}},
		{name: "of another system", method: get, path: systemsPath + "/" + second, status: 200, has: map[string]any{"Boot/HttpBootUri": nil}},
		{name: "another firmware", method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideMode":"Legacy"}}`, status: 400, message: "PropertyValueNotInList"},
		{name: "a file", method: patch, path: sys1, body: `{"Boot":{"HttpBootUri":"file:///etc/passwd"}}`, status: 400, message: "PropertyValueFormatError"},
		{name: "a program for the firmware", method: patch, path: sys1, status: 400, message: "PropertyValueIncorrect",
			body: `{"Boot":{"BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideEnabled":"Once","HttpBootUri":"http://192.0.2.9/shim.EFI?x=1"}}`},
		{name: "another order", method: patch, path: sys1, body: `{"Boot":{"BootOrder":["Boot0001"]}}`, status: 400, message: "PropertyNotWritable"},
		{name: "what no firmware here does", method: patch, path: sys1, body: `{"Boot":{"StopBootOnFault":"AnyFault"}}`, status: 400, message: "PropertyUnknown"},
		{name: "another firmware", method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideMode":"Legacy"}}`, status: 400, message: "PropertyValueNotInList"},
		{name: "no URI", method: patch, path: sys1, body: `{"Boot":{"HttpBootUri":null}}`, status: 200, has: map[string]any{"Boot/HttpBootUri": nil}},
		{name: "the order", method: patch, path: sys1, body: `{"Boot":{"BootOrder":["Boot0001"]}}`, status: 400, message: "PropertyNotWritable"},
		{name: "an option", method: get, path: sys1 + "/BootOptions/Boot0002", status: 200, has: map[string]any{"Alias": "Pxe"}},
		{name: "no option", method: get, path: sys1 + "/BootOptions/Boot0009", status: 404},
	})
}

func TestTrustedModules(t *testing.T) {
	f := newFixture(t)
	run(t, f, []exchange{{name: "without a TPM", method: get, path: sys1, status: 200, has: map[string]any{"TrustedModules": nil}}})
	h := f.chassis[first].Hardware()
	h.TPM = state.TPM2
	f.chassis[first].SetHardware(h)
	if got := f.want(200, get, sys1, nil).at("TrustedModules/0/InterfaceType"); got != "TPM2_0" {
		t.Errorf("TrustedModules: %v", got)
	}
}

func TestSystemProperties(t *testing.T) {
	f := newFixture(t)
	run(t, f, []exchange{
		{name: "restore policy", method: patch, path: sys1, body: `{"PowerRestorePolicy":"AlwaysOn"}`, status: 200, has: map[string]any{"PowerRestorePolicy": "AlwaysOn"}},
		{name: "indicator", method: patch, path: sys1, body: `{"IndicatorLED":"Blinking"}`, status: 200, has: map[string]any{"LocationIndicatorActive": true}},
		{name: "of the chassis too", method: patch, path: chassisPath + "/" + first, body: `{"LocationIndicatorActive":false,"AssetTag":"rack"}`, status: 200, has: map[string]any{"IndicatorLED": "Off", "AssetTag": "rack"}},
		{name: "memory", method: get, path: sys1, status: 200, has: map[string]any{"MemorySummary/TotalSystemMemoryGiB": float64(2), "PowerRestorePolicy": "AlwaysOn"}},
		{name: "the clock", method: patch, path: managersPath + "/" + first, body: `{"DateTime":"2026-03-01T15:30:00+02:00"}`, status: 200, has: map[string]any{"DateTime": "2026-03-01T15:30:00+02:00", "DateTimeLocalOffset": "+02:00"}},
		{name: "no time", method: patch, path: managersPath + "/" + first, body: `{"DateTime":"soon"}`, status: 400, message: "PropertyValueFormatError"},
		{name: "manager reset", method: post, path: managersPath + "/" + first + "/Actions/Manager.Reset", body: `{"ResetType":"ForceRestart"}`, status: 204},
	})
	f.chassis[first].SetPower(state.PowerUnknown)
	run(t, f, []exchange{{name: "unknown power is not off", method: get, path: sys1, status: 200, has: map[string]any{"PowerState": nil}}})
	if tag := f.chassis[first].Recall(bmc.KeyAssetTag); tag != nil {
		t.Errorf("asset tag of the system: %q", tag)
	}
}

func TestLog(t *testing.T) {
	f := newFixture(t)
	entries := sys1 + "/LogServices/EventLog/Entries"
	f.chassis[first].SetPower(state.PowerOn)
	f.chassis[first].SetPower(state.PowerOff)
	eventually(t, "two entries on disk", func() bool { return len(recall[keptLog](System{Chassis: f.chassis[first]}, logKey).Entries) == 2 })
	run(t, f, []exchange{
		{name: "entries", method: get, path: entries, status: 200, has: map[string]any{"Members@odata.count": float64(2), "Members/1/MessageId": "ResourceEvent.1.3.ResourcePoweredOff"}},
		{name: "an entry", method: get, path: entries + "/1", status: 200, has: map[string]any{"MessageId": "ResourceEvent.1.3.ResourcePoweredOn"}},
		{name: "not the other's", method: get, path: systemsPath + "/" + second + "/LogServices/EventLog/Entries", status: 200, has: map[string]any{"Members@odata.count": float64(0)}},
		{name: "clear", method: post, path: sys1 + "/LogServices/EventLog/Actions/LogService.ClearLog", body: `{}`, status: 204},
		{name: "empty", method: get, path: entries, status: 200, has: map[string]any{"Members@odata.count": float64(0)}},
	})
	f.chassis[first].SetPower(state.PowerOn)
	run(t, f, []exchange{{name: "numbers go on", method: get, path: managersPath + "/" + first + "/LogServices/EventLog/Entries/3", status: 200}})
	var l keptLog
	for range 3 {
		l = l.with(make([]logEntry, maxLog))
	}
	if l.First != 2*maxLog || len(l.Entries) != maxLog {
		t.Errorf("a full log: first %d, %d entries", l.First, len(l.Entries))
	}
}
