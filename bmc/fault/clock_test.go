package fault

import (
	"testing"
	"time"

	"tenks/raftfsm/state"
)

func TestAClockOfAnotherPeerDoesNotMatter(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	minute := int64(60_000)
	fault := func(index uint64, added time.Duration) *state.Fault {
		return &state.Fault{ID: "f1", CreateIndex: index, AddedMilli: now.Add(added).UnixMilli(), ForMilli: 10 * minute}
	}
	tests := map[string]struct {
		before uint64 // index of the state that was seen before; 0: none
		fault  *state.Fault
		want   time.Duration
	}{
		"it appears":                            {5, fault(6, 0), 10 * time.Minute},
		"it appears, from a clock behind":       {5, fault(6, -time.Hour), 10 * time.Minute},
		"it appears, from a clock ahead":        {5, fault(6, time.Hour), 10 * time.Minute},
		"it was there at the start":             {0, fault(6, -4*time.Minute), 6 * time.Minute},
		"and its time was over":                 {0, fault(6, -time.Hour), 0},
		"and is of a clock ahead":               {0, fault(6, time.Hour), 10 * time.Minute},
		"it was there before this peer knew it": {7, fault(6, -4*time.Minute), 6 * time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var c Clock
			if tt.before > 0 {
				c.See(tt.before, nil, now.Add(-time.Second))
			}
			all := []*state.Fault{tt.fault}
			c.See(8, all, now)
			if got := c.Ends("f1").Sub(now); got != tt.want {
				t.Fatalf("%v left, want %v", got, tt.want)
			}
			c.See(9, all, now.Add(time.Minute)) // seeing it again changes nothing
			if got := c.Ends("f1").Sub(now); got != tt.want {
				t.Errorf("seen again: %v left, want %v", got, tt.want)
			}
			c.See(10, nil, now)
			if !c.Ends("f1").IsZero() {
				t.Error("a fault that is gone is known still")
			}
		})
	}
}
