// Package gossiptest has a network in memory, whose packets get lost and whose hosts
// can be parted, for tests of gossip with many peers.
package gossiptest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// queue is how many packets wait at a host; further ones are lost, as in a kernel. Of
// connections that nobody has accepted yet, it is a backlog.
const queue, backlog = 4096, 128

// Network connects hosts. The zero value is one without loss. It is safe for
// concurrent use.
type Network struct {
	mu sync.Mutex // serialises changes of now
	// now is replaced, never changed: each packet looks at it.
	now atomic.Pointer[plan]
}

// plan is how a network is.
type plan struct {
	hosts map[netip.AddrPort]*Host
	// sides has the part of the network that a host is in; absent: the first.
	sides map[netip.AddrPort]int
	loss  float64
}

// change replaces the plan by a copy that f changed.
func (n *Network) change(f func(*plan)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.plan()
	next.hosts = maps.Clone(next.hosts)
	f(&next)
	n.now.Store(&next)
}

func (n *Network) plan() plan {
	if p := n.now.Load(); p != nil {
		return *p
	}
	return plan{hosts: map[netip.AddrPort]*Host{}}
}

// Host is one address of a network. Its three fields are what gossip.Transport has.
type Host struct {
	Packets net.PacketConn
	Streams net.Listener
	Dial    func(ctx context.Context, address string) (net.Conn, error)

	at      netip.AddrPort
	packets chan packet
	streams chan net.Conn
	// done is closed with the host, which leaves the network.
	done  chan struct{}
	close func()
	mu    sync.Mutex // nobody connects while the host leaves
}

type packet struct {
	data []byte
	from netip.AddrPort
}

// Listen adds a host at an IP address and port. Error: the address is in use.
func (n *Network) Listen(address string) (*Host, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	h := &Host{at: at, packets: make(chan packet, queue), streams: make(chan net.Conn, backlog), done: make(chan struct{})}
	h.close = sync.OnceFunc(func() { n.remove(h) })
	h.Packets, h.Streams = packetConn{h, n}, listener{h}
	h.Dial = func(ctx context.Context, address string) (net.Conn, error) { return n.dial(ctx, h, address) }
	n.change(func(p *plan) {
		if p.hosts[at] != nil {
			err = fmt.Errorf("listen %s: %w", at, syscall.EADDRINUSE)
			return
		}
		p.hosts[at] = h
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (n *Network) remove(h *Host) {
	n.change(func(p *plan) { delete(p.hosts, h.at) })
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.done)
	for {
		select {
		case c := <-h.streams:
			_ = c.Close()
		default:
			return
		}
	}
}

// SetLoss loses that part of all packets from now on: 0 none, 1 all. Connections are
// not affected.
func (n *Network) SetLoss(part float64) { n.change(func(p *plan) { p.loss = part }) }

// Part cuts hosts off from all that are not among them. New connections to the other
// side hang, as they do when a cable is cut.
func (n *Network) Part(addresses ...string) {
	sides := map[netip.AddrPort]int{}
	for _, a := range addresses {
		sides[netip.MustParseAddrPort(a)] = 1
	}
	n.change(func(p *plan) { p.sides = sides })
}

// Heal undoes Part.
func (n *Network) Heal() { n.Part() }

// connected says whether the cable is whole.
func (p plan) connected(from *Host, to netip.AddrPort) bool { return p.sides[from.at] == p.sides[to] }

func (p plan) lost() bool { return p.loss > 0 && rand.Float64() < p.loss }

func (n *Network) dial(ctx context.Context, from *Host, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	p := n.plan()
	if !p.connected(from, to) {
		<-ctx.Done()
		return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
	}
	h := p.hosts[to]
	if h == nil {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	here, there := net.Pipe()
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.done:
	case h.streams <- stream{there, from.at}:
		return stream{here, to}, nil
	default: // the backlog is full
	}
	return nil, errors.Join(fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED), here.Close(), there.Close())
}

// stream is a connection that knows its other end's address.
type stream struct {
	net.Conn
	remote netip.AddrPort
}

// RemoteAddr implements net.Conn.
func (s stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

type listener struct{ h *Host }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.h.streams:
		return c, nil
	case <-l.h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It closes the whole host.
func (l listener) Close() error {
	l.h.close()
	return nil
}

// Addr implements net.Listener.
func (l listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.h.at) }

type packetConn struct {
	h *Host
	n *Network
}

// ReadFrom implements net.PacketConn.
func (p packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case in := <-p.h.packets:
		return copy(b, in.data), net.UDPAddrFromAddrPort(in.from), nil
	case <-p.h.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo implements net.PacketConn. What does not arrive is no error.
func (p packetConn) WriteTo(b []byte, address net.Addr) (int, error) {
	select {
	case <-p.h.done:
		return 0, net.ErrClosed
	default:
	}
	to, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	now := p.n.plan()
	if h := now.hosts[to]; h != nil && now.connected(p.h, to) && !now.lost() {
		select {
		case h.packets <- packet{append([]byte(nil), b...), p.h.at}:
		default: // its queue is full
		}
	}
	return len(b), nil
}

// Close implements net.PacketConn. It closes the whole host.
func (p packetConn) Close() error {
	p.h.close()
	return nil
}

// LocalAddr implements net.PacketConn.
func (p packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.h.at) }

// SetDeadline implements net.PacketConn, and is not supported.
func (packetConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.PacketConn, and is not supported.
func (packetConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.PacketConn, and is not supported.
func (packetConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
