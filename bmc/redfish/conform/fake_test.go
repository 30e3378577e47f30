package conform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fake is a small service that is right, until a fault is set on it.
type fake struct {
	fault string
	mu    sync.Mutex // guards what follows
	docs  map[string]string
	sess  map[string]string // token by URI
	next  int
}

const (
	fakeUser, fakePassword = "admin", "a long password"
	widgetURI              = "/redfish/v1/Widgets/1"
	sessionsURI            = "/redfish/v1/SessionService/Sessions"
)

// newFake returns one with the fault, which is served until the test ends.
func newFake(t *testing.T, fault string) (*fake, string) {
	t.Helper()
	f := &fake{fault: fault, sess: map[string]string{}, docs: map[string]string{
		"/redfish": `{"v1":"/redfish/v1/"}`,
		rootURI: `{"@odata.id":"/redfish/v1/","@odata.type":"#ServiceRoot.v1_0_0.ServiceRoot","Id":"Root","Name":"Root","RedfishVersion":"1.6.0",
			"UUID":"6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10","Widgets":{"@odata.id":"/redfish/v1/Widgets"},
			"SessionService":{"@odata.id":"/redfish/v1/SessionService"},"Registries":{"@odata.id":"/redfish/v1/Registries"},
			"Links":{"Sessions":{"@odata.id":"/redfish/v1/SessionService/Sessions"}}}`,
		"/redfish/v1/Widgets": list("Widget", "/redfish/v1/Widgets", "1", "2"),
		widgetURI: `{"@odata.id":"/redfish/v1/Widgets/1","@odata.type":"#Widget.v1_1_0.Widget","Id":"1","Name":"Widget","Tag":"x","Facing":"Left",
			"Actions":{"#Widget.Spin":{"target":"/redfish/v1/Widgets/1/Actions/Widget.Spin","@Redfish.ActionInfo":"/redfish/v1/Widgets/1/SpinActionInfo",
			"Direction@Redfish.AllowableValues":["Left","Right"]}}}`,
		"/redfish/v1/Widgets/2": `{"@odata.id":"/redfish/v1/Widgets/2","@odata.type":"#Widget.v1_1_0.Widget","Id":"2","Name":"Widget","Tag":"y",
			"Other":{"@odata.id":"/redfish/v1/Widgets/1"}}`,
		"/redfish/v1/Widgets/1/SpinActionInfo": `{"@odata.id":"/redfish/v1/Widgets/1/SpinActionInfo","@odata.type":"#ActionInfo.v1_0_0.ActionInfo",
			"Id":"SpinActionInfo","Name":"Spin","Parameters":[{"Name":"Direction","Required":true,"DataType":"String"}]}`,
		"/redfish/v1/SessionService": `{"@odata.id":"/redfish/v1/SessionService","@odata.type":"#SessionService.v1_0_0.SessionService","Id":"SessionService",
			"Name":"Sessions","Sessions":{"@odata.id":"/redfish/v1/SessionService/Sessions"}}`,
		"/redfish/v1/Registries": list("MessageRegistryFile", "/redfish/v1/Registries", "Base"),
		"/redfish/v1/Registries/Base": `{"@odata.id":"/redfish/v1/Registries/Base","@odata.type":"#MessageRegistryFile.v1_0_0.MessageRegistryFile","Id":"Base",
			"Name":"Base","Registry":"Base.1.19","Location":[{"Uri":"/redfish/v1/Registries/Base/Base.json"}]}`,
		"/redfish/v1/Registries/Base/Base.json": baseRegistry(),
		odataURI: `{"@odata.context":"/redfish/v1/$metadata","value":[{"name":"Service","kind":"Singleton","url":"/redfish/v1/"},
			{"name":"Widgets","kind":"Singleton","url":"/redfish/v1/Widgets"},{"name":"SessionService","kind":"Singleton","url":"/redfish/v1/SessionService"},
			{"name":"Registries","kind":"Singleton","url":"/redfish/v1/Registries"}]}`,
		metadataURI: fakeMetadata(),
	}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func list(of, uri string, members ...string) string {
	var links []string
	for _, m := range members {
		links = append(links, `{"@odata.id":"`+uri+"/"+m+`"}`)
	}
	return fmt.Sprintf(`{"@odata.id":%q,"@odata.type":"#%sCollection.%sCollection","Name":"All","Members":[%s],"Members@odata.count":%d}`,
		uri, of, of, strings.Join(links, ","), len(members))
}

// fakeMessages is what the fake says, by status.
var fakeMessages = map[string]string{
	"GeneralError": "See the others.", "MalformedJSON": "No JSON.", "ResourceMissingAtURI": "Nothing at %1.", "PropertyUnknown": "No %1.",
	"NoOperation": "Nothing to do.", "PreconditionFailed": "It has changed.", "PropertyValueTypeError": "The type of %1 is wrong.",
	"ActionParameterMissing": "Say %1.", "ActionParameterUnknown": "No parameter %1.", "CreateFailedMissingReqProperties": "Say %1.",
	"ActionParameterValueNotInList": "Not a value of %1.", "ActionParameterValueTypeError": "The type of %1 is wrong.", "QueryNotSupported": "No such query.",
}

func baseRegistry() string {
	messages := map[string]any{}
	for key, text := range fakeMessages {
		messages[key] = map[string]any{"Message": text, "NumberOfArgs": strings.Count(text, "%"), "MessageSeverity": "Warning"}
	}
	b, _ := json.Marshal(messages) // strings and numbers
	return `{"@odata.type":"#MessageRegistry.v1_0_0.MessageRegistry","Id":"Base.1.19.0","Name":"Base","RegistryPrefix":"Base","RegistryVersion":"1.19.0","Messages":` +
		string(b) + `}`
}

func fakeMetadata() string {
	var b strings.Builder
	b.WriteString(`<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">`)
	ref := func(file string, spaces ...string) {
		fmt.Fprintf(&b, `<edmx:Reference Uri="http://redfish.dmtf.org/schemas/v1/%s_v1.xml">`, file)
		for _, s := range spaces {
			fmt.Fprintf(&b, `<edmx:Include Namespace=%q/>`, s)
		}
		b.WriteString(`</edmx:Reference>`)
	}
	for _, s := range []string{"ServiceRoot", "SessionService", "Session", "MessageRegistryFile", "ActionInfo"} {
		ref(s, s, s+".v1_0_0")
	}
	for _, s := range []string{"WidgetCollection", "SessionCollection", "MessageRegistryFileCollection", "RedfishExtensions.v1_0_0"} {
		ref(strings.TrimSuffix(s, ".v1_0_0"), s)
	}
	ref("Widget", "Widget", "Widget.v1_1_0")
	b.WriteString(`<edmx:DataServices><Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="Service">
		<EntityContainer Name="Service" Extends="ServiceRoot.v1_0_0.ServiceContainer"/></Schema></edmx:DataServices></edmx:Edmx>`)
	return b.String()
}

// is says whether the fault is set.
func (f *fake) is(fault string) bool { return f.fault == fault }

// refuse answers an error. The arguments of the message follow its key.
func (f *fake) refuse(w http.ResponseWriter, status int, key string, args ...string) {
	text := fakeMessages[key]
	for i, a := range args {
		text = strings.ReplaceAll(text, fmt.Sprintf("%%%d", i+1), a)
	}
	info := map[string]any{"MessageId": "Base.1.19." + key, "Message": text, "MessageArgs": append([]string{}, args...),
		"MessageSeverity": "Warning", "Resolution": "Try another."}
	switch f.fault {
	case "message of another registry":
		info["MessageId"] = "Other.1.0." + key
	case "message that is not there":
		info["MessageId"] = "Base.1.19.NoSuchMessage"
	case "message of another version":
		info["MessageId"] = "Base.1.2." + key
	case "message with another text":
		info["Message"] = "Oh."
	case "message without arguments":
		info["MessageArgs"] = []string{}
	case "message with another severity":
		info["MessageSeverity"] = "OK"
	}
	body := map[string]any{"error": map[string]any{"code": "Base.1.19.GeneralError", "message": "See the others.", "@Message.ExtendedInfo": []any{info}}}
	if f.is("error without messages") {
		body = map[string]any{"error": "no"}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

// ServeHTTP implements http.Handler.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := w.Header()
	if !f.is("no OData-Version") {
		h.Set("OData-Version", "4.0")
	}
	if !f.is("cached") {
		h.Set("Cache-Control", "no-cache")
	}
	if f.is("cookie") {
		h.Set("Set-Cookie", "a=b")
	}
	h.Set("Content-Type", "application/json;charset=utf-8")
	if r.Header.Get("Origin") != "" && !f.is("no origin") {
		h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	}
	switch {
	case r.Header.Get("OData-Version") > "4.0" && !f.is("any OData-Version"):
		f.refuse(w, http.StatusPreconditionFailed, "GeneralError")
	case strings.HasPrefix(r.Header.Get("Accept"), "text/plain") && !f.is("any Accept"):
		f.refuse(w, http.StatusNotAcceptable, "GeneralError")
	case !f.authorised(r):
		if !f.is("no challenge") {
			h.Set("WWW-Authenticate", `Basic realm="fake"`)
		}
		f.refuse(w, http.StatusUnauthorized, "GeneralError")
	default:
		f.serve(w, r)
	}
}

func (f *fake) authorised(r *http.Request) bool {
	uri := r.URL.Path
	if uri == "/redfish" || uri == "/redfish/v1" || uri == rootURI || uri == odataURI || uri == metadataURI ||
		r.Method == http.MethodPost && strings.HasPrefix(uri, sessionsURI) || f.is("open") {
		return true
	}
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		for _, t := range f.sess {
			if t == token {
				return true
			}
		}
		return f.is("any token")
	}
	user, password, ok := r.BasicAuth()
	return ok && user == fakeUser && (password == fakePassword || f.is("any password"))
}
