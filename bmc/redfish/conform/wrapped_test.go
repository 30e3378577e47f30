package conform_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tenks/bmc/redfish"
	"tenks/bmc/redfish/conform"
)

// TestFaultsOfAWrappedService puts faults between our service and the checker. It has
// no schemas, so that only the protocol is judged.
func TestFaultsOfAWrappedService(t *testing.T) {
	service, err := redfish.New(t.Context(), redfish.Config{Systems: twoNodes()[:1], Name: "mesh", UUID: "8b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b12"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	rules := []string{"account", "http-slash", "sse"}
	for _, row := range []struct {
		fault, rule string
		change      func(w http.ResponseWriter, r *http.Request) (done bool)
	}{
		{"none", "", func(http.ResponseWriter, *http.Request) bool { return false }},
		{"everybody is the administrator", "account", func(_ http.ResponseWriter, r *http.Request) bool {
			if user, _, ok := r.BasicAuth(); ok && strings.HasPrefix(user, "conform") {
				r.SetBasicAuth("admin", password)
			}
			return false
		}},
		{"a slash makes another resource", "http-slash", func(w http.ResponseWriter, r *http.Request) bool {
			slash := strings.HasSuffix(r.URL.Path, "Systems/")
			if slash {
				w.WriteHeader(http.StatusNoContent)
			}
			return slash
		}},
		{"a stream that is none", "sse", func(w http.ResponseWriter, r *http.Request) bool {
			stream := strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
			if stream {
				w.WriteHeader(http.StatusOK)
			}
			return stream
		}},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !row.change(w, r) {
				service.ServeHTTP(w, r)
			}
		}))
		client := &http.Client{Transport: &http.Transport{}}
		r, err := conform.Crawl(t.Context(), client, conform.Options{Base: server.URL, User: "admin", Password: password, Schemas: t.TempDir(), Write: true})
		client.CloseIdleConnections()
		server.Close()
		if err != nil {
			t.Fatalf("%s: %v", row.fault, err)
		}
		found := conform.ByRule(r.Failures)
		for _, rule := range rules {
			if (found[rule] > 0) != (rule == row.rule) {
				t.Errorf("%s: %d failures of rule %s", row.fault, found[rule], rule)
			}
		}
	}
}
