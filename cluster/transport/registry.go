package transport

import (
	"net"
	"slices"
)

// current returns the generation to note before Verify is asked.
func (t *Transport) current() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.generation
}

// bootstraps reports whether somebody listens for Bootstrap.
func (t *Transport) bootstraps() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queues[Bootstrap] != nil
}

// served returns the protocols that a caller may name and somebody listens for, and
// whether Raft is cut.
func (t *Transport) served() (protocols []string, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.queues {
		if p != Bootstrap && (p != Raft || !t.cut) {
			protocols = append(protocols, p)
		}
	}
	slices.Sort(protocols)
	return protocols, t.cut
}

// register makes c one of the open connections. It reports false if Drop or Recheck was
// called since generation seen: Verify must be asked again.
func (t *Transport) register(c *Conn, seen uint64) (fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return false, net.ErrClosed
	case t.cut && c.protocol == Raft:
		return false, ErrCut
	case t.generation != seen:
		return false, nil
	}
	t.open[c] = struct{}{}
	return true, nil
}

func (t *Transport) forget(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
}

// take removes the open connections that which is true for, and returns them. mu is
// held.
func (t *Transport) take(which func(*Conn) bool) []*Conn {
	var taken []*Conn
	for c := range t.open {
		if which(c) {
			taken = append(taken, c)
			delete(t.open, c)
		}
	}
	return taken
}

// Drop closes all connections with a peer at once. A handshake under way asks Verify
// again before its connection is used, so drop after Verify has learned.
func (t *Transport) Drop(peer string) {
	t.mu.Lock()
	t.generation++
	conns := t.take(func(c *Conn) bool { return c.peer == peer })
	t.mu.Unlock()
	t.abort(conns, ReasonRemoved)
	if len(conns) > 0 {
		t.config.Log.Info("dropped the connections of a peer", "peer", peer, "connections", len(conns))
	}
}

// Recheck asks Verify again about all open connections and closes those refused, or
// that belong to another peer now. Call it after a removal or a change of CA, and from
// time to time: a certificate may end while its connection is open.
func (t *Transport) Recheck() {
	t.mu.Lock()
	t.generation++
	var conns []*Conn
	for c := range t.open {
		if len(c.chain) > 0 {
			conns = append(conns, c)
		}
	}
	t.mu.Unlock()
	for _, c := range conns {
		peer, err := t.identify(c.chain, c.protocol)
		if err == nil && peer == c.peer {
			continue
		}
		t.forget(c)
		t.abort([]*Conn{c}, ReasonCertificate)
		t.notes.refusal("dropped a connection", c.raw.RemoteAddr(), c.protocol, c.peer, ReasonCertificate, err)
	}
}

// Cut closes all Raft connections and refuses new ones, both ways, until Mend. Other
// protocols go on. It does not wait for the disk, nor for the network. Cutting again
// does nothing.
func (t *Transport) Cut() {
	t.mu.Lock()
	t.cut = true
	conns := t.take(func(c *Conn) bool { return c.protocol == Raft })
	t.mu.Unlock()
	t.abort(conns, ReasonCut)
}

// Mend ends what Cut began.
func (t *Transport) Mend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut = false
}

func (t *Transport) abort(conns []*Conn, why Reason) {
	for _, c := range conns {
		c.abort()
		t.counts.dropped(why)
	}
}
