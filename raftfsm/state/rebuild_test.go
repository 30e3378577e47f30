package state

import "testing"

func TestANodeOfAPeerThatIsBackIsNotUnplaced(t *testing.T) {
	for name, tt := range map[string]struct {
		before  []Command
		since   uint64 // after the index of the loss
		removed bool
	}{
		"lost since then":        {since: 0, removed: true},
		"lost at another time":   {since: 1},
		"back":                   {before: []Command{MarkPeers{Found: []string{"h1"}}}},
		"back and lost again":    {before: []Command{MarkPeers{Found: []string{"h1"}}, MarkPeers{Lost: []string{"h1"}}}},
		"declared to be off too": {before: []Command{DeclareLost{"h1"}}, removed: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := meshOf(t)
			l.must(MarkPeers{Lost: []string{"h1"}})
			lost := l.peer("h1").LostIndex
			l.must(tt.before...)
			n := l.snap().NodesOn("h1")[0]
			l.must(UnplaceNodes{[]NodeUnplacement{{UUID: n.UUID, Epoch: n.Placement.Epoch, Reason: "gone", LostIndex: lost + tt.since}}})
			if after, _ := l.snap().Node(n.UUID); (after.Placement == nil) != tt.removed {
				t.Errorf("placed at %v, want it to be unplaced: %t", after.Placement, tt.removed)
			}
		})
	}
}
