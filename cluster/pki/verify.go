package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ExpiredPolicy is what Verify thinks of a peer's certificate whose time is over.
type ExpiredPolicy int

const (
	// RefuseExpired is the rule.
	RefuseExpired ExpiredPolicy = iota
	// AllowExpired accepts it for Grace after its end. It is for renewal only, where
	// the caller also knows the peer and that it was not removed.
	AllowExpired
)

func (p ExpiredPolicy) grace() time.Duration {
	if p == AllowExpired {
		return Grace
	}
	return 0
}

// Verifier is what a chain is held against.
type Verifier struct {
	// Roots are the authorities that are trusted; none trusts nobody.
	Roots []*x509.Certificate
	Mesh  string
	// Now is this host's time.
	Now     time.Time
	Expired ExpiredPolicy
}

// Verify returns who presented a chain (leaf first, then any cross certificates, in
// any order), if that is a peer of the mesh. That the other side holds the leaf's key
// is for TLS to show, and that the peer was not removed for the caller to know. An
// expired leaf that AllowExpired accepts must have had authorities that were valid at
// its end. Errors: ErrForeign, ErrExpired, ErrNotYet; the latter two only for what is
// of this mesh otherwise, and with the times by both clocks.
func Verify(chain []*x509.Certificate, v Verifier) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, fmt.Errorf("%w: there is none", ErrForeign)
	}
	leaf := chain[0]
	if err := v.signed(leaf, chain[1:]); err != nil {
		return Identity{}, fmt.Errorf("peer %q: %w", leaf.Subject.CommonName, err)
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if id.Mesh != v.Mesh {
		return Identity{}, fmt.Errorf("peer %s: %w, which is %s, but of mesh %s", id.Peer, ErrForeign, v.Mesh, id.Mesh)
	}
	if err := within(leaf.NotBefore, leaf.NotAfter, v.Now, v.Expired.grace()); err != nil {
		return Identity{}, fmt.Errorf("peer %s: %w", id.Peer, err)
	}
	return id, nil
}

// signed checks that one of the roots vouches for a leaf, at the time that is nearest
// to now and in the leaf's own: who it is comes first, then whether its time is over.
func (v Verifier) signed(leaf *x509.Certificate, others []*x509.Certificate) error {
	at := v.Now
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	} else if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: pool(v.Roots), Intermediates: pool(others), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	if err == nil {
		return nil
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != leaf && v.vouched(invalid.Cert) {
		if err := within(invalid.Cert.NotBefore, invalid.Cert.NotAfter, v.Now, 0); err != nil {
			return fmt.Errorf("its authority %q: %w", invalid.Cert.Subject.CommonName, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrForeign, err)
}

// vouched reports whether an authority's certificate is a root or signed by one.
// crypto/x509 looks at a candidate's time before it looks for who vouches for it.
func (v Verifier) vouched(cert *x509.Certificate) bool {
	return slices.ContainsFunc(v.Roots, func(root *x509.Certificate) bool {
		return cert.Equal(root) || cert.CheckSignatureFrom(root) == nil
	})
}

// pool is never nil: nil would mean the host's own list of public authorities.
func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

// VerifyPinned is Verify for a host that knows of the mesh only what its token says.
// A server presents its leaf, then any cross certificates, then the authorities'
// certificates. One of the latter, signed by itself, must have a pinned key and vouch
// for the leaf, directly or across. It returns all of those with a pinned key: they are
// genuine, because nobody else can sign with their keys. Errors: as of Verify;
// ErrNotYet and ErrExpired mean that this host's clock and the mesh's are apart by more
// than Backdate, or that the peer is about to renew.
func VerifyPinned(chain []*x509.Certificate, pins []Pin, mesh string, now time.Time) ([]*x509.Certificate, Identity, error) {
	if len(chain) == 0 {
		return nil, Identity{}, fmt.Errorf("%w: there is none", ErrForeign)
	}
	var roots []*x509.Certificate
	for _, cert := range chain[1:] {
		if slices.Contains(pins, PinOf(cert)) && isRoot(cert) {
			roots = append(roots, cert)
		}
	}
	if len(roots) == 0 {
		return nil, Identity{}, fmt.Errorf("peer %q: %w: the token names another authority", chain[0].Subject.CommonName, ErrForeign)
	}
	id, err := Verify(chain, Verifier{Roots: roots, Mesh: mesh, Now: now})
	if err != nil {
		return nil, Identity{}, err
	}
	return roots, id, nil
}

// isRoot reports whether a certificate is an authority's and signed by its own key.
// With a pinned key alone, anybody could have made up the rest.
func isRoot(cert *x509.Certificate) bool {
	return isAuthority(cert) && bytes.Equal(cert.RawIssuer, cert.RawSubject) && cert.CheckSignatureFrom(cert) == nil
}
