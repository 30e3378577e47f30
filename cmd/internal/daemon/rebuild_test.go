package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

// fourteenRebuilt are nodes that are made anew when their host is lost.
var fourteenRebuilt = strings.Replace(fourteenNodes, "count: 14", "count: 14, on_host_loss: rebuild, stop_after: 15s", 1)

func TestNodesOfAPeerThatIsGoneAreMadeAnewAndItsOwnAreInQuarantine(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers, i := seven(t)
	gone := peers[i] // it gets its part of the state by a feed
	other := peers[(i+1)%len(peers)]
	if _, err := other.Apply(t.Context(), api.ApplyRequest{File: fourteenRebuilt}); err != nil {
		t.Fatal(err)
	}
	before := map[string]api.Node{}
	for _, n := range other.ready() {
		before[n.Name] = n
		// Also where a state that is new enough comes by a feed.
		other.eventuallyIn(20*time.Second, "power on "+n.Name, func() bool {
			_, err := other.Power(t.Context(), n.Name, "on")
			return err == nil
		})
	}
	gone.stopped()
	began := time.Now()
	// It was told to end, and took back its promise to stop what runs there.
	stays := func() bool {
		nodes, _, err := other.Nodes(t.Context(), client.NodeQuery{})
		return err == nil && slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Hypervisor == gone.config.Name && n.Phase == "lost" })
	}
	other.eventuallyIn(60*time.Second, "its nodes lost", stays)
	other.eventuallyIn(60*time.Second, "the time in which they would be fenced to be over", func() bool { return time.Since(began) > 35*time.Second })
	if !stays() {
		t.Error("nodes were made anew that nobody stopped")
	}
	if err := other.ChangePeer(t.Context(), gone.config.Name, "declare-lost"); err != nil {
		t.Fatal(err)
	}
	var after []api.Node
	other.eventuallyIn(90*time.Second, "all nodes elsewhere", func() bool {
		var err error
		after, _, err = other.Nodes(t.Context(), client.NodeQuery{})
		return err == nil && !slices.ContainsFunc(after, func(n api.Node) bool { return n.Hypervisor == gone.config.Name || n.Phase != "ready" })
	})
	took := time.Since(began)
	var moved []string
	for _, n := range after {
		was := before[n.Name]
		if was.Hypervisor == gone.config.Name {
			moved = append(moved, n.Name)
		} else if was.Hypervisor != n.Hypervisor || was.Epoch != n.Epoch {
			t.Errorf("%s moved from %s to %s", n.Name, was.Hypervisor, n.Hypervisor)
		}
		if was.UUID != n.UUID || was.BMC.Port != n.BMC.Port && was.Hypervisor != gone.config.Name {
			t.Errorf("%s was %+v and is %+v", n.Name, was, n)
		}
	}
	t.Logf("%v made anew %s after %s ended", moved, took.Round(time.Millisecond), gone.config.Name)

	back := start(t, gone.config)
	var kept []api.Quarantined
	back.eventuallyIn(40*time.Second, "quarantine", func() bool {
		var err error
		kept, err = back.Quarantine(t.Context())
		return err == nil && len(kept) == len(moved) && !slices.ContainsFunc(kept, func(q api.Quarantined) bool { return q.Power != "off" || q.Hypervisor == "" })
	})
	checks, err := back.Doctor(t.Context())
	if err != nil || !slices.ContainsFunc(checks, func(c api.Check) bool { return c.Name == "quarantine "+moved[0] && c.State == "warning" }) {
		t.Errorf("doctor says %+v, %v", checks, err)
	}
	for _, name := range moved {
		if err := back.DeleteQuarantined(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	back.eventually("nothing in quarantine", func() bool {
		kept, err := back.Quarantine(t.Context())
		return err == nil && len(kept) == 0
	})
	if err := back.DeleteQuarantined(t.Context(), moved[0]); err == nil {
		t.Error("deleted twice")
	}
}
