package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// maxRequest bounds a request for a certificate, in bytes; ours has about 200.
const maxRequest = 4096

// NewRequest returns a request for a certificate of the key (PKCS #10, DER). It names
// nobody: what the key is called is the mesh's to say.
func NewRequest(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return der, nil
}

// Request is what Issue needs. Whether the peer may have a certificate is for the
// caller to know.
type Request struct {
	// CSR comes from the peer (PKCS #10, DER). Names in it count for nothing.
	CSR []byte
	// Mesh must be the authority's.
	Mesh string
	// Generation is the mesh's, for GenerationOf.
	Generation uint64
	Now        time.Time
}

// Issue returns a certificate in PEM for the peer that made a request: valid for Life,
// from Backdate before now, as client and as server. Repeated, it issues another.
// Errors: ErrForeign for another mesh's request; ErrExpired and ErrNotYet if the
// authority itself is not valid now.
func (a *Authority) Issue(r Request) (certPEM []byte, err error) {
	if r.Mesh != a.mesh {
		return nil, fmt.Errorf("certificate request for mesh %q: %w, which is %s", r.Mesh, ErrForeign, a.mesh)
	}
	public, err := requester(r.CSR)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	peer, err := PeerID(public)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	from, until, err := a.span(r.Now, Life)
	if err != nil {
		return nil, fmt.Errorf("certificate of peer %s: issue: %w", peer, err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: peer,
			OrganizationalUnit: []string{generationPrefix + strconv.FormatUint(r.Generation, 10)}},
		URIs:      []*url.URL{uri(a.mesh, "/peer/"+peer)},
		DNSNames:  []string{ServerName(peer)},
		NotBefore: from, NotAfter: until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	cert, err := sign(template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of peer %s: %w", peer, err)
	}
	return JoinBundle(cert), nil
}

// ServerName is what a peer is called in TLS (SNI). No DNS knows it.
func ServerName(peer string) string { return peer + "." + scheme }

// requester returns the key that a request is for, and that has signed it.
func requester(csr []byte) (ed25519.PublicKey, error) {
	if len(csr) > maxRequest {
		return nil, fmt.Errorf("has %d bytes, more than %d", len(csr), maxRequest)
	}
	parsed, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, err
	}
	if err := parsed.CheckSignature(); err != nil {
		return nil, fmt.Errorf("not signed by its own key: %w", err)
	}
	public, ok := parsed.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("for a " + parsed.PublicKeyAlgorithm.String() + " key, want an Ed25519 key")
	}
	return public, nil
}

// RenewAt returns when to renew a certificate: between 50 and 80 % of its life. share,
// in [0, 1), picks the point; a random one keeps the peers of a mesh from coming all
// at once.
func RenewAt(cert *x509.Certificate, share float64) time.Time {
	life := cert.NotAfter.Sub(cert.NotBefore)
	share = min(max(share, 0), 1)
	return cert.NotBefore.Add(time.Duration((0.5 + 0.3*share) * float64(life)))
}
