package pdu

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"
)

// Clients send a request again that was not answered in time, with the same ID. One that
// reboots an outlet must not do so twice.
const (
	maxRepeats = 256
	repeatTime = 10 * time.Second
)

// repeat is a request that changed something.
type repeat struct {
	key repeatKey
	at  time.Time
	// answer is nil until it was carried out; result is that before it is known to be.
	answer, result *operation
}

type repeatKey struct {
	from netip.AddrPort
	unit string
	what [sha256.Size]byte
}

// repeats are the last ones, oldest first.
type repeats struct{ list []*repeat }

// see returns the request that this one repeats, or notes it as a new one.
func (r *repeats) see(now time.Time, from netip.AddrPort, unit string, op operation) (one *repeat, known bool) {
	r.list = slices.DeleteFunc(r.list, func(old *repeat) bool { return now.Sub(old.at) >= repeatTime })
	key := repeatKey{from, unit, sha256.Sum256(op.bytes())}
	for _, old := range r.list {
		if old.key == key {
			return old, true
		}
	}
	if len(r.list) == maxRepeats {
		r.list = r.list[1:]
	}
	one = &repeat{key: key, at: now}
	r.list = append(r.list, one)
	return one, false
}

func (r *repeats) forget(one *repeat) {
	r.list = slices.DeleteFunc(r.list, func(old *repeat) bool { return old == one })
}
