package memnet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// firstPort is the first that port 0 picks: where Linux begins, too.
const firstPort = 32768

// maxBacklog is how many connections wait for Accept; a dial waits for room.
const maxBacklog = 128

// Addr is an address in a Network, "name:port".
type Addr string

// Network implements net.Addr.
func (Addr) Network() string { return "mem" }

// String implements net.Addr.
func (a Addr) String() string { return string(a) }

// fault is err of an operation, as the net package has it.
func fault(op string, at Addr, err error) error {
	return &net.OpError{Op: op, Net: at.Network(), Addr: at, Err: err}
}

// host is a place in the network. Network.mu guards it.
type host struct {
	net       *Network
	name      string
	isolated  bool
	listeners map[string]*listener // by port
	sockets   map[string]*socket   // by port
	next      int                  // port to try
}

// at is an address of h.
func (h *host) at(port string) Addr { return Addr(net.JoinHostPort(h.name, port)) }

// port checks what a listener asks for; taken says whether a port is in use.
func (h *host) port(address string, taken func(string) bool) (string, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if name != "" && name != h.name {
		return "", fault("listen", Addr(address), syscall.EADDRNOTAVAIL)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("port %q: %w", port, err)
	} else if number == 0 {
		port = h.free(taken)
	}
	if taken(port) {
		return "", fault("listen", Addr(address), syscall.EADDRINUSE)
	}
	return port, nil
}

// free picks a port that is not taken.
func (h *host) free(taken func(string) bool) string {
	for {
		port := strconv.Itoa(h.next)
		if h.next++; h.next > 65535 {
			h.next = firstPort
		}
		if !taken(port) {
			return port
		}
	}
}

// breakConns ends the connections of h at both ends.
func (h *host) breakConns(n *Network) {
	for c := range n.conns {
		if c.host == h {
			c.end(syscall.ECONNRESET, net.ErrClosed)
		}
	}
}

// Listen implements transport.Net.
func (h *host) Listen(ctx context.Context, address string) (net.Listener, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.port(address, func(p string) bool { return h.listeners[p] != nil })
	if err != nil {
		return nil, err
	}
	l := &listener{host: h, port: port}
	h.listeners[port] = l
	h.net.changed.raise()
	return l, nil
}

// Dial implements transport.Net. Where nothing listens, the connection is refused; where
// nothing passes, Dial waits until it does, or ctx ends. An unknown host has no route.
func (h *host) Dial(ctx context.Context, address string) (net.Conn, error) {
	if err := h.travel(ctx, address); err != nil {
		return nil, err
	}
	for {
		h.net.mu.Lock()
		c, wait, err := h.connect(address)
		h.net.mu.Unlock()
		if err != nil {
			return nil, fault("dial", Addr(address), err)
		}
		if c != nil {
			return c, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fault("dial", Addr(address), ctx.Err())
		}
	}
}

// travel waits for as long as the way there and back takes.
func (h *host) travel(ctx context.Context, address string) error {
	h.net.mu.Lock()
	to, _, err := h.target(address)
	var delay time.Duration
	if err == nil {
		delay = h.net.link(h, to).delay + h.net.link(to, h).delay
	}
	h.net.mu.Unlock()
	if err == nil && delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fault("dial", Addr(address), err)
	}
	return nil
}

// target splits an address that is dialed.
func (h *host) target(address string) (to *host, port string, err error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	if name == "" {
		return h, port, nil
	}
	if to = h.net.hosts[name]; to == nil {
		return nil, "", syscall.EHOSTUNREACH
	}
	return to, port, nil
}

// connect makes a connection, or returns what to wait for.
func (h *host) connect(address string) (*conn, <-chan struct{}, error) {
	n := h.net
	to, port, err := h.target(address)
	if err != nil {
		return nil, nil, err
	}
	if n.blocked(h, to) || n.blocked(to, h) {
		return nil, n.changed.wait(), nil
	}
	l := to.listeners[port]
	if l == nil {
		return nil, nil, syscall.ECONNREFUSED
	}
	if len(l.backlog) >= maxBacklog {
		return nil, n.changed.wait(), nil
	}
	local := h.at(h.free(func(string) bool { return false }))
	near := &conn{net: n, host: h, local: local, remote: to.at(port)}
	far := &conn{net: n, host: to, local: near.remote, remote: local, peer: near}
	near.peer = far
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	l.backlog = append(l.backlog, far)
	l.wake.raise()
	return near, nil, nil
}

// listener implements net.Listener. Network.mu guards it.
type listener struct {
	host    *host
	port    string
	backlog []*conn // who came first is first
	closed  bool
	wake    signal
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.host.net.mu.Lock()
		c, wait, err := l.accept()
		l.host.net.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if c != nil {
			return c, nil
		}
		<-wait
	}
}

func (l *listener) accept() (*conn, <-chan struct{}, error) {
	if l.closed {
		return nil, nil, fault("accept", l.host.at(l.port), net.ErrClosed)
	}
	if len(l.backlog) == 0 {
		return nil, l.wake.wait(), nil
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	l.host.net.changed.raise()
	return c, nil, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return fault("close", l.host.at(l.port), net.ErrClosed)
	}
	l.close()
	return nil
}

func (l *listener) close() {
	l.closed = true
	delete(l.host.listeners, l.port)
	for _, c := range l.backlog {
		c.end(syscall.ECONNRESET, net.ErrClosed)
	}
	l.backlog = nil
	l.wake.raise()
	l.host.net.changed.raise()
}

// Addr implements net.Listener. After Readdress it is the new one.
func (l *listener) Addr() net.Addr {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	return l.host.at(l.port)
}
