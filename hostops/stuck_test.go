package hostops

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// text is a log that a test reads while the host goes on.
type text struct {
	mu  sync.Mutex
	out strings.Builder
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

// logOf has the host log into a text.
func logOf(e *env) *text {
	var out text
	e.config.Log = slog.New(slog.NewTextHandler(&out, nil))
	e.restart()
	return &out
}

func TestAStepOfTheHostThatFailsIsTriedLessAndLessOften(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		log := logOf(e)
		e.links.fail("brtenks0", errors.New("no memory"))
		e.place(node("a", "p1"), node("b", "p2"))
		e.run()
		elapse(time.Minute)
		e.phase("b", state.HostReady)
		e.phase("a", state.HostError)
		if got := e.node("a").Host.Error; !strings.Contains(got, "no memory") {
			t.Errorf("error %q", got)
		}
		if n := e.links.triedLink("brtenks0"); n < 4 || n > 8 {
			t.Errorf("%d tries in a minute, want 4 to 8: after 1, 2, 4, 8, … s", n)
		}
		if n := strings.Count(log.String(), "no memory"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		reports := e.reported()
		elapse(5 * time.Minute)
		if e.reported() != reports {
			t.Errorf("%d reports of the same", e.reported()-reports)
		}
		e.links.fail("brtenks0", nil)
		elapse(time.Minute + 4*time.Second)
		e.phase("a", state.HostReady)
	})
}

func TestAStepThatFailedIsTriedAtOnceWhenWhatItIsAboutChanged(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.config.Physnets["p2"] = Physnet{Device: "eth1"}
		e.links.add(link.Link{Name: "eth1", MTU: 1500, Up: true})
		e.links.fail("eth1", errors.New("the host has an address on it"))
		e.restart()
		e.place(node("a", "p2"))
		e.run()
		elapse(90 * time.Second) // the next try is far away
		e.phase("a", state.HostError)
		e.links.fail("eth1", nil)
		e.links.add(link.Link{Name: "eth1", MTU: 1400, Up: true})
		elapse(5 * time.Second)
		e.phase("a", state.HostReady)
	})
}

func TestALinkThatCannotBeDeletedIsSaidOnce(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		log := logOf(e)
		e.place(node("a", "p1"))
		e.run()
		elapse(time.Second)
		e.removeNode("a")
		e.links.fail("brtenks0", errors.New("device or resource busy"))
		elapse(5 * time.Minute)
		if n := strings.Count(log.String(), "resource busy"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		e.links.fail("brtenks0", nil)
		elapse(2 * time.Minute)
		if e.links.has("brtenks0") || !strings.Contains(log.String(), "recovered") {
			t.Errorf("not mended, or not said:\n%s", log)
		}
	})
}
