//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	lv "libvirt.org/go/libvirt"

	"tenks/raftfsm/state"
)

const (
	// callTimeout bounds a call whose caller set no deadline.
	callTimeout = 30 * time.Second
	// maxCalls bounds the calls at a time, and so the goroutines that a libvirtd which
	// hangs can hold. Each also holds a thread.
	maxCalls = 64
	// A connection that does not answer keepaliveCount questions, one every
	// keepaliveSeconds, is given up; what waits for it ends then.
	keepaliveSeconds = 5
	keepaliveCount   = 3
)

// eventLoop starts the event loop. libvirt has one per process, which cannot be
// stopped; without it there are neither events nor keepalive.
var eventLoop = sync.OnceValue(func() error {
	l, err := newLoop()
	if err != nil {
		return err
	}
	if err := lv.EventRegisterImpl(l); err != nil {
		return err
	}
	go func() { // ends with the process
		for {
			if l.turn() != nil {
				<-time.After(time.Second) // what it lacks now, such as memory, it may have then
			}
		}
	}()
	return nil
})

// session is one connection.
type session struct {
	conn *lv.Connect
	// lost is closed when the connection is.
	lost chan struct{}
	fan  fan

	// users and retired are guarded by connector.mu: the connection is closed once it
	// is retired and nobody uses it.
	users   int
	retired bool
}

func (s *session) alive() bool {
	select {
	case <-s.lost:
		return false
	default:
	}
	ok, err := s.conn.IsAlive()
	return err == nil && ok
}

// connector makes connections and calls. It is safe for concurrent use.
type connector struct {
	uri string
	// slots bounds calls.
	slots chan struct{}
	work  sync.WaitGroup

	// dialing is held while a connection is made.
	dialing sync.Mutex
	// mu guards what follows; nothing is called while it is held.
	mu      sync.Mutex
	current *session
	closed  bool
}

func newConnector(uri string) *connector {
	return &connector{uri: uri, slots: make(chan struct{}, maxCalls)}
}

// close ends the connection and waits for calls.
func (c *connector) close() {
	c.mu.Lock()
	c.closed = true
	s := c.current
	c.mu.Unlock()
	c.work.Wait()
	if s != nil {
		c.retire(s)
	}
}

// start runs do in a goroutine that close waits for; it reports whether it did.
func (c *connector) start(do func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Go(do)
	}
	return !c.closed
}

// acquire returns a connection that lives, to be released.
func (c *connector) acquire() (*session, error) {
	if s := c.take(); s != nil {
		if s.alive() {
			return s, nil
		}
		c.release(s)
	}
	c.dialing.Lock()
	defer c.dialing.Unlock()
	if s := c.take(); s != nil {
		if s.alive() {
			return s, nil
		}
		c.retire(s)
		c.release(s)
	}
	s, err := dial(c.uri)
	if err != nil {
		return nil, err
	}
	s.users = 1
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = s
	return s, nil
}

func (c *connector) take() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		c.current.users++
	}
	return c.current
}

// hold makes a connection stay open until one more release.
func (c *connector) hold(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users++
}

func (c *connector) release(s *session) {
	c.mu.Lock()
	s.users--
	last := s.retired && s.users == 0
	c.mu.Unlock()
	if last {
		hangUp(s)
	}
}

// retire makes a connection the last one's to close.
func (c *connector) retire(s *session) {
	c.mu.Lock()
	if c.current == s {
		c.current = nil
	}
	last := !s.retired && s.users == 0
	s.retired = true
	c.mu.Unlock()
	if last {
		hangUp(s)
	}
}

func hangUp(s *session) {
	// What cannot be closed in order is closed all the same.
	_ = s.conn.UnregisterCloseCallback()
	_, _ = s.conn.Close()
}

func dial(uri string) (*session, error) {
	if err := eventLoop(); err != nil {
		return nil, libraryError(err)
	}
	conn, err := lv.NewConnect(uri)
	if err != nil {
		return nil, dialError(uri, err)
	}
	s := &session{conn: conn, lost: make(chan struct{})}
	var once sync.Once
	err = conn.RegisterCloseCallback(func(*lv.Connect, lv.ConnectCloseReason) { once.Do(func() { close(s.lost) }) })
	if err == nil {
		err = conn.SetKeepAlive(keepaliveSeconds, keepaliveCount)
	}
	if err != nil {
		_, _ = conn.Close()
		return nil, dialError(uri, err)
	}
	return s, nil
}

func libraryError(err error) error {
	return fmt.Errorf("libvirt: libvirt.so.0 cannot be used: install libvirt0 (Debian, SUSE: libvirt-libs) or libvirt-libs (Fedora): %s", message(err))
}

func dialError(uri string, err error) error {
	text := message(err)
	if strings.Contains(text, "libvirt.so.0") {
		return libraryError(err)
	}
	return fmt.Errorf("libvirt: connect to %s: %s: is libvirtd running? %w", uri, text, state.ErrBusy)
}

// message is what libvirt says, without its numbers.
func message(err error) string {
	var e lv.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// call runs do with a connection. It returns when ctx ends, even if libvirtd hangs:
// then the error wraps state.ErrBusy, and do goes on until libvirt gives up; its
// result is dropped. A connection that was lost on the way is a busy driver, too.
func call[T any](ctx context.Context, c *connector, do func(ctx context.Context, s *session) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := bounded(ctx)
	done := make(chan result, 1)
	var zero T
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return zero, hung(ctx)
	}
	started := c.start(func() { // ends when libvirt answers, or gives the connection up
		defer func() { <-c.slots; cancel() }()
		v, err := withSession(ctx, c, do)
		done <- result{v, err}
	})
	if !started {
		<-c.slots
		cancel()
		return zero, fmt.Errorf("libvirt: closed: %w", state.ErrBusy)
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	select { // what was done in time counts
	case r := <-done:
		return r.value, r.err
	default:
		return zero, hung(ctx)
	}
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callTimeout)
}

func hung(ctx context.Context) error {
	return fmt.Errorf("libvirt: no answer in time: %w: %w", state.ErrBusy, ctx.Err())
}

func withSession[T any](ctx context.Context, c *connector, do func(ctx context.Context, s *session) (T, error)) (T, error) {
	var zero T
	s, err := c.acquire()
	if err != nil {
		return zero, err
	}
	defer c.release(s)
	if ctx.Err() != nil {
		return zero, hung(ctx)
	}
	v, err := do(ctx, s)
	switch {
	case err == nil || errors.Is(err, state.ErrBusy):
	case !s.alive():
		c.retire(s)
		err = fmt.Errorf("libvirt: connection to %s lost: %w: %w", c.uri, state.ErrBusy, err)
	case ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", hung(ctx), err)
	}
	return v, err
}
