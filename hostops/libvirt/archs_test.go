//go:build cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

func TestArchitecturesAreAskedForOnceInAWhile(t *testing.T) {
	var a archs
	one, other := &session{}, &session{}
	begun := time.Now()
	asked := 0
	both := []string{state.ArchARM, state.ArchX86}
	for _, c := range []struct {
		what  string
		on    *session
		after time.Duration
		err   error
		want  []string
		asked int
	}{
		{"no answer", one, 0, errors.New("busy"), []string{state.ArchX86}, 1},
		{"again at once", one, time.Second, nil, both, 2},
		{"kept", one, archsAgain, nil, both, 2},
		{"kept although it would fail", one, archsAgain, errors.New("busy"), both, 2},
		{"another connection", other, 2 * time.Second, nil, both, 3},
		{"after a while", other, archsAgain + 2*time.Second, nil, both, 4},
	} {
		got := a.get(c.on, begun.Add(c.after), func() ([]string, error) { asked++; return both, c.err })
		if !slices.Equal(got, c.want) || asked != c.asked {
			t.Errorf("%s: %q after %d questions, want %q after %d", c.what, got, asked, c.want, c.asked)
		}
	}
}
