package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"tenks/cmd/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with handler.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handler)
	c := New(s.URL + "/")
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return c
}

func TestNoAgentIsSaidWithWhatToDo(t *testing.T) {
	for name, target := range map[string]string{"no socket": filepath.Join(t.TempDir(), "api.sock"), "nobody listens": closedPort(t)} {
		t.Run(name, func(t *testing.T) {
			c := New(target)
			_, err := c.Status(t.Context())
			_, consoleErr := c.Console(t.Context(), "tk0")
			for _, err := range []error{err, consoleErr, c.Events(t.Context(), 0, Following, nil), c.Ready(t.Context())} {
				if !errors.Is(err, ErrNoAgent) || !strings.Contains(err.Error(), target+": start one with tenks up") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestRefusalsCarryStatusAndText(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"an error of the agent":   {`{"error": "node busy"}`, "node busy"},
		"of something in between": {"<html>", "503 Service Unavailable"},
		"without a word":          {"", "503 Service Unavailable"},
		"JSON that says no more":  {"{}", "503 Service Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, tt.body, http.StatusServiceUnavailable) })
			_, err := c.Status(t.Context())
			_, consoleErr := c.Console(t.Context(), "tk0")
			for _, err := range []error{err, consoleErr} {
				var s *StatusError
				if !errors.As(err, &s) || s.Status != http.StatusServiceUnavailable || s.Message != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			}
		})
	}
}

func TestNamesAreEscaped(t *testing.T) {
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.EscapedPath())
		http.Error(w, "", http.StatusTeapot)
	})
	const name = "a/../b?c d"
	_, _ = c.Node(t.Context(), name, api.HideSecrets)
	_, _ = c.Cluster(t.Context(), name)
	_, _ = c.ClusterFile(t.Context(), name)
	_, _ = c.Power(t.Context(), name, "on")
	_, _ = c.Console(t.Context(), name)
	for _, path := range got {
		if !strings.Contains(path, "/a%2F..%2Fb%3Fc%20d") {
			t.Errorf("asked for %s", path)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d requests came", len(got))
	}
}

func TestAnAnswerThatIsNoJSONIsAnError(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	if _, err := c.Peers(t.Context()); err == nil || !strings.Contains(err.Error(), "answer of http://") {
		t.Errorf("got %v", err)
	}
}

func TestAStreamOfEventsThatIsCutSaysSo(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("{\"index\": 7}\n"))
		if r.URL.Query().Get("after") != "6" || r.URL.Query().Get("follow") != "true" {
			t.Errorf("asked for %s", r.URL)
		}
	})
	var got []uint64
	err := c.Events(t.Context(), 6, Following, func(e api.Event) { got = append(got, e.Index) })
	if err == nil || !strings.Contains(err.Error(), "the agent closed the stream") || len(got) != 1 || got[0] != 7 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFollowingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("{\"index\": 7}\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if err := c.Events(ctx, 0, Following, func(api.Event) { cancel() }); err != nil {
		t.Errorf("got %v", err)
	}
}
