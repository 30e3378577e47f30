package memnet

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	// maxDatagram is, in bytes, what UDP over IPv4 can carry.
	maxDatagram = 65507
	// maxDatagrams is how many wait to be read; more are lost.
	maxDatagrams = 1024
)

// datagram is one on its way.
type datagram struct {
	from Addr
	data []byte
	due  time.Time
}

// socket implements net.PacketConn. Network.mu guards all but what is set once.
type socket struct {
	net  *Network
	host *host
	port string

	in     []datagram
	closed bool
	readBy time.Time
	wake   signal
}

// Packet opens a datagram socket at "name:port"; port 0 picks one. A write never waits:
// what cannot pass, is lost on purpose (SetLoss), finds nobody or finds too many waiting,
// is lost without an error. Addresses are Addr, or anything whose String is the same.
func (n *Network) Packet(name string, port int) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.host(name)
	free, err := h.port(net.JoinHostPort(name, strconv.Itoa(port)), func(p string) bool { return h.sockets[p] != nil })
	if err != nil {
		return nil, err
	}
	s := &socket{net: n, host: h, port: free}
	h.sockets[free] = s
	return s, nil
}

// ReadFrom implements net.PacketConn. What does not fit into b is lost.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		s.net.mu.Lock()
		d, wait, until, err := s.take()
		s.net.mu.Unlock()
		if err != nil {
			return 0, nil, err
		}
		if wait == nil {
			return copy(b, d.data), d.from, nil
		}
		pause(wait, until)
	}
}

// take returns the first datagram that has arrived, or what to wait for.
func (s *socket) take() (d datagram, wait <-chan struct{}, until time.Time, err error) {
	if s.closed {
		return d, nil, until, fault("read", s.host.at(s.port), net.ErrClosed)
	}
	if past(s.readBy) {
		return d, nil, until, fault("read", s.host.at(s.port), os.ErrDeadlineExceeded)
	}
	until = s.readBy
	for i, d := range s.in {
		if d.due.IsZero() || past(d.due) {
			s.in = append(s.in[:i], s.in[i+1:]...)
			return d, nil, until, nil
		}
		until = sooner(until, d.due)
	}
	return d, s.wake.wait(), until, nil
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	at := s.host.at(s.port)
	if s.closed {
		return 0, fault("write", at, net.ErrClosed)
	}
	if len(b) > maxDatagram {
		return 0, fault("write", at, fmt.Errorf("%d bytes: %w", len(b), syscall.EMSGSIZE))
	}
	name, port, err := net.SplitHostPort(to.String())
	if err != nil {
		return 0, fault("write", at, err)
	}
	s.send(b, name, port)
	return len(b), nil
}

func (s *socket) send(b []byte, name, port string) {
	h := s.net.hosts[name]
	if h == nil || s.net.blocked(s.host, h) {
		return
	}
	// Asked for each datagram, so that a seed loses the same ones whoever listens.
	if loss := s.net.link(s.host, h).loss; loss > 0 && s.net.random.Float64() < loss {
		return
	}
	t := h.sockets[port]
	if t == nil || len(t.in) >= maxDatagrams {
		return
	}
	t.in = append(t.in, datagram{from: s.host.at(s.port), data: append([]byte(nil), b...), due: s.net.due(s.host, h)})
	t.wake.raise()
}

// Close implements net.PacketConn.
func (s *socket) Close() error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return fault("close", s.host.at(s.port), net.ErrClosed)
	}
	s.close()
	return nil
}

func (s *socket) close() {
	s.closed, s.in = true, nil
	delete(s.host.sockets, s.port)
	s.wake.raise()
}

// LocalAddr implements net.PacketConn. After Readdress it is the new one.
func (s *socket) LocalAddr() net.Addr {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	return s.host.at(s.port)
}

// SetDeadline implements net.PacketConn.
func (s *socket) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return fault("set", s.host.at(s.port), net.ErrClosed)
	}
	s.readBy = t
	s.wake.raise()
	return nil
}

// SetWriteDeadline implements net.PacketConn: a write never waits.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
