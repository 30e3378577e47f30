package hostops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

const (
	// scrollback is how much a new client is shown of what others were, in bytes.
	scrollback = 16 << 10
	// clientBuffer is how much output waits for one client; one that does not read it is
	// dropped, for the others' sake.
	clientBuffer = 256 << 10
	// typeAhead is how many writes wait for a guest that does not read.
	typeAhead = 64
)

// ErrSlowConsole is what a client reads that did not read for too long.
var ErrSlowConsole = errors.New("console: output was lost, because it was not read: attach again")

// Console attaches to the serial console of a running node. Any number of clients may be
// attached: each gets all output, beginning with the last 16 KiB that others were shown,
// and what each types goes to the guest. Closing the result detaches, and so does the end of
// ctx. Read returns io.EOF once the guest is off, also in the middle of a power cycle:
// attach again when it is on. Errors: state.ErrNotFound, state.ErrBusy,
// state.ErrWrongState when it is off.
func (h *Host) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	c, ok := h.Chassis(uuid)
	if !ok {
		return nil, fmt.Errorf("node %s: %w on this host", uuid, state.ErrNotFound)
	}
	d, err := h.driverOf(c.driverName())
	if err != nil {
		return nil, fmt.Errorf("node %s: console: %w", uuid, err)
	}
	switch c.Status().Power {
	case state.PowerOff:
		return nil, fmt.Errorf("node %s: console while it is off: %w", uuid, state.ErrWrongState)
	case state.PowerOn:
	default:
		return nil, fmt.Errorf("node %s: console: %w: its power state is not known yet", uuid, state.ErrBusy)
	}
	return c.line.attach(ctx, d)
}

// line is the serial line of one node: one attachment to its driver while there are
// clients. It is safe for concurrent use.
type line struct {
	host *Host
	uuid string

	// mu guards what follows, and the fields of attachments and clients that say so; nobody
	// waits while holding it.
	mu sync.Mutex
	// current is the attachment that new clients join; nil: there is none.
	current *attachment
	// seen is the end of all output so far, at most scrollback bytes.
	seen []byte
	// end is the place of the end of seen in all output there ever was. The first place is
	// the time in nanoseconds, so that places of an earlier line are lower.
	end    int64
	closed bool
}

// attachment is one console of the driver's.
type attachment struct {
	line *line
	// ready is closed when console and err are set.
	ready   chan struct{}
	console io.ReadWriteCloser
	err     error
	// typed goes to the guest; ended is closed when the attachment is over, for whoever
	// waits to write.
	typed chan typing
	ended chan struct{}
	// cancel ends the attempt to attach.
	cancel context.CancelFunc

	// The line's mu guards clients and over.
	clients []*consoleClient
	over    bool
}

// typing is what a client sends to the guest: some bytes, or a break.
type typing struct {
	bytes []byte
	brk   bool
}

// breakTime bounds how long a break may take to be sent.
const breakTime = 5 * time.Second

// consoleClient implements io.ReadWriteCloser. One goroutine may read while another writes.
type consoleClient struct {
	attachment *attachment
	// closed is closed when the client has left.
	closed chan struct{}

	// The line's mu guards what follows; news is told of changes.
	news *sync.Cond
	buf  []byte
	// err is what is read after buf; nil: there is more to come.
	err error
	// detach takes back the watch of the client's context.
	detach func() bool
	// position is the place of the first byte that is read.
	position int64
}

// Position returns the place of the first byte that is read in all output of the node:
// who attaches again knows by it what was read before.
func (c *consoleClient) Position() int64 { return c.position }

// attach adds a client, and attaches to the driver if it is the first.
func (l *line) attach(ctx context.Context, d driver.Driver) (*consoleClient, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := l.join(d)
	if err != nil {
		return nil, err
	}
	a := c.attachment
	select {
	case <-a.ready:
		err = a.err
	case <-ctx.Done():
		err = fmt.Errorf("node %s: console: %w: %w", l.uuid, state.ErrBusy, ctx.Err())
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	l.mu.Lock()
	defer l.mu.Unlock()
	c.detach = stop
	return c, nil
}

func (l *line) join(d driver.Driver) (*consoleClient, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("node %s: console: %w: the node is being taken down", l.uuid, state.ErrBusy)
	}
	a := l.current
	if a == nil {
		// It is not the first client's alone.
		ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // it ends with its last client
		a = &attachment{line: l, ready: make(chan struct{}), typed: make(chan typing, typeAhead), ended: make(chan struct{}), cancel: cancel}
		if !l.host.start(func() { a.run(ctx, d) }) {
			cancel()
			return nil, fmt.Errorf("node %s: console: %w: the agent is stopping", l.uuid, state.ErrBusy)
		}
		l.current = a
	}
	c := &consoleClient{attachment: a, closed: make(chan struct{}), news: sync.NewCond(&l.mu), buf: slices.Clone(l.seen), position: l.end - int64(len(l.seen))}
	a.clients = append(a.clients, c)
	return c, nil
}

// close ends all attachments, and takes no more.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	a := l.current
	l.mu.Unlock()
	if a != nil {
		a.end(io.EOF)
	}
}

// run attaches, and hands out what comes until the guest is off or nobody is left.
func (a *attachment) run(ctx context.Context, d driver.Driver) {
	defer a.cancel()
	console, err := d.Console(ctx, a.line.uuid)
	if err != nil {
		a.err = err
		close(a.ready)
		a.end(err)
		return
	}
	a.console = console
	close(a.ready)
	// Ends when the console is closed, which is when ended is.
	stop := context.AfterFunc(ctx, func() { _ = console.Close() })
	defer stop()
	writing := make(chan struct{})
	go func() { // waited for below
		defer close(writing)
		a.write()
	}()
	buf := make([]byte, 16<<10)
	for err == nil {
		var n int
		n, err = console.Read(buf)
		a.show(buf[:n])
	}
	a.end(io.EOF) // whatever ended it, the console is gone
	_ = console.Close()
	<-writing
}

// write takes what clients type to the guest.
func (a *attachment) write() {
	for {
		select {
		case <-a.ended:
			return
		case t := <-a.typed:
			if t.brk {
				a.sendBreak()
			} else if _, err := a.console.Write(t.bytes); err != nil {
				a.end(io.EOF)
				return
			}
		}
	}
}

func (a *attachment) sendBreak() {
	ctx, cancel := context.WithTimeout(context.Background(), breakTime) //nolint:forbidigo // who asked for it may have gone
	defer cancel()
	err := state.ErrUnsupported
	if b, able := a.console.(driver.Breaker); able {
		err = b.SendBreak(ctx)
	}
	if err != nil {
		a.line.host.log.WarnContext(ctx, "console: break not sent", "node", a.line.uuid, "err", err)
	}
}

// show gives every client what the guest sent.
func (a *attachment) show(b []byte) {
	l := a.line
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, b...)
	l.end += int64(len(b))
	if over := len(l.seen) - scrollback; over > 0 {
		l.seen = slices.Clone(l.seen[over:]) // what is before does not stay in memory
	}
	for _, c := range a.clients {
		if len(c.buf)+len(b) > clientBuffer {
			c.err = ErrSlowConsole
		} else {
			c.buf = append(c.buf, b...)
		}
		c.news.Broadcast()
	}
	a.clients = slices.DeleteFunc(a.clients, func(c *consoleClient) bool { return c.err != nil })
	if len(a.clients) == 0 {
		a.finish()
	}
}

// end gives every client what is read after the output, and lets go of the driver.
func (a *attachment) end(err error) {
	a.line.mu.Lock()
	defer a.line.mu.Unlock()
	for _, c := range a.clients {
		c.err = err
		c.news.Broadcast()
	}
	a.clients = nil
	a.finish()
}

// finish lets go of the driver; the line's mu is held.
func (a *attachment) finish() {
	if a.over {
		return
	}
	a.over = true
	if a.line.current == a {
		a.line.current = nil
	}
	close(a.ended)
	a.cancel()
}

// Read implements io.Reader.
func (c *consoleClient) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	mu := &c.attachment.line.mu
	mu.Lock()
	defer mu.Unlock()
	for len(c.buf) == 0 && c.err == nil {
		c.news.Wait()
	}
	if len(c.buf) == 0 {
		return 0, c.err
	}
	n := copy(b, c.buf)
	c.buf = c.buf[n:]
	return n, nil
}

// Write implements io.Writer. It returns when the guest is next to read it, not when it
// has.
func (c *consoleClient) Write(b []byte) (int, error) {
	if err := c.send(typing{bytes: slices.Clone(b)}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SendBreak sends a break, after what was written. It returns when the guest is next to get
// it. state.ErrUnsupported: the driver cannot.
func (c *consoleClient) SendBreak(context.Context) error {
	if _, able := c.attachment.console.(driver.Breaker); !able {
		return fmt.Errorf("node %s: console: break: %w", c.attachment.line.uuid, state.ErrUnsupported)
	}
	return c.send(typing{brk: true})
}

func (c *consoleClient) send(t typing) error {
	select { // a closed one takes nothing, even where there is room
	case <-c.closed:
		return io.ErrClosedPipe
	case <-c.attachment.ended:
		return io.ErrClosedPipe
	default:
	}
	if len(t.bytes) == 0 && !t.brk {
		return nil
	}
	select {
	case <-c.closed:
	case <-c.attachment.ended:
	case c.attachment.typed <- t:
		return nil
	}
	return io.ErrClosedPipe
}

// Close detaches; it may be repeated.
func (c *consoleClient) Close() error {
	a := c.attachment
	a.line.mu.Lock()
	defer a.line.mu.Unlock()
	select {
	case <-c.closed:
		return nil
	default:
	}
	close(c.closed)
	if c.detach != nil {
		c.detach()
	}
	c.buf = nil
	if c.err == nil || c.err == ErrSlowConsole { //nolint:errorlint // it is set here only
		c.err = io.EOF
	}
	c.news.Broadcast()
	a.clients = slices.DeleteFunc(a.clients, func(o *consoleClient) bool { return o == c })
	if len(a.clients) == 0 {
		a.finish()
	}
	return nil
}
