package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"tenks/raftfsm/state"
)

// Waiting for a node to exist was sixty requests without a pause, and then giving up: see
// docs/from-ansible.md. Here a request waits until there is something new.
func TestB19WaitingIsOneRequestThatIsAnsweredOnceSomethingChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.demo()
		index := w.snap().Index()
		answered := make(chan answer, 1)
		go func() { answered <- w.call("GET", "/v1/nodes?after="+fmt.Sprint(index), nil) }()
		synctest.Wait()
		select {
		case a := <-answered:
			t.Fatalf("answered before anything changed: %d %s", a.status, a.body)
		default:
		}
		w.do(state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: w.node("tk0").UUID, Status: state.IronicStatus{Phase: state.IronicEnrolling}}}})
		if a := <-answered; a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
