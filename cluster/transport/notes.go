package transport

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// notePeriod is how often one reason is logged for one host.
	notePeriod = time.Minute
	// maxNotes bounds the hosts and reasons remembered, and so the lines per
	// notePeriod, whoever calls from however many addresses.
	maxNotes = 256
)

// notes logs refusals, but lets nobody fill the log.
type notes struct {
	log *slog.Logger

	// mu guards what follows.
	mu   sync.Mutex
	seen map[noteKey]*note
	// lost is how many were not logged because seen was full.
	lost int
}

type noteKey struct {
	host string
	why  Reason
}

type note struct {
	last time.Time
	// more is how many were not logged since.
	more int
}

func newNotes(log *slog.Logger) *notes { return &notes{log: log, seen: map[noteKey]*note{}} }

// refusal logs at Warn, unless the same was logged within a minute. claimed is what the
// other end says of itself.
func (n *notes) refusal(message string, remote net.Addr, protocol, claimed string, why Reason, err error) {
	more, ok := n.due(time.Now(), noteKey{hostOf(remote), why})
	if !ok {
		return
	}
	n.log.Warn(message, //nolint:sloglint // one of three constants
		"remote", remote.String(), "protocol", protocol, "claimed_peer", claimed, "reason", string(why),
		"err", err, "not_logged", more)
}

// due says whether to log now, and how many were left out since the last time.
func (n *notes) due(now time.Time, key noteKey) (more int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.seen[key]; s != nil {
		if now.Sub(s.last) < notePeriod {
			s.more++
			return 0, false
		}
		more = s.more
		*s = note{last: now}
		return more, true
	}
	if len(n.seen) >= maxNotes {
		n.expire(now)
	}
	if len(n.seen) >= maxNotes {
		n.lost++
		return 0, false
	}
	n.seen[key] = &note{last: now}
	more, n.lost = n.lost, 0
	return more, true
}

// expire forgets what would be logged again anyway.
func (n *notes) expire(now time.Time) {
	for key, s := range n.seen {
		if now.Sub(s.last) >= notePeriod {
			n.lost += s.more
			delete(n.seen, key)
		}
	}
}
