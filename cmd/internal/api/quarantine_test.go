package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

// kept is a host's quarantine.
type kept struct {
	list    []Quarantined
	deleted []string
	clear   error
}

func (k *kept) Quarantine() []Quarantined { return k.list }

func (k *kept) DeleteQuarantined(_ context.Context, uuid string) error {
	k.deleted = append(k.deleted, uuid)
	return nil
}

func (k *kept) Clear(_ context.Context, peer string, _ bool) error {
	if peer != "p1" {
		return fmt.Errorf("not %q: %w", peer, state.ErrRefused)
	}
	return k.clear
}

func TestClearSaysWhatIsLeft(t *testing.T) {
	k := &kept{}
	s := New(Config{Source: state.New(), Quarantine: k})
	ask := func(s *Server, rec *httptest.ResponseRecorder, body string) error {
		return s.clear(rec, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	}
	for _, want := range []error{nil, errors.New("a node is left")} {
		k.clear = want
		rec := httptest.NewRecorder()
		if err := ask(s, rec, `{"peer":"p1"}`); !errors.Is(err, want) || err == nil && rec.Code != http.StatusNoContent {
			t.Errorf("error %v, status %d; want %v", err, rec.Code, want)
		}
	}
	if err := ask(s, httptest.NewRecorder(), `{"peer":"p2"}`); !errors.Is(err, state.ErrRefused) {
		t.Errorf("another peer was meant: %v", err)
	}
	if err := ask(New(Config{Source: state.New()}), httptest.NewRecorder(), ""); !errors.Is(err, state.ErrUnsupported) {
		t.Errorf("a peer that is no hypervisor: %v", err)
	}
}

func TestQuarantineIsListedAndDeletedByName(t *testing.T) {
	store := state.New()
	if err := store.Load(state.Dump{Index: 5, Peers: []*state.Peer{{ID: "p2", Name: "hv2"}},
		Nodes: []*state.Node{{UUID: "u1", Name: "tk0", LinkName: "tk0", Cluster: "demo", Placement: &state.Placement{Hypervisor: "p2"}},
			{UUID: "u2", Name: "tk1", LinkName: "tk1", Cluster: "demo"}}}); err != nil {
		t.Fatal(err)
	}
	k := &kept{list: []Quarantined{{UUID: "u1", Name: "tk0", Epoch: 3}, {UUID: "u2", Name: "tk1", Epoch: 3}}}
	s := New(Config{Source: store, Quarantine: k})
	rec := httptest.NewRecorder()
	if err := s.quarantine(rec, nil); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("%d, %v", rec.Code, err)
	}
	if got := rec.Body.String(); strings.Count(got, `"hypervisor":"hv2"`) != 1 || !strings.Contains(got, `"name":"tk1"`) {
		t.Errorf("answer %s", got)
	}
	for name, want := range map[string]string{"tk0": "[u1]", "u2": "[u2]", "tk9": "[]"} {
		k.deleted = nil
		r := httptest.NewRequest(http.MethodDelete, "/", nil)
		r.SetPathValue("name", name)
		err := s.deleteQuarantined(httptest.NewRecorder(), r)
		if got := fmt.Sprint(k.deleted); got != want || (err != nil) != (want == "[]") || err != nil && statusOf(err) != http.StatusNotFound {
			t.Errorf("delete %s: deleted %v, error %v", name, k.deleted, err)
		}
	}
}
