package transport

import (
	"maps"
	"sync"
)

// Reason says why a connection was refused, failed or dropped. It is a metric's label.
type Reason string

// The reasons.
const (
	// ReasonProtocol: no protocol was named, or none that is served.
	ReasonProtocol Reason = "protocol"
	// ReasonNoCertificate: the protocol needs one.
	ReasonNoCertificate Reason = "no_certificate"
	// ReasonCertificate: Verify refused it.
	ReasonCertificate Reason = "certificate"
	// ReasonWrongPeer: another peer answered.
	ReasonWrongPeer Reason = "wrong_peer"
	// ReasonOwnCertificate: Config.Certificate failed.
	ReasonOwnCertificate Reason = "own_certificate"
	// ReasonTimeout: the handshake took too long.
	ReasonTimeout Reason = "timeout"
	// ReasonCrowded: it made room for another caller.
	ReasonCrowded Reason = "crowded"
	// ReasonQueueFull: nobody accepts connections of this protocol.
	ReasonQueueFull Reason = "queue_full"
	// ReasonCut: Raft is cut.
	ReasonCut Reason = "cut"
	// ReasonRefused: the other end refused us.
	ReasonRefused Reason = "refused_by_peer"
	// ReasonGone: the other end left in the middle.
	ReasonGone Reason = "gone"
	// ReasonTLS: what came is not TLS 1.3, or breaks its rules.
	ReasonTLS Reason = "tls"
	// ReasonUnknownPeer: no address is known.
	ReasonUnknownPeer Reason = "unknown_peer"
	// ReasonUnreachable: nobody answered at the address.
	ReasonUnreachable Reason = "unreachable"
	// ReasonRemoved: Drop was called.
	ReasonRemoved Reason = "removed"
	// ReasonAccept: the listener failed.
	ReasonAccept Reason = "accept"
)

// Stats is what happened since Open.
type Stats struct {
	// Open is how many connections are open now, by protocol.
	Open map[string]int
	// Pending is how many callers are in their handshake now.
	Pending int
	// Accepted and Dialed count good handshakes, by protocol.
	Accepted, Dialed map[string]uint64
	// Refused counts inbound handshakes that failed.
	Refused map[Reason]uint64
	// Failed counts dials that failed.
	Failed map[Reason]uint64
	// Dropped counts open connections that were closed by Drop, Recheck and Cut.
	Dropped map[Reason]uint64
}

// Stats returns the counts. The maps are the caller's.
func (t *Transport) Stats() Stats {
	s := t.counts.snapshot()
	s.Pending = t.crowd.pending()
	s.Open = map[string]int{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		s.Open[c.protocol]++
	}
	return s
}

// counts are the counters.
type counts struct {
	// mu guards what follows.
	mu sync.Mutex
	s  Stats
}

func newCounts() *counts {
	return &counts{s: Stats{Accepted: map[string]uint64{}, Dialed: map[string]uint64{},
		Refused: map[Reason]uint64{}, Failed: map[Reason]uint64{}, Dropped: map[Reason]uint64{}}}
}

func (c *counts) accepted(protocol string) { add(c, c.s.Accepted, protocol) }
func (c *counts) dialed(protocol string)   { add(c, c.s.Dialed, protocol) }
func (c *counts) refused(why Reason)       { add(c, c.s.Refused, why) }
func (c *counts) failed(why Reason)        { add(c, c.s.Failed, why) }
func (c *counts) dropped(why Reason)       { add(c, c.s.Dropped, why) }

func add[K comparable](c *counts, m map[K]uint64, key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[key]++
}

func (c *counts) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Accepted: maps.Clone(c.s.Accepted), Dialed: maps.Clone(c.s.Dialed),
		Refused: maps.Clone(c.s.Refused), Failed: maps.Clone(c.s.Failed), Dropped: maps.Clone(c.s.Dropped)}
}
