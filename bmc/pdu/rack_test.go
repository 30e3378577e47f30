package pdu

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"tenks/raftfsm/state"
)

// rack is who switches the outlets of tests.
type rack struct {
	mu   sync.Mutex // guards what follows
	on   map[string]bool
	told []string
	err  error
}

func newRack() *rack { return &rack{on: map[string]bool{"u1": true, "u2": false, "u4": true}} }

func (r *rack) config() Config {
	return Config{Engine: "test", Version: "1.2", Log: slog.New(slog.DiscardHandler),
		States: func(_ context.Context, outlets []Outlet) map[string]bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			out := map[string]bool{}
			for _, o := range outlets {
				if on, ok := r.on[o.UUID]; ok {
					out[o.UUID] = on
				}
			}
			return out
		},
		Switch: func(_ context.Context, o Outlet, c Command) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.err != nil {
				return r.err
			}
			r.told = append(r.told, fmt.Sprintf("%s %s", c, o.UUID))
			r.on[o.UUID] = c != Off
			return nil
		}}
}

func (r *rack) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// commands returns what outlets were told since the last time.
func (r *rack) commands() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.told = nil }()
	return fmt.Sprint(r.told)
}

const (
	testUser     = "ironic"
	testPassword = "a long password"
)

// units are a rack with four outlets, of which the third has no node and the state of the
// fifth is not known, and an empty one.
func units() []Unit {
	return []Unit{
		{PDU: state.PDU{Name: "rack1", Community: state.NewSecret("one"), User: testUser, Password: state.NewSecret(testPassword)},
			Outlets: []Outlet{{1, "tk0", "u1"}, {2, "tk1", "u2"}, {4, "tk3", "u4"}, {300, "tk4", "u5"}}},
		{PDU: state.PDU{Name: "rack2", Community: state.NewSecret("two")}},
	}
}

// newServer listens with a rack of its own.
func newServer(t *testing.T) (*rack, *Server) {
	t.Helper()
	r := newRack()
	s, err := Listen(t.Context(), "127.0.0.1:0", r.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Update(units())
	return r, s
}
