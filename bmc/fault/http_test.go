package fault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ofNode says that all requests are about one node.
func ofNode(*http.Request) string { return node }

// serve is a Redfish service in which each request has the same effect.
func serve(t *testing.T, e Effect) *httptest.Server {
	t.Helper()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "root") })
	s := httptest.NewServer(Middleware(ofNode, func(Call) Effect { return e }, next))
	t.Cleanup(s.Close)
	return s
}

func TestMiddleware(t *testing.T) {
	tests := map[string]struct {
		effect Effect
		status int
		body   string
		header string
	}{
		"nothing":        {Effect{}, 200, "root", ""},
		"late":           {Effect{Delay: time.Millisecond}, 200, "root", ""},
		"busy":           {Effect{Code: 503}, 503, "ServiceTemporarilyUnavailable", "Retry-After"},
		"an error":       {Effect{Code: 502}, 502, "GeneralError", ""},
		"wrong password": {Effect{WrongPassword: true}, 401, "Unauthorized", "WWW-Authenticate"},
		"stuck":          {Effect{Stuck: true}, 200, "root", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tt.effect)
			resp, err := s.Client().Get(s.URL + "/redfish/v1/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
				t.Errorf("got %d %s %v, want %d with %s", resp.StatusCode, body, err, tt.status, tt.body)
			}
			if tt.header != "" && resp.Header.Get(tt.header) == "" {
				t.Errorf("no %s in %v", tt.header, resp.Header)
			}
			if tt.status >= 400 {
				var doc map[string]map[string]any
				if err := json.Unmarshal(body, &doc); err != nil || doc["error"]["code"] == nil || doc["error"]["@Message.ExtendedInfo"] == nil {
					t.Errorf("not a Redfish error: %s", body)
				}
			}
		})
	}
}

func TestADroppedRequestIsNotAnsweredUntilItsClientGivesUp(t *testing.T) {
	ended := make(chan any, 1)
	dropping := Middleware(ofNode, func(Call) Effect { return Effect{Drop: true} }, http.NotFoundHandler())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			ended <- v
			panic(v)
		}()
		dropping.ServeHTTP(w, r)
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader(`{"ResetType":"On"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(req)
	if err == nil {
		resp.Body.Close()
		t.Fatalf("answered with %d", resp.StatusCode)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that the client waited in vain", err)
	}
	if v, _ := (<-ended).(error); !errors.Is(v, http.ErrAbortHandler) {
		t.Errorf("ended with %v, want %v", v, http.ErrAbortHandler)
	}
}

func TestHTTPCall(t *testing.T) {
	tests := map[string]struct {
		method, path, user string
		want               Call
	}{
		"a read":       {"GET", "/redfish/v1/Systems/1/", "", Call{Command: "GET /redfish/v1/Systems/1"}},
		"with a login": {"GET", "/redfish/v1", "admin", Call{Command: "GET /redfish/v1", Login: true}},
		"a session":    {"POST", "/redfish/v1/SessionService/Sessions", "", Call{Command: "POST /redfish/v1/SessionService/Sessions", Login: true}},
		"power": {"POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", "",
			Call{Command: "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset", Power: true}},
	}
	for name, tt := range tests {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		if tt.user != "" {
			r.SetBasicAuth(tt.user, "secret")
		}
		tt.want.Protocol, tt.want.Node, tt.want.Password = Redfish, node, tt.want.Login
		if got := HTTPCall(node, r); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}
