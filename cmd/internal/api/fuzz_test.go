package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

// FuzzRequests sends bytes to every route that takes a body: it is told what is wrong.
func FuzzRequests(f *testing.F) {
	seed := func(path string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(path, b)
	}
	seed("/v1/apply", api.ApplyRequest{File: "cluster: a\nnode_types: {s: {memory_mb: 512, vcpus: 1, driver: fake}}\nspecs: [{type: s, count: 1}]\n"})
	seed("/v1/plan", api.ApplyRequest{File: "cluster: ["})
	seed("/v1/tokens", api.TokenRequest{TTLSeconds: -1})
	seed("/v1/raft/transfer", api.TransferRequest{Peer: "hv2"})
	f.Add("/v1/faults", []byte(`{"kind":"drop","nodes":["tk0"],"share":0.5}`))
	f.Add("/v1/nodes/x/power", []byte(`{"action":"on"}`))
	f.Add("/v1/nodes/x/boot", []byte(`{"device":"pxe"}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if !strings.HasPrefix(path, "/v1/") || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == '?' || r == '#' }) {
			return
		}
		w := newWorld(t)
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			rec := httptest.NewRecorder()
			w.handler.ServeHTTP(rec, httptest.NewRequest(method, "http://tenks"+path, bytes.NewReader(body)))
			if slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMovedPermanently, http.StatusTemporaryRedirect}, rec.Code) {
				continue
			}
			var said api.ErrorBody
			if rec.Code >= http.StatusBadRequest && (json.Unmarshal(rec.Body.Bytes(), &said) != nil || said.Error == "") {
				t.Errorf("%s %s: %d without a reason: %s", method, path, rec.Code, rec.Body)
			}
		}
	})
}
