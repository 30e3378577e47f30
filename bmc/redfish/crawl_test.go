package redfish

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tenks/bmc/bmctest"
)

// TestEveryResource crawls the service and holds each resource against the rules that
// are the same for all.
func TestEveryResource(t *testing.T) {
	f := newFixture(t)
	f.replaceChassis(wrapped{bmctest.NewSecureChassis()})
	populate(f)
	seen, queue := map[string]bool{}, []string{rootPath + "/"}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		a := f.do(http.MethodGet, path, nil)
		if a.Code != http.StatusOK {
			t.Errorf("GET %s: status %d", path, a.Code)
			continue
		}
		checkResource(f, path, a)
		queue = append(queue, references(a.json)...)
	}
	for _, rt := range f.table {
		if rt.Type == "" {
			continue
		}
		path := rt.Path
		for _, name := range []string{"system"} {
			path = strings.ReplaceAll(path, "{"+name+"}", first)
		}
		if !strings.Contains(path, "{") && !seen[canonical(path)] && !strings.HasSuffix(path, "ActionInfo") && !strings.Contains(path, "/Registries/") {
			t.Errorf("%s: nothing refers to it", path)
		}
	}
	t.Logf("%d resources", len(seen))
}

// populate makes one of each that clients make.
func populate(f *fixture) {
	f.t.Helper()
	f.want(http.StatusCreated, http.MethodPost, sessionsPath, `{"UserName":"admin","Password":"correct horse"}`)
	f.want(http.StatusCreated, http.MethodPost, accountsPath, `{"UserName":"op","Password":"long enough","RoleId":"Operator"}`)
	f.want(http.StatusCreated, http.MethodPost, subscriptionsPath, `{"Destination":"http://127.0.0.1:9/","Protocol":"Redfish","Context":"c"}`)
	f.want(http.StatusNoContent, http.MethodPost, systemsPath+"/"+first+"/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`)
}

// references are all @odata.id and the like in a payload.
func references(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			s, isString := value.(string)
			if isString && (key == "@odata.id" || key == "@Redfish.ActionInfo" || key == "DataSourceUri" || key == "Uri") && !strings.Contains(s, "#") {
				out = append(out, s)
			}
			out = append(out, references(value)...)
		}
	case []any:
		for _, value := range v {
			out = append(out, references(value)...)
		}
	}
	return out
}

func checkResource(f *fixture, path string, a answer) {
	f.t.Helper()
	h := a.Header()
	if a.at("@odata.id") != path || a.at("@odata.etag") != h.Get("Etag") || a.at("Name") == nil {
		f.t.Errorf("%s: @odata.id %v, etag %v and %v, name %v", path, a.at("@odata.id"), a.at("@odata.etag"), h.Get("Etag"), a.at("Name"))
	}
	kind, _ := a.at("@odata.type").(string)
	if name, file, ok := schemaOf(kind); !ok || h.Get("Link") != "<"+schemaBase+file+">; rel=describedby" || !strings.HasSuffix(kind, "."+name) {
		f.t.Errorf("%s: type %q, Link %q", path, kind, h.Get("Link"))
	}
	if !strings.HasPrefix(h.Get("Allow"), "GET, HEAD") || !strings.Contains(fmt.Sprint(h), odataVersion+":[4.0]") || h.Get("Cache-Control") != "no-cache" {
		f.t.Errorf("%s: headers %v", path, h)
	}
	if strings.Contains(a.Body.String(), `:""`) && !strings.Contains(path, "Subscriptions") {
		f.t.Errorf("%s: an empty string: %s", path, a.Body)
	}
	if strings.Contains(a.Body.String(), f.password) {
		f.t.Errorf("%s: has the password", path)
	}
	head := f.want(http.StatusOK, http.MethodHead, path, nil)
	if head.Body.Len() > 0 || head.Header().Get("Etag") != h.Get("Etag") {
		f.t.Errorf("HEAD %s: %d bytes, etag %s", path, head.Body.Len(), head.Header().Get("Etag"))
	}
	f.want(http.StatusNotModified, http.MethodGet, path, nil, "If-None-Match: "+h.Get("Etag"))
	if put := f.want(http.StatusMethodNotAllowed, http.MethodPut, path, `{}`); put.Header().Get("Allow") != h.Get("Allow") {
		f.t.Errorf("PUT %s: Allow %q", path, put.Header().Get("Allow"))
	}
	was := f.user
	f.user = ""
	if got := f.do(http.MethodGet, path, nil).Code; got != http.StatusUnauthorized && path != rootPath+"/" {
		f.t.Errorf("GET %s without credentials: status %d", path, got)
	}
	f.user = was
}
