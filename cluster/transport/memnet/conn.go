package memnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// maxBuffered bounds, in bytes, what is sent in one direction and not read; a writer
// waits for room.
const maxBuffered = 256 << 10

// conn is one end of a connection. Network.mu guards all but what is set once.
type conn struct {
	net           *Network
	host          *host
	peer          *conn
	local, remote Addr

	in   []chunk // sent by peer, in order
	size int     // bytes in in
	// ended is why this end can no longer be used; nil: it can.
	ended error
	// finished: this end sends no more.
	finished        bool
	readBy, writeBy time.Time
	wake            signal
}

// chunk is a piece of a stream.
type chunk struct {
	data []byte
	// end is what the reader gets after the last byte.
	end error
	// due is when it arrives; held: not before the partition heals.
	due  time.Time
	held bool
}

// send puts a chunk on its way to the other end.
func (c *conn) send(p chunk) {
	to := c.peer
	if to.ended != nil {
		return
	}
	if p.held = c.net.blocked(c.host, to.host); !p.held {
		p.due = c.net.due(c.host, to.host)
	}
	to.in = append(to.in, p)
	to.size += len(p.data)
	to.wake.raise()
}

// end closes this end. The other one reads what was sent, and then sees.
func (c *conn) end(sees, here error) {
	if c.ended != nil {
		return
	}
	if !c.finished || sees != io.EOF { //nolint:errorlint // it is one of two constants
		c.send(chunk{end: sees})
	}
	c.ended, c.in, c.size = here, nil, 0
	delete(c.net.conns, c)
	c.wake.raise()
	c.peer.wake.raise()
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	for {
		c.net.mu.Lock()
		n, wait, until, err := c.read(b)
		c.net.mu.Unlock()
		if wait == nil {
			return n, err
		}
		pause(wait, until)
	}
}

// read takes what has arrived, or returns what to wait for.
func (c *conn) read(b []byte) (n int, wait <-chan struct{}, until time.Time, err error) {
	if c.ended != nil {
		return 0, nil, until, fault("read", c.local, c.ended)
	}
	if past(c.readBy) {
		return 0, nil, until, fault("read", c.local, os.ErrDeadlineExceeded)
	}
	until = c.readBy
	if len(c.in) == 0 || c.in[0].held {
		return 0, c.wake.wait(), until, nil
	}
	first := &c.in[0]
	if !first.due.IsZero() && !past(first.due) {
		return 0, c.wake.wait(), sooner(until, first.due), nil
	}
	if first.end == io.EOF { //nolint:errorlint // it is one of two constants
		return 0, nil, until, io.EOF
	}
	if first.end != nil {
		return 0, nil, until, fault("read", c.local, first.end)
	}
	n = copy(b, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		c.in = c.in[1:]
	}
	c.size -= n
	c.peer.wake.raise()
	return n, nil, until, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	var done int
	for {
		c.net.mu.Lock()
		n, wait, until, err := c.write(b[done:])
		c.net.mu.Unlock()
		done += n
		if err != nil || done == len(b) {
			return done, err
		}
		if wait != nil {
			pause(wait, until)
		}
	}
}

// write sends what there is room for, or returns what to wait for.
func (c *conn) write(b []byte) (n int, wait <-chan struct{}, until time.Time, err error) {
	to := c.peer
	switch {
	case c.ended != nil:
		err = c.ended
	case c.finished:
		err = syscall.EPIPE
	case past(c.writeBy):
		err = os.ErrDeadlineExceeded
	case to.ended != nil && !c.net.blocked(c.host, to.host) && !c.net.blocked(to.host, c.host):
		err = syscall.ECONNRESET
	}
	if err != nil {
		return 0, nil, until, fault("write", c.local, err)
	}
	if n = min(len(b), maxBuffered-to.size); to.ended != nil {
		n = len(b) // into the void: who could say so is cut off
	}
	if n <= 0 && len(b) > 0 {
		return 0, c.wake.wait(), c.writeBy, nil
	}
	c.send(chunk{data: append([]byte(nil), b[:n]...)})
	return n, nil, until, nil
}

// Close implements net.Conn. The other end reads what was sent, and then io.EOF.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.ended != nil {
		return fault("close", c.local, net.ErrClosed)
	}
	c.end(io.EOF, net.ErrClosed)
	return nil
}

// CloseWrite sends no more, and still reads.
func (c *conn) CloseWrite() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.ended != nil {
		return fault("close", c.local, c.ended)
	}
	if !c.finished {
		c.finished = true
		c.send(chunk{end: io.EOF})
		c.wake.raise()
	}
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return c.set(func() { c.readBy, c.writeBy = t, t })
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.set(func() { c.readBy = t }) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(func() { c.writeBy = t }) }

func (c *conn) set(change func()) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.ended != nil {
		return fault("set", c.local, c.ended)
	}
	change()
	c.wake.raise()
	return nil
}
