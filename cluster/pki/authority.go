package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
)

// Kinds of PEM blocks.
const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// Pin is the SHA-256 of the key (PKIX SPKI) of an authority. It survives a renewal of
// the certificate with the same key.
type Pin [sha256.Size]byte

// PinOf returns the pin of a certificate's key.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String returns the pin in lower-case hexadecimal.
func (p Pin) String() string { return hex.EncodeToString(p[:]) }

// Authority is a mesh's certificate authority: an Ed25519 key and a certificate that
// the key itself has signed. Only PEM gives the key away: it is never printed.
type Authority struct {
	mesh string
	cert *x509.Certificate
	key  ed25519.PrivateKey
	// pkcs8 is key, encoded.
	pkcs8 []byte
}

// NewAuthority makes an authority with a new key for a mesh (a UUID in lower case).
// It is valid for AuthorityLife, and from Backdate before now.
func NewAuthority(mesh string, now time.Time) (*Authority, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %q: key: %w", mesh, err)
	}
	return makeAuthority(mesh, key, now)
}

// Renew makes the authority anew with the same key, so that pins and every
// certificate that it issued stay good.
func (a *Authority) Renew(now time.Time) (*Authority, error) {
	return makeAuthority(a.mesh, a.key, now)
}

func makeAuthority(mesh string, key ed25519.PrivateKey, now time.Time) (*Authority, error) {
	if _, err := parseMesh(mesh); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	keyID, err := subjectKeyID(key)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %q: %w", mesh, err)
	}
	template := &x509.Certificate{
		// With a piece of the key, so that a mesh's old and new authority have names of
		// their own, and a chain can be built by name.
		Subject:      pkix.Name{CommonName: fmt.Sprintf("tenks %s %x", mesh, keyID[:4])},
		SubjectKeyId: keyID,
		URIs:         []*url.URL{uri(mesh, "")},
		NotBefore:    now.Add(-Backdate), NotAfter: now.Add(AuthorityLife),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %q: %w", mesh, err)
	}
	return assemble(cert, key)
}

// subjectKeyID is the start of the key's pin. It is ours, not crypto/x509's, whose
// rule has changed before: all certificates of a key must agree.
func subjectKeyID(key ed25519.PrivateKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	return sum[:20], nil
}

// sign makes a certificate, with a random serial number.
func sign(template, parent *x509.Certificate, public any, key ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return x509.ParseCertificate(der)
}

// assemble checks that a certificate and a key make an authority.
func assemble(cert *x509.Certificate, key ed25519.PrivateKey) (*Authority, error) {
	mesh, path, err := nameOf(cert)
	switch {
	case err != nil:
		return nil, fmt.Errorf("authority: %w", err)
	case path != "" || !isAuthority(cert):
		return nil, fmt.Errorf("authority: certificate of %q: is not an authority's", cert.URIs[0])
	case !key.Public().(ed25519.PublicKey).Equal(cert.PublicKey):
		return nil, fmt.Errorf("authority of mesh %s: key and certificate do not belong together", mesh)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("authority of mesh %s: certificate is not signed by its own key: %w", mesh, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %s: key: %w", mesh, err)
	}
	return &Authority{mesh: mesh, cert: cert, key: key, pkcs8: pkcs8}, nil
}

// isAuthority reports whether a certificate may sign others.
func isAuthority(cert *x509.Certificate) bool {
	return cert.IsCA && cert.BasicConstraintsValid && cert.KeyUsage&x509.KeyUsageCertSign != 0
}

// LoadAuthority is the inverse of PEM. It checks that the two belong together and
// that the certificate is an authority's, signed by its own key; not that it is valid
// now.
func LoadAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	ders, err := blocks(certPEM, certBlock)
	if err != nil {
		return nil, fmt.Errorf("authority: certificate: %w", err)
	}
	keys, err := blocks(keyPEM, keyBlock)
	if err != nil {
		return nil, fmt.Errorf("authority: key: %w", err)
	}
	if len(ders) != 1 || len(keys) != 1 {
		return nil, errors.New("authority: want one certificate and one key")
	}
	cert, err := x509.ParseCertificate(ders[0])
	if err != nil {
		return nil, fmt.Errorf("authority: certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keys[0])
	if err != nil {
		return nil, fmt.Errorf("authority: key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("authority: a %T, want an Ed25519 key", parsed)
	}
	return assemble(cert, key)
}

// PEM returns the certificate, and the key (PKCS #8), which is a secret.
func (a *Authority) PEM() (cert, key []byte) {
	return JoinBundle(a.cert), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: a.pkcs8})
}

// Mesh returns the UUID of the mesh.
func (a *Authority) Mesh() string { return a.mesh }

// Certificate returns the authority's certificate, which callers must not change.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Pin returns what a token names the authority by.
func (a *Authority) Pin() Pin { return PinOf(a.cert) }

// CrossSign certifies the key of the same mesh's next authority by this one. A peer
// that trusts only this authority accepts what next has issued if the answer, in PEM,
// is in the chain, behind the leaf. It is valid from Backdate before now, until the
// first of the two authorities ends. Errors: ErrForeign, and ErrExpired or ErrNotYet
// if one of them is not valid now.
func (a *Authority) CrossSign(next *Authority, now time.Time) (certPEM []byte, err error) {
	if next.mesh != a.mesh {
		return nil, fmt.Errorf("authority of mesh %s: cross-sign: %w but of %s", a.mesh, ErrForeign, next.mesh)
	}
	from, until, err := a.span(now, AuthorityLife)
	if err != nil {
		return nil, fmt.Errorf("cross-sign: %w", err)
	}
	if _, _, err := next.span(now, 0); err != nil {
		return nil, fmt.Errorf("cross-sign: next %w", err)
	}
	if next.cert.NotAfter.Before(until) {
		until = next.cert.NotAfter
	}
	template := &x509.Certificate{
		RawSubject: next.cert.RawSubject, SubjectKeyId: next.cert.SubjectKeyId, URIs: next.cert.URIs,
		NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: next.cert.KeyUsage,
	}
	cert, err := sign(template, a.cert, next.cert.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %s: cross-%w", a.mesh, err)
	}
	return JoinBundle(cert), nil
}

// span returns from when until when something is valid that the authority signs now:
// never longer than the authority itself.
func (a *Authority) span(now time.Time, life time.Duration) (from, until time.Time, err error) {
	if err := within(a.cert.NotBefore, a.cert.NotAfter, now, 0); err != nil {
		return from, until, fmt.Errorf("authority of mesh %s: %w", a.mesh, err)
	}
	from, until = now.Add(-Backdate), now.Add(life)
	if from.Before(a.cert.NotBefore) {
		from = a.cert.NotBefore
	}
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	return from, until, nil
}

// Format prints which authority it is, and never the key, whatever the verb.
func (a Authority) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authority of mesh "+a.mesh+" "+hidden)
}
