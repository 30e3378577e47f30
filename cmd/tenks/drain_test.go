package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
)

func TestDrainLine(t *testing.T) {
	for want, p := range map[string]api.Peer{
		"hv1 [====================] 4/4 moved": {Name: "hv1"},
		"hv1 [==========          ] 2/4 moved, 1 moving: 3 of 10 MiB; 1 waiting, such as tk2 moves once it is off: it is on": {
			Name: "hv1", Nodes: 2, Moves: []api.NodeMove{{Node: "tk1", To: "hv2", Done: 3 << 20, Total: 10 << 20},
				{Node: "tk2", Reason: "moves once it is off: it is on"}}},
		"hv1 [                    ] 0/4 moved, 1 moving: 0 of 0 MiB; 1 waiting, such as tk1 hv1 does not answer": {
			Name: "hv1", Nodes: 4, Moves: []api.NodeMove{{Node: "tk1", To: "hv2", Reason: "hv1 does not answer"}}},
	} {
		if got := drainLine(p, 4); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNotDrainedNamesWhatIsLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	err := notDrained(ctx, api.Peer{Nodes: 2, Moves: []api.NodeMove{{Node: "tk1", To: "hv2"}, {Node: "tk2", Reason: "cannot move: it is too large"}}}, time.Minute)
	for _, want := range []string{"1m0s", "2 nodes are left", "tk1", "tk2 cannot move: it is too large"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want one with %q", err, want)
		}
	}
}
