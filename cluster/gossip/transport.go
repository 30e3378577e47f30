package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// What the sockets get: bytes of the kernel's buffer, which may be less, and how often
// a port is looked for that is free for both.
const (
	receiveBuffer = 2 << 20
	maxPacket     = 64 << 10
	portTries     = 10
	acceptPause   = 50 * time.Millisecond
)

// resolveTime bounds looking up the host of Advertise.
const resolveTime = 5 * time.Second

// Transport is what gossip runs on: all of it or nothing is set. Open takes it over
// and Close closes it. Packets and Streams have the same address.
type Transport struct {
	Packets net.PacketConn
	Streams net.Listener
	// Dial connects to the Streams of another peer.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// transport implements memberlist.NodeAwareTransport. Unlike memberlist's own, its end
// ends every connection, so that Close can wait.
type transport struct {
	Transport
	run       context.Context //nolint:containedctx // the Gossip's: memberlist's calls have none
	stop      context.CancelFunc
	advertise netip.AddrPort
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	// work are the two that listen.
	work sync.WaitGroup

	// mu guards what follows. idle is closed when it is closed and has no connections.
	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	idle   chan struct{}
}

func openTransport(run context.Context, c Config) (*transport, error) {
	t := &transport{Transport: c.Transport, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		conns: map[*conn]struct{}{}, idle: make(chan struct{})}
	t.run, t.stop = context.WithCancel(run)
	if t.Packets == nil {
		var err error
		if t.Transport, err = listen(run, c.Bind); err != nil {
			t.stop()
			return nil, err
		}
	}
	var err error
	if t.advertise, err = advertised(run, c.Advertise, t.Streams.Addr().String()); err != nil {
		t.stop()
		return nil, errors.Join(err, t.Packets.Close(), t.Streams.Close())
	}
	t.work.Go(t.readPackets) // these end when the sockets are closed
	t.work.Go(t.accept)
	return t, nil
}

// listen takes a port for TCP and the same for UDP.
func listen(ctx context.Context, bind string) (Transport, error) {
	var lc net.ListenConfig
	var err error
	for range portTries {
		var streams net.Listener
		if streams, err = lc.Listen(ctx, "tcp", bind); err != nil {
			return Transport{}, err
		}
		var packets net.PacketConn
		if packets, err = lc.ListenPacket(ctx, "udp", streams.Addr().String()); err == nil {
			if u, ok := packets.(*net.UDPConn); ok {
				_ = u.SetReadBuffer(receiveBuffer) // the kernel gives what it may
			}
			return Transport{packets, streams, dialTCP}, nil
		}
		_ = streams.Close()
		if _, port, _ := net.SplitHostPort(bind); port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return Transport{}, err
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// advertised is the address that others get. bound is where this peer listens.
func advertised(ctx context.Context, advertise, bound string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(bound)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("bound address: %w", err)
	}
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	switch {
	case advertise != "":
		ctx, cancel := context.WithTimeout(ctx, resolveTime)
		defer cancel()
		found, err := resolve(ctx, advertise, at.Port())
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("advertise %q: %w", advertise, err)
		}
		return found[0], nil
	case at.Addr().IsUnspecified():
		ip, err := hostAddress()
		return netip.AddrPortFrom(ip, at.Port()), err
	default:
		return at, nil
	}
}

// hostAddress is an address of this host that others may reach: private ones and IPv4
// first.
func hostAddress() (netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("addresses of this host: %w", err)
	}
	var best netip.Addr
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if ip := p.Addr().Unmap(); err == nil && ip.IsGlobalUnicast() && better(ip, best) {
			best = ip
		}
	}
	if !best.IsValid() {
		return netip.Addr{}, errors.New("this host has no address to advertise")
	}
	return best, nil
}

func better(ip, best netip.Addr) bool {
	rank := func(a netip.Addr) int {
		n := 0
		if a.Is4() {
			n += 2
		}
		if a.IsPrivate() {
			n++
		}
		return n
	}
	return !best.IsValid() || rank(ip) > rank(best)
}

func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.Packets.ReadFrom(buf)
		switch {
		case errors.Is(err, net.ErrClosed), t.run.Err() != nil:
			return
		case err != nil || n == 0:
			continue // an ICMP answer to a packet of ours, for example
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.run.Done():
			return
		}
	}
}

func (t *transport) accept() {
	for {
		raw, err := t.Streams.Accept()
		switch {
		case errors.Is(err, net.ErrClosed), t.run.Err() != nil:
			if raw != nil {
				_ = raw.Close()
			}
			return
		case err != nil: // too many open files, for example
			select {
			case <-time.After(acceptPause):
				continue
			case <-t.run.Done():
				return
			}
		}
		c, err := t.track(raw)
		if err != nil {
			return
		}
		select {
		case t.streams <- c:
		case <-t.run.Done():
			_ = c.Close()
			return
		}
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("address %q: %w", address, err)
	}
	_, err = t.Packets.WriteTo(b, net.UDPAddrFromAddrPort(at))
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(address string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.run, limit)
	defer cancel()
	raw, err := t.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c, err := t.track(raw)
	if err != nil {
		return nil, err
	}
	// memberlist writes its first bytes before it sets a deadline of its own.
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil { // the other end may be gone already
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, limit time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, limit)
}

// Shutdown implements memberlist.Transport. It waits until memberlist let go of every
// connection. It may be repeated.
func (t *transport) Shutdown() error {
	t.stop()
	err := errors.Join(t.Packets.Close(), t.Streams.Close())
	t.work.Wait()
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		for c := range t.conns {
			_ = c.Conn.Close() // who uses it gets an error, and closes it
		}
		if len(t.conns) == 0 {
			close(t.idle)
		}
	}
	t.mu.Unlock()
	<-t.idle
	return err
}

// conn is a connection that is counted until memberlist closes it.
type conn struct {
	net.Conn
	t *transport
}

// track counts a connection; if t is closed, it is closed, too.
func (t *transport) track(raw net.Conn) (*conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errors.Join(net.ErrClosed, raw.Close())
	}
	c := &conn{raw, t}
	t.conns[c] = struct{}{}
	return c, nil
}

// Write closes the connection if it fails: memberlist forgets one whose first bytes it
// could not write.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// Close may be repeated.
func (c *conn) Close() error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if _, ok := c.t.conns[c]; ok {
		delete(c.t.conns, c)
		if c.t.closed && len(c.t.conns) == 0 {
			close(c.t.idle)
		}
	}
	return c.Conn.Close()
}
