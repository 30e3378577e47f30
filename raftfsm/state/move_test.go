package state

import "testing"

func TestPhaseTellsOfAMove(t *testing.T) {
	ready := Node{Placement: &Placement{}, Host: HostStatus{Phase: HostReady}}
	for name, tt := range map[string]struct {
		change func(n *Node)
		phase  Phase
		want   string
	}{
		"begun":          {func(n *Node) { n.Move = &Move{To: "h2", Name: "hv2"} }, PhaseReady, "moving to hv2"},
		"under way":      {func(n *Node) { n.Move = &Move{To: "h2", Name: "hv2", Done: 349, Total: 1000} }, PhaseReady, "moving to hv2: 34 %"},
		"does not go on": {func(n *Node) { n.Move = &Move{To: "h2", Name: "hv2", Error: "no space"} }, PhaseReady, "moving to hv2: no space"},
		"waits":          {func(n *Node) { n.Move = &Move{Error: "it is on"} }, PhaseReady, "it is on"},
		"has worse":      {func(n *Node) { n.Move, n.Host.Error = &Move{Error: "it is on"}, "no disk" }, PhaseReady, "no disk"},
		"of the largest": {func(n *Node) { n.Move = &Move{To: "h2", Name: "hv2", Done: 1 << 63, Total: 1<<64 - 1} }, PhaseReady, "moving to hv2: 50 %"},
		"is lost":        {func(n *Node) { n.Move, n.Lost, n.LostReason = &Move{To: "h2", Name: "hv2"}, true, "gone" }, PhaseLost, "gone"},
	} {
		n := ready
		tt.change(&n)
		if phase, reason := n.Phase(); phase != tt.phase || reason != tt.want {
			t.Errorf("%s: %s %q, want %s %q", name, phase, reason, tt.phase, tt.want)
		}
	}
}
