package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
)

// Conn is a connection with a verified peer. Its certificate chain is in
// ConnectionState.
//
// To an http.Server it is no *tls.Conn: Request.TLS is nil, and PeerOf says who asks.
type Conn struct {
	*tls.Conn
	transport      *Transport
	raw            net.Conn
	peer, protocol string
	chain          []*x509.Certificate
}

// Peer is the ID of the other end, or "" if it called for Join without a certificate.
func (c *Conn) Peer() string { return c.peer }

// Protocol is what both ends agreed to speak.
func (c *Conn) Protocol() string { return c.protocol }

// Read is tls.Conn.Read; if the other end refused this connection, the error is
// ErrRefused.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && refused(err) {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return n, err
}

// Close says goodbye to the other end and closes.
func (c *Conn) Close() error {
	c.transport.forget(c)
	return c.Conn.Close()
}

// abort closes at once, and has the kernel discard what it has not sent.
func (c *Conn) abort() {
	if l, ok := c.raw.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // it only hastens the end
	}
	shut(c.raw)
}

// shut closes what nobody uses any more: an error would say nothing.
func shut(c io.Closer) { _ = c.Close() }

// refused says whether err is an alert from the other end.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" // crypto/tls, (*Conn).readRecordOrCCS
}

// peerKey is the key of the peer in a context.
type peerKey struct{}

// ConnContext is for http.Server.ConnContext, so that handlers learn the peer by PeerOf.
func (t *Transport) ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*Conn); ok {
		return context.WithValue(ctx, peerKey{}, c.peer)
	}
	return ctx
}

// PeerOf returns the peer that a request came from, or "" if it came otherwise.
func PeerOf(ctx context.Context) string {
	peer, _ := ctx.Value(peerKey{}).(string)
	return peer
}
