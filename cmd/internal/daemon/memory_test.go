package daemon

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tenks/raftfsm/state"
)

func TestTheAgentOfALargeMeshCollectsLessOften(t *testing.T) {
	t.Setenv("GOGC", "")
	synctest.Test(t, func(t *testing.T) {
		store := state.New()
		index := uint64(0)
		do := func(c state.Command) {
			t.Helper()
			index++
			if err := store.Apply(index, state.Envelope{Command: c}); err != nil {
				t.Fatal(err)
			}
		}
		do(state.SetMesh{Mesh: state.Mesh{ID: "mesh", Name: "lab", Generation: 1}})
		percent, set := 75, []int{}
		a := &agent{source: store, opt: Options{SetGCPercent: func(p int) int {
			before := percent
			percent = p
			set = append(set, p)
			return before
		}}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.size(ctx) }()
		expect := func(when string, want ...int) {
			t.Helper()
			<-time.After(2 * sizedEvery)
			synctest.Wait()
			if !slices.Equal(set, want) {
				t.Errorf("%s: percents %v, want %v", when, set, want)
			}
		}
		expect("a small mesh")
		for i := range largeMesh {
			name := fmt.Sprintf("h%d", i)
			do(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: name, Name: name}})
		}
		expect("a large mesh", sparePercent)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
