// Package transport is how peers reach each other: one TCP port and one dialer, TLS 1.3
// with certificates on both sides, the protocol chosen by ALPN. Who a certificate
// belongs to is the owner's to say (Config.Verify). Open listens and starts accepting;
// Close stops and waits.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The protocols, as ALPN names them (RFC 7301).
const (
	// Raft is the voters' and standbys' log.
	Raft = "tenks-raft/1"
	// API is the HTTP API: plain HTTP/1.1 inside TLS.
	API = "http/1.1"
	// Join is for hosts that are no peers yet. A caller needs no certificate; one that
	// it shows is verified like any other.
	Join = "tenks-join/1"
	// Bootstrap is for hosts that have no Tenks yet, and only curl: HTTP/1.1 for callers
	// that show no certificate. It is never agreed on by name: a caller that names
	// API and shows no certificate gets it, if somebody listens for it.
	Bootstrap = "tenks-bootstrap"
	// Feed is a peer's stream of its part of the state.
	Feed = "tenks-feed/1"
	// RPC is calls between peers.
	RPC = "tenks-rpc/1"
)

// defaultTimeout bounds a handshake unless Config says otherwise.
const defaultTimeout = 10 * time.Second

var (
	// ErrUnknownPeer means that no address is known for the peer.
	ErrUnknownPeer = errors.New("no address is known")
	// ErrWrongPeer means that another peer than the one that was dialed answers at
	// its address.
	ErrWrongPeer = errors.New("another peer answers")
	// ErrRefused means that the other end refused this connection: our certificate
	// (it was removed, or has expired), or the protocol. TLS 1.3 tells a caller so
	// only after its own handshake: it comes from Dial or from the first Read.
	ErrRefused = errors.New("refused by the other end")
	// ErrCut means that Raft connections are refused here until Mend.
	ErrCut = errors.New("raft is cut off")
)

// A Net is the network that a Transport uses. Its methods are called concurrently.
type Net interface {
	// Listen listens at host:port; port 0 picks a free one. What Accept returns need
	// not know of deadlines for it, but its connections must.
	Listen(ctx context.Context, address string) (net.Listener, error)
	// Dial connects to host:port and gives up when ctx ends.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// Config of a Transport. Its functions are called concurrently, in the middle of
// handshakes: they must not block, and must not call the Transport.
type Config struct {
	// Listen is host:port; port 0 picks a free one.
	Listen string
	// Certificate returns ours, leaf first, and the CA's last: a joiner pins that. It is
	// asked for at each handshake, because it is renewed.
	Certificate func() (*tls.Certificate, error)
	// Verify says which peer a chain (as presented, leaf first) belongs to, for this
	// protocol. It refuses strangers and expired, foreign or removed peers; a peer it
	// names all the same is logged as the one that was claimed. It is called in each
	// handshake, in both directions, before the other end has proved that it has the
	// key: it must not remember anything. That proof comes before any use.
	Verify func(chain []*x509.Certificate, protocol string) (peer string, err error)
	// Address returns the host:port of a peer; false means that none is known.
	Address func(peer string) (string, bool)
	// Net nil is the host's TCP.
	Net Net
	// HandshakeTimeout bounds connecting and the handshake; 0 is 10 s.
	HandshakeTimeout time.Duration
	// Log nil discards.
	Log *slog.Logger
}

// Transport is the port and the dialer. It is safe for concurrent use.
type Transport struct {
	config   Config
	listener net.Listener
	crowd    *crowd
	counts   *counts
	notes    *notes
	// turns bounds how many handshakes compute at once; see paced.
	turns chan struct{}
	stop  context.CancelFunc
	work  sync.WaitGroup

	// mu guards what follows.
	mu     sync.Mutex
	closed bool
	cut    bool
	// generation counts the calls of Drop and Recheck: a handshake that asked Verify
	// before one of them asks again before its connection is used.
	generation uint64
	open       map[*Conn]struct{}
	queues     map[string]*queue
	// dials are the dials under way, for Close to end.
	dials map[*dialing]struct{}
}

// Open listens and starts to accept. ctx is for listening only: Close ends what was
// started.
func Open(ctx context.Context, c Config) (*Transport, error) {
	if c.Certificate == nil || c.Verify == nil {
		return nil, errors.New("transport: Certificate and Verify are needed")
	}
	if c.Address == nil {
		c.Address = func(string) (string, bool) { return "", false }
	}
	if c.Net == nil {
		c.Net = TCP()
	}
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = defaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	listener, err := c.Net.Listen(ctx, c.Listen)
	if err != nil {
		return nil, fmt.Errorf("transport: listen at %q: %w", c.Listen, err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &Transport{
		config: c, listener: listener, stop: stop,
		crowd: newCrowd(maxPending), counts: newCounts(), notes: newNotes(c.Log),
		turns:  make(chan struct{}, maxHandshakes), // one value per handshake that computes
		open:   map[*Conn]struct{}{},
		queues: map[string]*queue{},
		dials:  map[*dialing]struct{}{},
	}
	t.work.Go(func() { t.accept(run) }) // ends in Close
	return t, nil
}

// Addr is the host:port really listened at.
func (t *Transport) Addr() string { return t.listener.Addr().String() }

// Close stops listening, closes all connections and listeners, lets dials under way
// fail with net.ErrClosed, and waits. Closing again does nothing.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.work.Wait()
		return nil
	}
	t.closed = true
	conns := t.take(func(*Conn) bool { return true })
	var queues []*queue
	for _, q := range t.queues {
		queues = append(queues, q)
	}
	for d := range t.dials {
		d.cancel(net.ErrClosed)
	}
	t.mu.Unlock()

	t.stop()
	err := t.listener.Close()
	for _, q := range queues {
		shut(q)
	}
	for _, c := range conns {
		shut(c.raw)
	}
	t.work.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("transport: close: %w", err)
	}
	return nil
}
