package cloudlab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/ironic/novatest"
)

// request is one that a client of flavors or Placement may make; NOVA and PLACEMENT stand for
// the endpoints.
type request struct {
	method, url string
	body        any
}

func flavorBody(name, id string, ram int, more map[string]any) map[string]any {
	f := map[string]any{"name": name, "id": id, "ram": ram, "vcpus": 1, "disk": 10}
	maps.Copy(f, more)
	return map[string]any{"flavor": f}
}

// conversation is what the fake of unit tests must answer like the real ones.
var conversation = []request{
	{"POST", "NOVA/flavors", flavorBody("bm", "f1", 1024, map[string]any{"swap": 0, "OS-FLV-EXT-DATA:ephemeral": 2, "os-flavor-access:is_public": true, "description": "d"})},
	{"POST", "NOVA/flavors", flavorBody("bm", "f2", 1024, nil)},
	{"POST", "NOVA/flavors", flavorBody("BM", "f2", 1024, nil)},
	{"POST", "NOVA/flavors", flavorBody("other", "f1", 1024, nil)},
	{"POST", "NOVA/flavors", flavorBody("small", "f2", 0, nil)},
	{"POST", "NOVA/flavors", flavorBody("private", "f3", 1, map[string]any{"swap": 12, "os-flavor-access:is_public": false})},
	{"POST", "NOVA/flavors/f1/os-extra_specs", map[string]any{"extra_specs": map[string]string{"resources:CUSTOM_BM": "1", "tenks:mesh": "m", "a b": "x"}}},
	{"POST", "NOVA/flavors/f1/os-extra_specs", map[string]any{"extra_specs": map[string]string{"resources:CUSTOM_BM": "2"}}},
	{"POST", "NOVA/flavors/f9/os-extra_specs", map[string]any{"extra_specs": map[string]string{"a": "b"}}},
	{"DELETE", "NOVA/flavors/f1/os-extra_specs/a%20b", nil},
	{"DELETE", "NOVA/flavors/f1/os-extra_specs/nothing", nil},
	{"GET", "NOVA/flavors/detail?is_public=None", nil},
	{"GET", "NOVA/flavors/detail?is_public=None&marker=f1", nil},
	{"GET", "NOVA/flavors/detail?is_public=None&marker=f9", nil},
	{"DELETE", "NOVA/flavors/f3", nil},
	{"DELETE", "NOVA/flavors/f1", nil},
	{"DELETE", "NOVA/flavors/f1", nil},
	{"GET", "PLACEMENT/", nil},
	{"GET", "PLACEMENT/traits?name=in:CUSTOM_CLOUDLAB,HW_CPU_X86_VMX", nil},
	{"PUT", "PLACEMENT/traits/CUSTOM_CLOUDLAB", nil},
	{"PUT", "PLACEMENT/traits/CUSTOM_CLOUDLAB", nil},
	{"GET", "PLACEMENT/traits?name=in:CUSTOM_CLOUDLAB", nil},
	{"GET", "PLACEMENT/resource_providers/00000000-0000-0000-0000-000000000001/inventories", nil},
	{"GET", "PLACEMENT/resource_providers/00000000-0000-0000-0000-000000000001/traits", nil},
}

// sameAsFake has both hold the same conversation.
func sameAsFake(t *testing.T, c *Cloud) {
	fake := novatest.Start(t, novatest.Options{})
	nova, placement, token := fake.Endpoints()
	for i, r := range conversation {
		want, err := c.Ask(t.Context(), r.method, strings.NewReplacer("NOVA", c.NovaURL(), "PLACEMENT", c.PlacementURL()).Replace(r.url), r.body)
		if err != nil {
			t.Fatal(err)
		}
		got := askFake(t, token, r.method, strings.NewReplacer("NOVA", nova, "PLACEMENT", placement).Replace(r.url), r.body)
		if diff := cmp.Diff(essence(want), essence(got)); diff != "" {
			t.Errorf("%d: %s %s (-real +fake):\n%s", i, r.method, r.url, diff)
		}
	}
}

func askFake(t *testing.T, token, method, url string, body any) Answer {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("OpenStack-API-Version", "compute 2.61")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Status: resp.StatusCode, Body: b}
}

var spaces = regexp.MustCompile(`\s+`)

// essence is an answer without what nobody looks at: links, request IDs, spaces.
func essence(a Answer) []string {
	var body any
	if len(a.Body) > 0 && json.Unmarshal(a.Body, &body) != nil {
		body = string(a.Body)
	}
	out := []string{fmt.Sprint(a.Status)}
	var visit func(path string, v any)
	visit = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if key != "links" && key != "request_id" {
					visit(path+"."+key, v[key])
				}
			}
		case []any:
			for i, item := range v {
				visit(fmt.Sprintf("%s[%d]", path, i), item)
			}
		case string:
			out = append(out, path+" = "+strings.ReplaceAll(spaces.ReplaceAllString(v, " "), " :", ":"))
		default:
			out = append(out, fmt.Sprint(path, " = ", v))
		}
	}
	visit("", body)
	return out
}
