package fault

import (
	"time"

	"tenks/raftfsm/state"
)

// Clock knows until when faults last by this peer's own reckoning, whatever other peers'
// clocks say. A fault that appears lasts all of its time from then on, by the monotonic
// clock; of one that was there before this peer looked, what is left by the wall clock,
// and at most all of it. The zero value is ready; it is not safe for concurrent use.
type Clock struct {
	index uint64 // of the state that it saw last
	ends  map[string]time.Time
}

// See takes over the faults of a state at a log index.
func (c *Clock) See(index uint64, faults []*state.Fault, now time.Time) {
	ends := make(map[string]time.Time, len(faults))
	for _, f := range faults {
		if end, known := c.ends[f.ID]; known {
			ends[f.ID] = end
			continue
		}
		left := time.Duration(f.ForMilli) * time.Millisecond
		if c.index == 0 || f.CreateIndex <= c.index {
			left = max(0, min(left, time.UnixMilli(f.EndsMilli()).Sub(now)))
		}
		ends[f.ID] = now.Add(left)
	}
	c.index, c.ends = index, ends
}

// Ends returns when a fault's time is over; the zero time for one that was not seen.
func (c *Clock) Ends(id string) time.Time { return c.ends[id] }
