package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// maxHandshakes is how many handshakes compute at once: a whole mesh that calls
	// must not keep Raft's heartbeats waiting for a CPU.
	maxHandshakes = 64
	// maxPending is how many callers may be in their handshake, most of them waiting
	// for the other end. Each costs a file and some 10 KiB.
	maxPending = 4096
	// goodbye is how long, and maxGoodbye how many bytes of, what a refused caller
	// still sends is read, so that it gets our alert and no reset connection.
	goodbye    = 500 * time.Millisecond
	maxGoodbye = 64 << 10
	// acceptPause is how long accepting rests after an error, such as too many files.
	acceptPause = 50 * time.Millisecond
)

// accept never waits for a caller.
func (t *Transport) accept(ctx context.Context) {
	for {
		raw, err := t.listener.Accept()
		if err == nil {
			t.work.Go(func() { t.welcome(ctx, raw) })
			continue
		}
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		t.notes.refusal("cannot accept", t.listener.Addr(), "", "", ReasonAccept, err)
		if !pause(ctx, acceptPause) {
			return
		}
	}
}

// pause reports false if ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// welcome takes one caller through its handshake to who accepts its protocol.
func (t *Transport) welcome(ctx context.Context, raw net.Conn) {
	g := t.crowd.enter(hostOf(raw.RemoteAddr()), raw)
	defer t.crowd.leave(g)
	h := &handshake{transport: t, inbound: true}
	c, err := t.greet(ctx, h, raw)
	if err == nil {
		err = t.admit(h, c)
	}
	if err == nil {
		t.counts.accepted(h.protocol)
		return
	}
	if ctx.Err() != nil {
		shut(raw)
		return // this end closes; nobody was refused
	}
	why := h.why(err)
	if t.crowd.evicted(g) {
		why = ReasonCrowded
	}
	t.counts.refused(why)
	if why == ReasonGone {
		// Whoever only looks whether the port is open, as a join does.
		t.config.Log.Debug("a caller left", "remote", raw.RemoteAddr().String(), "err", err)
	} else {
		t.notes.refusal("refused a connection", raw.RemoteAddr(), h.protocol, h.claimed, why, err)
	}
	part(raw)
}

// greet does the handshake.
func (t *Transport) greet(ctx context.Context, h *handshake, raw net.Conn) (*Conn, error) {
	if err := raw.SetDeadline(time.Now().Add(t.config.HandshakeTimeout)); err != nil {
		return nil, err
	}
	p := &paced{Conn: raw, turns: t.turns}
	p.turns <- struct{}{}
	c, err := h.finish(ctx, tls.Server(p, h.serverConfig()), raw)
	p.over = true
	<-p.turns
	if err != nil {
		return nil, err
	}
	return c, nil
}

// admit hands c on.
func (t *Transport) admit(h *handshake, c *Conn) error {
	err := c.raw.SetDeadline(time.Time{})
	if err == nil {
		if why := t.deliver(c); why != "" {
			err = h.refuse(why, fmt.Errorf("protocol %q: nobody takes it", c.protocol))
		}
	}
	if err != nil {
		t.forget(c)
	}
	return err
}

// part closes so that the caller can still read what was sent to it: a kernel that has
// unread bytes resets the connection.
func part(raw net.Conn) {
	if half, ok := raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		if raw.SetReadDeadline(time.Now().Add(goodbye)) == nil {
			_, _ = io.CopyN(io.Discard, raw, maxGoodbye) // nobody wants it
		}
	}
	shut(raw)
}

// paced is a connection in its handshake. The handshake holds one of turns while it
// computes, and gives it back while it waits for the other end: a caller that is slow on
// purpose costs nobody else a turn.
type paced struct {
	net.Conn
	turns chan struct{}
	// over is set before anybody else gets the connection.
	over bool
}

// Read implements net.Conn.
func (p *paced) Read(b []byte) (int, error) {
	if !p.over {
		<-p.turns
		defer func() { p.turns <- struct{}{} }()
	}
	return p.Conn.Read(b)
}

// Write implements net.Conn.
func (p *paced) Write(b []byte) (int, error) {
	if !p.over {
		<-p.turns
		defer func() { p.turns <- struct{}{} }()
	}
	return p.Conn.Write(b)
}
