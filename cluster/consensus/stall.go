package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stallTime is how long the disk may take to store entries before this peer is
// taken for stuck. Raft itself never gives up on a leader that still sends
// heartbeats while its disk hangs.
const stallTime = 5 * time.Second

// stallStore is a log store that tells of a write that hangs, and of its end.
type stallStore struct {
	raft.LogStore
	limit time.Duration
	// stalled is called with true once a write takes longer than limit, and with false
	// when it has ended after all. Never twice with the same value in a row.
	stalled func(bool)

	mu sync.Mutex // guards hung, and orders calls of stalled
	// hung counts writes that are over their time.
	hung int
}

// StoreLog implements raft.LogStore.
func (s *stallStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *stallStore) StoreLogs(logs []*raft.Log) error {
	return s.watch(func() error { return s.LogStore.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (s *stallStore) DeleteRange(first, last uint64) error {
	return s.watch(func() error { return s.LogStore.DeleteRange(first, last) })
}

func (s *stallStore) watch(write func() error) error {
	var late bool // guarded by s.mu
	ended := false
	timer := time.AfterFunc(s.limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ended {
			return
		}
		late = true
		if s.hung++; s.hung == 1 {
			s.stalled(true)
		}
	})
	err := write()
	timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = true
	if late {
		if s.hung--; s.hung == 0 {
			s.stalled(false)
		}
	}
	return err
}
