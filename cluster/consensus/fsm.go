package consensus

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// indexed is a state machine that notes how far it is. Raft's indices do not say it:
// they count entries that no state machine sees.
type indexed struct {
	raft.FSM
	// seen is the newest entry; 0: none since the start, or since a restore.
	seen atomic.Uint64
	// since is when the entry that is being applied began to be, by the monotonic clock:
	// the other one may be set meanwhile; nil: none is.
	since atomic.Pointer[time.Time]
}

// Apply implements raft.FSM.
func (f *indexed) Apply(l *raft.Log) any {
	now := time.Now()
	f.since.Store(&now)
	defer f.since.Store(nil)
	answer := f.FSM.Apply(l)
	f.seen.Store(l.Index)
	return answer
}

// Applying is for how long an entry has been being applied; 0: none is.
func (l *Log) Applying() time.Duration {
	since := l.fsm.since.Load()
	if since == nil {
		return 0
	}
	return time.Since(*since)
}

// Restore implements raft.FSM.
func (f *indexed) Restore(r io.ReadCloser) error {
	f.seen.Store(0)
	return f.FSM.Restore(r)
}

// index returns the newest entry that the state machine has seen, if that is known.
func (f *indexed) index() (uint64, bool) {
	if own, ok := f.FSM.(interface{ Index() uint64 }); ok {
		return own.Index(), true
	}
	seen := f.seen.Load()
	return seen, seen > 0
}
