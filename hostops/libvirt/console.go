//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	lv "libvirt.org/go/libvirt"

	"tenks/raftfsm/state"
)

const (
	// consoleBuffer is how much output waits for a reader; then libvirt has to.
	consoleBuffer = 256 << 10
	// sendRetry is when a full stream is tried again.
	sendRetry = 10 * time.Millisecond
)

// Console implements driver.Driver. Who else is attached is thrown out, as with
// ipmitool's sol activate on many BMCs.
func (d *Driver) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	return call(ctx, d.conns, func(ctx context.Context, s *session) (io.ReadWriteCloser, error) {
		f, err := d.find(s, uuid)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return nil, fmt.Errorf("libvirt: node %s: %w", uuid, state.ErrNotFound)
		}
		defer f.free()
		if !f.running {
			return nil, fmt.Errorf("node %s: console while it is off: %w", f.def.Name, state.ErrWrongState)
		}
		c, err := d.attach(s, f)
		if err != nil {
			return nil, fmt.Errorf("domain %s: console: %w", f.def.Name, err)
		}
		if ctx.Err() != nil { // nobody waits for it any longer
			return nil, errors.Join(hung(ctx), c.Close())
		}
		return c, nil
	})
}

func (d *Driver) attach(s *session, f *found) (*console, error) {
	stream, err := s.conn.NewStream(lv.STREAM_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := f.dom.OpenConsole("", stream, lv.DOMAIN_CONSOLE_FORCE); err != nil {
		return nil, errors.Join(err, stream.Free())
	}
	c := &console{stream: stream, closed: make(chan struct{}), news: sync.NewCond(&sync.Mutex{})}
	err = stream.EventAddCallback(lv.STREAM_EVENT_READABLE|lv.STREAM_EVENT_HANGUP|lv.STREAM_EVENT_ERROR,
		func(_ *lv.Stream, _ lv.StreamEventType) { c.receive() })
	if err != nil {
		return nil, errors.Join(err, stream.Abort(), stream.Free())
	}
	c.breaks = func(ctx context.Context) error { return d.sendBreak(ctx, f.def.UUID) }
	d.conns.hold(s)
	c.leave = func() {
		end := func() {
			// The stream may have ended before.
			_ = stream.EventRemoveCallback()
			_ = stream.Abort()
			_ = stream.Free()
			d.conns.release(s)
		}
		if !d.conns.start(end) { // libvirtd may hang: the caller need not wait
			end()
		}
	}
	return c, nil
}

// console is the serial console of a guest. One goroutine may read while another
// writes.
type console struct {
	stream *lv.Stream
	leave  func()
	// breaks sends a break.
	breaks func(ctx context.Context) error
	once   sync.Once
	closed chan struct{}

	// news tells of a change of what follows, which its lock guards.
	news   *sync.Cond
	buf    []byte
	ended  bool
	paused bool
}

// receive is called from libvirt's event loop, which must not be held up.
func (c *console) receive() {
	c.news.L.Lock()
	defer c.news.L.Unlock()
	defer c.news.Broadcast()
	chunk := make([]byte, 16<<10)
	for !c.ended {
		if len(c.buf) >= consoleBuffer {
			c.paused = true
			_ = c.stream.EventUpdateCallback(lv.STREAM_EVENT_HANGUP | lv.STREAM_EVENT_ERROR) // the buffer is bounded all the same
			return
		}
		n, err := c.stream.Recv(chunk)
		if err != nil {
			c.ended = true
			_ = c.stream.EventUpdateCallback(0) // it would be told of the end for ever
			return
		}
		if n <= 0 { // nothing there
			return
		}
		c.buf = append(c.buf, chunk[:n]...)
	}
}

// Read implements io.Reader.
func (c *console) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.news.L.Lock()
	defer c.news.L.Unlock()
	for len(c.buf) == 0 && !c.ended {
		c.news.Wait()
	}
	if len(c.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.buf)
	c.buf = c.buf[n:]
	if c.paused && len(c.buf) < consoleBuffer/2 && !c.ended {
		c.paused = false
		if err := c.stream.EventUpdateCallback(lv.STREAM_EVENT_READABLE | lv.STREAM_EVENT_HANGUP | lv.STREAM_EVENT_ERROR); err != nil {
			c.ended = true
		}
	}
	return n, nil
}

// Write implements io.Writer.
func (c *console) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		select {
		case <-c.closed:
			return sent, io.ErrClosedPipe
		default:
		}
		n, err := c.send(b[sent:])
		if err != nil {
			return sent, err
		}
		if n > 0 {
			sent += n
			continue
		}
		timer := time.NewTimer(sendRetry)
		select {
		case <-c.closed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return sent, nil
}

// send is not made at the same time as the stream's end.
func (c *console) send(b []byte) (int, error) {
	c.news.L.Lock()
	defer c.news.L.Unlock()
	if c.ended {
		return 0, io.ErrClosedPipe
	}
	n, err := c.stream.Send(b[:min(len(b), 4096)])
	if err != nil {
		return 0, fmt.Errorf("console: write: %w", err)
	}
	return n, nil
}

// SendBreak implements driver.Breaker.
func (c *console) SendBreak(ctx context.Context) error {
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	default:
		return c.breaks(ctx)
	}
}

// Close detaches; it may be repeated.
func (c *console) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.news.L.Lock()
		c.ended = true
		c.news.Broadcast()
		c.news.L.Unlock()
		c.leave()
	})
	return nil
}
