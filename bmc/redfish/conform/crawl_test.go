package conform

import (
	"net/http"
	"strings"
	"testing"
)

// run crawls a fake with the fault. change, if set, replaces text in a document.
func run(t *testing.T, fault string, change ...string) Report {
	t.Helper()
	f, base := newFake(t, fault)
	if len(change) == 3 {
		if !strings.Contains(f.docs[change[0]], change[1]) {
			t.Fatalf("%s has no %s", change[0], change[1])
		}
		f.docs[change[0]] = strings.Replace(f.docs[change[0]], change[1], change[2], 1)
	}
	r, err := Crawl(t.Context(), http.DefaultClient, Options{Base: base, User: fakeUser, Password: fakePassword, Schemas: folder(t), Write: true})
	if err != nil {
		t.Fatalf("%s: %v", fault, err)
	}
	return r
}

func TestServiceThatIsRight(t *testing.T) {
	r := run(t, "")
	if len(r.Failures) > 0 {
		t.Errorf("a good service: %s", r)
	}
	for _, f := range r.Warnings {
		if f.Rule != "query-missing" {
			t.Errorf("warning %s", f)
		}
	}
	if r.Checked["requests"] < 100 || r.Checked["refusals"] < 50 {
		t.Errorf("too little was checked: %v", r.Checked)
	}
}

func TestFaultsOfProtocol(t *testing.T) {
	for fault, rule := range map[string]string{
		"no OData-Version": "http-odata-version", "cached": "http-cache", "cookie": "http-cookie", "no origin": "http-origin",
		"any OData-Version": "http-odata-version", "any Accept": "http-accept", "no challenge": "auth", "open": "auth", "any token": "auth",
		"any password": "auth", "root differs": "root", "allows too much": "capability", "no ETag": "http-etag", "no Link": "http-link",
		"any method": "http-method", "405 without Allow": "http-allow", "no 304": "http-etag", "no HEAD": "http-head", "no 412": "http-patch",
		"weak only": "http-etag", "mixed refused": "http-patch", "PATCH takes anything": "http-patch", "password shown": "http-session",
		"sessions stay": "http-session", "creates anything": "http-create", "action takes anything": "http-action", "any query": "query", "error without messages": "error",
		"message of another registry": "message", "message that is not there": "message", "message of another version": "message",
		"message with another text": "message", "message without arguments": "message", "message with another severity": "message",
		"no PATCH": "warn:read-only",
	} {
		r := run(t, fault)
		found := r.Failures
		if w, ok := strings.CutPrefix(rule, "warn:"); ok {
			found, rule = r.Warnings, w
		}
		if !has(found, rule, "") {
			t.Errorf("%s: %s, want rule %s", fault, r, rule)
		}
	}
}

func TestFaultsOfDocuments(t *testing.T) {
	for _, row := range []struct{ uri, old, new, rule string }{
		{widgetURI, `"Widget"`, `"Widget","Name":"x"`, "json"},
		{widgetURI, `{"@odata.id"`, `{{"@odata.id"`, "json"},
		{"/redfish/v1/Widgets/2", widgetURI, "/redfish/v1/Widgets/3", "link"},
		{"/redfish/v1/Widgets/2", widgetURI, "/redfish/v1/Registries/Base", "link-type"},
		{"/redfish/v1/Widgets/2", widgetURI, "/redfish/v1/Widgets/1#/Fans/0", "link"},
		{"/redfish/v1/Widgets", `count":2`, `count":3`, "count"},
		{"/redfish/v1/Widgets", `,"Members@odata.count":2`, "", "count"},
		{"/redfish/v1/Widgets/1/SpinActionInfo", `"Direction"`, `"Speed"`, "action-info"},
		{widgetURI, `"Tag"`, `"@Message.ExtendedInfo":[{"MessageId":"Base.1.19.NoSuchMessage"}],"Tag"`, "message"},
		{widgetURI, `"Tag"`, `"@Message.ExtendedInfo":[{"MessageId":"Base.1.19.PropertyUnknown","MessageArgs":["a","b"]}],"Tag"`, "message"},
		{"/redfish", "/redfish/v1/", "/redfish/v1", "versions"},
		{rootURI, `"RedfishVersion":"1.6.0",`, "", "root"},
		{odataURI, `"Singleton","url":"/redfish/v1/Widgets"`, `"EntitySet","url":"/redfish/v1/Widgets"`, "odata"},
		{odataURI, `/redfish/v1/Widgets"`, `/redfish/v1/Gadgets"`, "odata"},
		{odataURI, `$metadata`, `metadata`, "odata"},
		{metadataURI, `Namespace="Widget.v1_1_0"`, `Namespace="Widget.v1_0_0"`, "metadata"},
		{metadataURI, `Extends="ServiceRoot.v1_0_0.ServiceContainer"`, "", "metadata"},
		{metadataURI, `</edmx:Edmx>`, "", "metadata"},
		{"/redfish/v1/Registries/Base", "Base.1.19", "Base.1.18", "registry"},
		{"/redfish/v1/Registries/Base/Base.json", `"NumberOfArgs":1`, `"NumberOfArgs":2`, "registry"},
		{"/redfish/v1/Registries/Base/Base.json", `"RegistryPrefix":"Base"`, `"RegistryPrefix":"Bass"`, "registry"},
		{rootURI, `"Links"`, `"ProtocolFeaturesSupported":{"SelectQuery":true,"FilterQuery":true,"TopSkipQuery":true,"OnlyMemberQuery":true,
			"ExpandQuery":{"NoLinks":true,"Levels":true}},"Links"`, "query"},
	} {
		if r := run(t, "", row.uri, row.old, row.new); !has(r.Failures, row.rule, "") {
			t.Errorf("%s with %s for %s: %s, want rule %s", row.uri, row.new, row.old, r, row.rule)
		}
	}
}

func TestCrawlThatCannotBeDone(t *testing.T) {
	_, base := newFake(t, "")
	for name, o := range map[string]Options{
		"no base":             {},
		"no server":           {Base: "http://127.0.0.1:1"},
		"no such profile":     {Base: base, Profiles: []string{"/nonexistent"}},
		"a reason is missing": {Base: base, Accept: []Accepted{{Rule: "x"}}},
		"a bad pattern":       {Base: base, Accept: []Accepted{{Rule: "x", Resource: "[", Reason: "y"}}},
	} {
		o.Schemas = folder(t)
		if _, err := Crawl(t.Context(), http.DefaultClient, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAccepted(t *testing.T) {
	r := Report{Warnings: []Finding{{"/b", "P", "old", "x"}, {"/a", "", "old", "y"}, {"/a", "", "old", "y"}}, Failures: []Finding{{"/a", "", "bad", "z"}}}
	r.accept([]Accepted{{"old", "/b", "", "because"}, {"old", "/c", "", "no longer"}, {"bad", "", "", "failures cannot be accepted"}})
	if len(r.Warnings) != 1 || len(r.Accepted) != 1 || len(r.Failures) != 1 || len(r.Stale) != 2 {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"1 failures, 1 warnings, 1 accepted", "failures of rule bad: 1", "failure: bad: /a: z", "warning: old: /a: y", "no longer"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%s\nis without %q", r, want)
		}
	}
}
