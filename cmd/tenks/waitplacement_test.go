package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

// expiring is a context whose deadline is over when the test says so.
type expiring struct {
	context.Context
	over chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.over }

func (e expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return e.Context.Err()
	}
}

// answers has one status and body after the other; asked for more, it has the time be over.
func answers(t *testing.T, over chan struct{}, waits bool, placements []any) *client.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/clusters/demo", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Cluster{Name: "demo", WaitForPlacement: waits})
	})
	asked := 0
	mux.HandleFunc("GET /v1/clusters/demo/placement", func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == len(placements)+1 {
			close(over)
		}
		body := placements[min(asked, len(placements))-1]
		if status, ok := body.(int); ok {
			w.WriteHeader(status)
			body = api.ErrorBody{Error: "placement of cloud lab: no answer in time"}
		}
		_ = json.NewEncoder(w).Encode(body)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return client.New(s.URL)
}

func TestWaitPlacement(t *testing.T) {
	offered := api.Placement{Nodes: []api.PlacementNode{{Name: "tk0"}, {Name: "tk1"}}}
	lacks := api.Placement{Nodes: []api.PlacementNode{{Name: "tk0"}, {Name: "tk1", Lacks: []string{"CUSTOM_BM", "trait CUSTOM_GPU"}}}}
	for name, tt := range map[string]struct {
		waits   bool
		answers []any
		shown   string
		err     string
	}{
		"not asked for": {false, []any{lacks}, "", ""},
		"offered":       {true, []any{offered}, "demo [====================] 2/2 in Placement\n", ""},
		"later": {true, []any{lacks, http.StatusBadGateway, offered},
			"demo [==========          ] 1/2 in Placement; tk1 lacks CUSTOM_BM, trait CUSTOM_GPU\n" +
				"demo: placement of cloud lab: no answer in time\n" +
				"demo [====================] 2/2 in Placement\n", ""},
		"not in time": {true, []any{lacks},
			"demo [==========          ] 1/2 in Placement; tk1 lacks CUSTOM_BM, trait CUSTOM_GPU\n",
			"not in Placement after 1h0m0s: tk1 lacks CUSTOM_BM, trait CUSTOM_GPU"},
		"refused": {true, []any{http.StatusConflict}, "", "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			var shown bytes.Buffer
			over := make(chan struct{})
			tool := &tool{streams: streams{err: &shown}}
			err := tool.waitPlacement(expiring{t.Context(), over}, answers(t, over, tt.waits, tt.answers), "demo", patience{time.Hour, time.Millisecond, 10 * time.Millisecond})
			if got := shown.String(); got != tt.shown {
				t.Errorf("shown %q, want %q", got, tt.shown)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}
