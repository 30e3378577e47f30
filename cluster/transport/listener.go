package transport

import (
	"net"
	"sync"
)

// maxQueued bounds the connections that wait for Accept, per protocol. Whoever accepts
// does so at once; 256 is a burst of callers while it is not scheduled. One more is
// closed: its handshake is over, so to wait would only hide that nobody takes it.
const maxQueued = 256

// queue is the listener of one protocol.
type queue struct {
	transport *Transport
	protocol  string
	conns     chan *Conn
	done      chan struct{}
	once      sync.Once
}

// Listener returns the accepted connections of a protocol, each a *Conn. A protocol that
// nobody has asked a listener for is refused in the handshake, and again after its
// listener was closed. Asking again returns the same listener until it is closed. After
// Close, of it or of the Transport, Accept returns net.ErrClosed.
func (t *Transport) Listener(protocol string) net.Listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q := t.queues[protocol]; q != nil {
		return q
	}
	q := &queue{transport: t, protocol: protocol, conns: make(chan *Conn, maxQueued), done: make(chan struct{})}
	if t.closed {
		q.once.Do(func() { close(q.done) })
		return q
	}
	t.queues[protocol] = q
	return q
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case <-q.done:
		return nil, q.ended()
	default:
	}
	select {
	case <-q.done:
		return nil, q.ended()
	case c := <-q.conns:
		return c, nil
	}
}

func (q *queue) ended() error {
	return &net.OpError{Op: "accept", Net: q.protocol, Addr: q.Addr(), Err: net.ErrClosed}
}

// Addr implements net.Listener: the one address of the transport.
func (q *queue) Addr() net.Addr { return q.transport.listener.Addr() }

// Close implements net.Listener. Connections that nobody has accepted are closed.
func (q *queue) Close() error {
	q.once.Do(func() {
		q.transport.mu.Lock()
		delete(q.transport.queues, q.protocol) // nobody adds to conns any more
		q.transport.mu.Unlock()
		close(q.done)
		for {
			select {
			case c := <-q.conns:
				q.transport.forget(c)
				shut(c.raw)
			default:
				return
			}
		}
	})
	return nil
}

// deliver hands c to who accepts its protocol. It reports why it could not, or "".
func (t *Transport) deliver(c *Conn) Reason {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[c.protocol]
	if q == nil {
		return ReasonProtocol
	}
	select {
	case q.conns <- c:
		return ""
	default:
		return ReasonQueueFull
	}
}
