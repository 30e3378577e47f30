package hostops

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenks/raftfsm/state"
)

func TestAHostThatIsClearedKeepsNothingAndMakesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a", "p1"), node("b", "p1", "p2"), node("c"), node("d"), node("e"))
		e.run()
		elapse(time.Second)
		e.power("a", state.ActionOn)
		elapse(time.Second)
		if len(e.nodes.nodes) != 5 || len(e.links.have.Links) == 0 {
			t.Fatalf("%d nodes, %d links", len(e.nodes.nodes), len(e.links.have.Links))
		}
		if err := e.host.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		elapse(time.Minute)
		if len(e.nodes.nodes) != 0 || len(e.links.have.Links) != 0 {
			t.Errorf("left: nodes %v, links %v", e.nodes.nodes, e.links.have.Links)
		}
		if err := e.host.Clear(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestClearSaysWhatIsLeft(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.run()
		elapse(time.Second)
		e.nodes.lose(errors.New("libvirtd hangs"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := e.host.Clear(ctx)
		if err == nil || !strings.Contains(err.Error(), "libvirtd hangs") {
			t.Errorf("error %v", err)
		}
		e.nodes.lose(nil)
		if err := e.host.Clear(t.Context()); err != nil {
			t.Errorf("once it answers: %v", err)
		}
		synctest.Wait()
	})
}
