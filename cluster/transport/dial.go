package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// dialing is a dial under way.
type dialing struct{ cancel context.CancelCauseFunc }

// Dial connects to a peer, wherever Address says that it is, and makes sure that it is
// that peer who answers: ErrWrongPeer otherwise. ErrUnknownPeer: there is no address.
// ErrCut: Raft is cut. net.ErrClosed: the Transport is. Dialing and the handshake
// together take HandshakeTimeout at most. That the other end accepts us shows in the
// first Read (ErrRefused), because TLS 1.3 lets the caller go first.
func (t *Transport) Dial(ctx context.Context, peer, protocol string) (*Conn, error) {
	address, ok := t.config.Address(peer)
	if !ok || peer == "" {
		t.counts.failed(ReasonUnknownPeer)
		return nil, fmt.Errorf("peer %q: %w", peer, ErrUnknownPeer)
	}
	c, err := t.dial(ctx, address, &handshake{transport: t, protocol: protocol, want: peer})
	if err != nil {
		return nil, fmt.Errorf("peer %q: dial %s: %w", peer, address, err)
	}
	return c, nil
}

// DialAddress connects to whichever peer is at host:port; Conn.Peer says who that is.
// It fails as Dial does.
func (t *Transport) DialAddress(ctx context.Context, address, protocol string) (*Conn, error) {
	c, err := t.dial(ctx, address, &handshake{transport: t, protocol: protocol})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return c, nil
}

func (t *Transport) dial(ctx context.Context, address string, h *handshake) (*Conn, error) {
	ctx, stop := context.WithTimeout(ctx, t.config.HandshakeTimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &dialing{cancel}
	if err := t.startDial(d, h.protocol); err != nil {
		return nil, err
	}
	defer t.endDial(d)

	c, why, err := t.connect(ctx, address, h)
	if err == nil {
		t.counts.dialed(h.protocol)
		return c, nil
	}
	t.counts.failed(why)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return nil, err
}

// connect dials and does the handshake; it says why it could not.
func (t *Transport) connect(ctx context.Context, address string, h *handshake) (*Conn, Reason, error) {
	raw, err := t.config.Net.Dial(ctx, address)
	if err != nil {
		return nil, ReasonUnreachable, err
	}
	c, err := h.finish(ctx, tls.Client(raw, h.clientConfig()), raw)
	if err != nil {
		shut(raw)
		why := h.why(err)
		if why == ReasonRefused {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, why, err
	}
	return c, "", nil
}

func (t *Transport) startDial(d *dialing, protocol string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	if t.cut && protocol == Raft {
		return ErrCut
	}
	t.dials[d] = struct{}{}
	return nil
}

func (t *Transport) endDial(d *dialing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.dials, d)
}

// DialJoin connects a host that is no peer yet, and has no certificate, to a peer at
// host:port. verify looks at the chain presented, leaf first, whose last certificate is
// the mesh's CA; it is called before the other end has proved that it has the leaf's
// key, but DialJoin returns after. It takes 10 s at most. ErrRefused: no peer listens
// for joins there. n nil is the host's TCP.
func DialJoin(ctx context.Context, n Net, address string, verify func(chain []*x509.Certificate) error) (*tls.Conn, error) {
	if n == nil {
		n = TCP()
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	raw, err := n.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("join: dial %s: %w", address, err)
	}
	c := tls.Client(raw, joinConfig(verify))
	if err := c.HandshakeContext(ctx); err != nil {
		shut(raw)
		if refused(err) {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, fmt.Errorf("join: dial %s: %w", address, err)
	}
	return c, nil
}

func joinConfig(verify func(chain []*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{Join},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // the CA is pinned by verify
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.NegotiatedProtocol != Join {
				return errors.New("no peer of a mesh answers")
			}
			return verify(state.PeerCertificates)
		},
	}
}
