package histories

import (
	"fmt"
	"sync"
	"time"
)

// totals are of all seeds.
type totals struct {
	mu         sync.Mutex // guards what follows
	seeds      int
	outcomes   map[outcome]int
	begun      int
	faults     int64
	placed     int64
	leaderless time.Duration
	took       time.Duration
}

func (s *totals) add(w *world, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcomes == nil {
		s.outcomes = map[outcome]int{}
	}
	for o, n := range w.history.outcomes() {
		s.outcomes[o] += n
	}
	s.seeds++
	s.begun += w.history.begun
	s.faults += w.faults.Load()
	s.placed += w.placed.Load()
	s.leaderless = max(s.leaderless, w.watch.leaderless)
	s.took += took
}

func (s *totals) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d seeds: %s", s.seeds, line(s.begun, s.outcomes, s.faults, s.placed, s.leaderless, s.took))
}

func (w *world) summary(took time.Duration) string {
	return line(w.history.begun, w.history.outcomes(), w.faults.Load(), w.placed.Load(), w.watch.leaderless, took) +
		fmt.Sprintf(", %d hosts led", len(w.watch.leaders))
}

func line(begun int, o map[outcome]int, faults, placed int64, leaderless, took time.Duration) string {
	return fmt.Sprintf("%d operations, of which %d done, %d refused, %d never made, %d unknown; %d faults, %d placements, at most %v without a leader; took %v",
		begun, o[done], o[refused], o[never], o[unknown], faults, placed, leaderless, took.Round(time.Millisecond))
}
