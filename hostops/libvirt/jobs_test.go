package libvirt

import (
	"context"
	"errors"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

// A volume that is taken back is not used while it is still being overwritten.
func TestJoiningAJobWaitsForItAndStartsNone(t *testing.T) {
	j := &jobs{start: func(do func()) bool { go do(); return true }, alive: t.Context(), patience: 10 * time.Millisecond, all: map[string]*job{}}
	if err := j.join(t.Context(), "a"); err != nil || len(j.all) != 0 {
		t.Errorf("there is none: %v, %d jobs", err, len(j.all))
	}
	proceed := make(chan struct{})
	work := func(context.Context, telling) error { <-proceed; return errors.New("input/output error") }
	if err := j.run(t.Context(), "a", work); !errors.Is(err, state.ErrBusy) {
		t.Fatal(err)
	}
	if err := j.join(t.Context(), "a"); !errors.Is(err, state.ErrBusy) {
		t.Errorf("it is under way: %v", err)
	}
	j.patience = time.Minute
	close(proceed)
	if err := j.join(t.Context(), "a"); err == nil || errors.Is(err, state.ErrBusy) {
		t.Errorf("it failed: %v", err)
	}
	if err := j.join(t.Context(), "a"); err != nil {
		t.Errorf("it is over: %v", err)
	}
}
