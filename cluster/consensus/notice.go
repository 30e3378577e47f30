package consensus

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// noticeEvery is how often a follower looks when it last heard from its leader.
	noticeEvery = 50 * time.Millisecond
	// noticeSpread is how far apart followers notice that the leader is gone: at random
	// within it, so that they rarely stand for election at the same moment.
	noticeSpread = 300 * time.Millisecond
)

// noticeSilence makes Raft look at once when its leader has been silent for the heartbeat
// timeout. Raft itself looks at random times, one to two timeouts apart, and so notices
// after one to three; a candidate is refused until the others have noticed too. It ends
// in Close.
func (l *Log) noticeSilence() {
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	var noticed time.Time // the contact after which the silence was noticed
	spread := rand.N(noticeSpread)
	for {
		select {
		case <-l.stopped:
			return
		case <-tick.C:
		}
		last := l.raft.LastContact()
		if l.raft.State() != raft.Follower || last.IsZero() || last.Equal(noticed) {
			continue
		}
		if time.Since(last) >= l.raft.ReloadableConfig().HeartbeatTimeout+spread {
			noticed, spread = last, rand.N(noticeSpread)
			l.lookNow()
		}
	}
}

// lookNow makes Raft's follower compare the time since its leader's last word with the
// heartbeat timeout: it does so whenever that timeout becomes shorter.
func (l *Log) lookNow() {
	l.retiming.Lock()
	defer l.retiming.Unlock()
	r := l.raft.ReloadableConfig()
	longer := r
	longer.HeartbeatTimeout += time.Millisecond
	longer.ElectionTimeout += time.Millisecond // Raft wants it to be no less
	for _, c := range []raft.ReloadableConfig{longer, r} {
		if err := l.raft.ReloadConfig(c); err != nil {
			l.out.Warn("not made to look for its leader", "err", err)
			return
		}
	}
}
