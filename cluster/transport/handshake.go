package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

var (
	errNoCertificate = errors.New("no certificate was shown")
	errNameless      = errors.New("the certificate belongs to no peer")
)

// handshake is one handshake from this end: what was agreed, and why it was refused.
// crypto/tls calls it from the goroutine that does the handshake.
type handshake struct {
	transport *Transport
	inbound   bool
	// protocol is what is wanted (dialing), or what was chosen.
	protocol string
	// want is the peer that must answer; "" is anyone.
	want string

	peer string
	// seen is the generation in which Verify named peer.
	seen uint64
	// claimed is who the other end says that it is, for the log.
	claimed string
	// reason is why we refused, if we did.
	reason Reason
}

// refuse notes why, for the counts, and returns err.
func (h *handshake) refuse(why Reason, err error) error {
	h.reason = why
	return err
}

// serverConfig is for one inbound connection. The protocol decides what is asked of
// the caller, so exactly one is offered back: a caller cannot name Join to get away
// without a certificate, and then speak Raft.
func (h *handshake) serverConfig() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Each connection is verified: none is resumed.
		SessionTicketsDisabled: true,
		// A missing certificate is refused in verify, which knows the protocol.
		ClientAuth:       tls.RequestClientCert,
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.certificate() },
		VerifyConnection: h.verify,
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			next, err := h.choose(hello.SupportedProtos)
			c.NextProtos = next
			return c, err
		},
	}
}

// choose picks the first of the caller's protocols that is served. If none is, it
// returns those that are: crypto/tls then answers with the alert made for that.
func (h *handshake) choose(offered []string) ([]string, error) {
	if len(offered) == 0 {
		return nil, h.refuse(ReasonProtocol, errors.New("the caller names no protocol"))
	}
	served, cut := h.transport.served()
	for _, p := range offered {
		if slices.Contains(served, p) {
			h.protocol = p
			return []string{p}, nil
		}
	}
	why := ReasonProtocol
	if cut && slices.Contains(offered, Raft) {
		why = ReasonCut
	}
	_ = h.refuse(why, nil) // crypto/tls makes the error
	return append(served, "tenks"), nil
}

// clientConfig is for one outbound connection.
func (h *handshake) clientConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{h.protocol},
		InsecureSkipVerify:     true, // names prove nothing here; verify looks at the chain
		VerifyConnection:       h.verify,
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return h.certificate() },
		SessionTicketsDisabled: true,
	}
}

// certificate returns ours.
func (h *handshake) certificate() (*tls.Certificate, error) {
	c, err := h.transport.config.Certificate()
	if err != nil {
		return nil, h.refuse(ReasonOwnCertificate, fmt.Errorf("our certificate: %w", err))
	}
	return c, nil
}

// verify implements tls.Config.VerifyConnection: it is called in each handshake.
func (h *handshake) verify(state tls.ConnectionState) error {
	if h.protocol == "" || state.NegotiatedProtocol != h.protocol {
		return h.refuse(ReasonProtocol, fmt.Errorf("protocol %q: not agreed on", h.protocol))
	}
	chain := state.PeerCertificates
	if len(chain) == 0 {
		if h.inbound && h.protocol == Join {
			return nil
		}
		if h.inbound && h.protocol == API && h.transport.bootstraps() {
			h.protocol = Bootstrap // and never reaches who serves API
			return nil
		}
		return h.refuse(ReasonNoCertificate, errNoCertificate)
	}
	return h.identify(chain)
}

// identify asks whose chain it is.
func (h *handshake) identify(chain []*x509.Certificate) error {
	h.seen = h.transport.current()
	h.claimed = claim(chain[0])
	peer, err := h.transport.identify(chain, h.protocol)
	if peer != "" {
		h.claimed = peer
	}
	if err != nil {
		return h.refuse(ReasonCertificate, err)
	}
	if h.want != "" && peer != h.want {
		return h.refuse(ReasonWrongPeer, fmt.Errorf("%q: %w", peer, ErrWrongPeer))
	}
	h.peer = peer
	return nil
}

// identify calls Verify.
func (t *Transport) identify(chain []*x509.Certificate, protocol string) (string, error) {
	peer, err := t.config.Verify(chain, protocol)
	if err == nil && peer == "" {
		err = errNameless
	}
	return peer, err
}

// finish does the handshake and makes the connection one of ours: it is closed by Drop,
// Recheck, Cut and Close from then on. What was refused before is refused here, too.
func (h *handshake) finish(ctx context.Context, secure *tls.Conn, raw net.Conn) (*Conn, error) {
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	c := &Conn{Conn: secure, transport: h.transport, raw: raw, peer: h.peer, protocol: h.protocol,
		chain: secure.ConnectionState().PeerCertificates}
	for {
		fresh, err := h.transport.register(c, h.seen)
		if errors.Is(err, ErrCut) {
			return nil, h.refuse(ReasonCut, err)
		}
		if err != nil || fresh {
			return c, err
		}
		if len(c.chain) == 0 {
			h.seen = h.transport.current()
		} else if err := h.identify(c.chain); err != nil {
			return nil, err
		}
		c.peer = h.peer
	}
}

// why classes an error of this handshake.
func (h *handshake) why(err error) Reason {
	switch {
	case h.reason != "":
		return h.reason
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	case refused(err):
		return ReasonRefused
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return ReasonGone
	}
	return ReasonTLS
}

// maxClaim bounds, in bytes, what a stranger can have us log as its name.
const maxClaim = 128

// claim is how a certificate names its owner. Nothing of it is verified.
func claim(leaf *x509.Certificate) string {
	name := leaf.Subject.CommonName
	if len(leaf.URIs) > 0 {
		name = leaf.URIs[0].String()
	}
	return name[:min(len(name), maxClaim)]
}
