package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	mesh      = "6d5e7f3a-92ab-4c1d-8e2f-0a1b2c3d4e5f"
	otherMesh = "11111111-2222-4333-8444-555555555555"
	day       = 24 * time.Hour
)

// now is the time of every test.
var now = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

func authority(t testing.TB, mesh string, at time.Time) *Authority {
	t.Helper()
	a, err := NewAuthority(mesh, at)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key ed25519.PrivateKey) []byte {
	t.Helper()
	csr, err := NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// parse returns the first certificate of a PEM text.
func parse(t testing.TB, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no PEM block in %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leaf issues a certificate for a new key.
func leaf(t testing.TB, a *Authority, at time.Time) *x509.Certificate {
	t.Helper()
	text, err := a.Issue(Request{CSR: request(t, newKey(t)), Mesh: a.Mesh(), Generation: 3, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

// cross returns next's certificate by a.
func cross(t testing.TB, a, next *Authority, at time.Time) *x509.Certificate {
	t.Helper()
	text, err := a.CrossSign(next, at)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

// forged is a certificate that the authority's key signed although Issue never would.
func forged(t testing.TB, a *Authority, key ed25519.PrivateKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	id := peerID(t, key.Public())
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: id}, URIs: []*url.URL{uri(mesh, "/peer/"+id)},
		NotBefore: now.Add(-Backdate), NotAfter: now.Add(Life), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	cert, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func peerID(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	id, err := PeerID(public)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// wantError checks an error against a sentinel (if any) and pieces of its text.
func wantError(t *testing.T, err, is error, pieces ...string) {
	t.Helper()
	if err == nil || (is != nil && !errors.Is(err, is)) {
		t.Fatalf("got error %v, want %v", err, is)
	}
	for _, piece := range pieces {
		if !strings.Contains(err.Error(), piece) {
			t.Errorf("error %q does not say %q", err, piece)
		}
	}
}

func TestPeerIDIsTheHashOfTheKey(t *testing.T) {
	key := newKey(t)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	if got, want := peerID(t, key.Public()), hex.EncodeToString(sum[:16]); got != want || len(got) != 32 {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := PeerID("no key"); err == nil {
		t.Error("a text has an ID")
	}
}

func TestAuthorityIsValidForTenYearsFromAnHourAgo(t *testing.T) {
	cert := authority(t, mesh, now).Certificate()
	if !cert.NotBefore.Equal(now.Add(-time.Hour)) || !cert.NotAfter.Equal(now.Add(3650*day)) {
		t.Errorf("valid from %v until %v", cert.NotBefore, cert.NotAfter)
	}
	if !strings.Contains(cert.Subject.CommonName, mesh) || len(cert.Subject.CommonName) > 64 {
		t.Errorf("common name %q", cert.Subject.CommonName)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != "tenks://"+mesh {
		t.Errorf("URIs %v", cert.URIs)
	}
}

func TestAuthorityNeedsAMesh(t *testing.T) {
	for _, mesh := range []string{"", "lab", strings.ToUpper(mesh), "{" + mesh + "}", strings.ReplaceAll(mesh, "-", "")} {
		if _, err := NewAuthority(mesh, now); err == nil {
			t.Errorf("mesh %q has an authority", mesh)
		}
	}
}

func TestAuthorityReturnsFromItsFiles(t *testing.T) {
	a := authority(t, mesh, now)
	cert, key := a.PEM()
	b, err := LoadAuthority(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	cert2, key2 := b.PEM()
	if !bytes.Equal(cert, cert2) || !bytes.Equal(key, key2) || b.Pin() != a.Pin() || b.Mesh() != mesh {
		t.Error("another authority came back")
	}
	if _, err := Verify([]*x509.Certificate{leaf(t, b, now)}, Verifier{Roots: []*x509.Certificate{a.Certificate()}, Mesh: mesh, Now: now}); err != nil {
		t.Errorf("what it issues then is refused: %v", err)
	}
}

func TestLoadAuthorityRefuses(t *testing.T) {
	a, b := authority(t, mesh, now), authority(t, mesh, now)
	cert, key := a.PEM()
	otherCert, otherKey := b.PEM()
	peerKey := newKey(t)
	peerCert, err := a.Issue(Request{CSR: request(t, peerKey), Mesh: mesh, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"another's key", cert, otherKey, "do not belong together"},
		{"another's certificate", otherCert, key, "do not belong together"},
		{"a peer's certificate", peerCert, pkcs8(t, peerKey), "is not an authority's"},
		{"a cross certificate", JoinBundle(cross(t, b, a, now)), key, "not signed by its own key"},
		{"two certificates", append(bytes.Clone(cert), otherCert...), key, "want one certificate"},
		{"two keys", cert, append(bytes.Clone(key), otherKey...), "want one certificate and one key"},
		{"nothing for a certificate", nil, key, "no PEM block"},
		{"nothing for a key", cert, nil, "no PEM block"},
		{"key and certificate swapped", key, cert, `want "CERTIFICATE"`},
		{"a certificate that is cut off", cert[:len(cert)/2], key, "no PEM block"},
		{"a certificate of garbage", pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: []byte("x")}), key, "certificate"},
		{"a key of garbage", cert, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: []byte("x")}), "key"},
		{"a key of another kind", cert, pkcs8(t, ecdsaKey(t)), "want an Ed25519 key"},
		{"a certificate that names no mesh", JoinBundle(selfSigned(t, a, nil)), key, "0 URIs"},
		{"a certificate that names a foreign thing", JoinBundle(selfSigned(t, a, &url.URL{Scheme: "https", Host: mesh})), key, "not a name that Tenks gives"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := LoadAuthority(tt.cert, tt.key)
			wantError(t, err, nil, "authority", tt.want)
		})
	}
}

// selfSigned is a certificate of the authority's key with another name.
func selfSigned(t testing.TB, a *Authority, name *url.URL) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: a.cert.Subject, SubjectKeyId: a.cert.SubjectKeyId, NotBefore: a.cert.NotBefore,
		NotAfter: a.cert.NotAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if name != nil {
		template.URIs = []*url.URL{name}
	}
	cert, err := sign(template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAuthorityNeverPrintsItsKey(t *testing.T) {
	a := authority(t, mesh, now)
	want := "authority of mesh " + mesh + " (hidden)"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, got := range []string{fmt.Sprintf(verb, a), fmt.Sprintf(verb, *a)} {
			if got != want {
				t.Errorf("%s prints %q", verb, got)
			}
		}
	}
}

func TestPinSurvivesRenewalAndSoDoLeaves(t *testing.T) {
	a := authority(t, mesh, now)
	old := leaf(t, a, now.Add(20*day))
	b, err := a.Renew(now.Add(30 * day))
	if err != nil {
		t.Fatal(err)
	}
	if b.Pin() != a.Pin() || b.Certificate().Equal(a.Certificate()) {
		t.Error("renewal changed the pin, or nothing")
	}
	if b.Pin() == authority(t, mesh, now).Pin() {
		t.Error("another key has the same pin")
	}
	at := now.Add(40 * day)
	for _, root := range []*Authority{a, b} {
		for _, cert := range []*x509.Certificate{old, leaf(t, b, at)} {
			if _, err := Verify([]*x509.Certificate{cert}, Verifier{Roots: []*x509.Certificate{root.Certificate()}, Mesh: mesh, Now: at}); err != nil {
				t.Error(err)
			}
		}
	}
	if sum := sha256.Sum256(a.Certificate().RawSubjectPublicKeyInfo); a.Pin().String() != hex.EncodeToString(sum[:]) {
		t.Errorf("pin prints as %s", a.Pin())
	}
}

func TestIssueNamesThePeerByItsKeyAlone(t *testing.T) {
	a, key := authority(t, mesh, now), newKey(t)
	liar, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "00000000000000000000000000000000", OrganizationalUnit: []string{"generation 99"}}, DNSNames: []string{"bank.example"},
		URIs: []*url.URL{uri(mesh, "/peer/00000000000000000000000000000000")},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	id := peerID(t, key.Public())
	for _, csr := range [][]byte{request(t, key), liar} {
		text, err := a.Issue(Request{CSR: csr, Mesh: mesh, Generation: 7, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		cert := parse(t, text)
		if got, err := IdentityOf(cert); err != nil || got != (Identity{Mesh: mesh, Peer: id}) {
			t.Errorf("got %v, %v", got, err)
		}
		if cert.URIs[0].String() != "tenks://"+mesh+"/peer/"+id || len(cert.DNSNames) != 1 || cert.DNSNames[0] != id+".tenks" {
			t.Errorf("names %v %v", cert.URIs, cert.DNSNames)
		}
		if cert.IsCA || len(cert.ExtKeyUsage) != 2 || !cert.NotBefore.Equal(now.Add(-Backdate)) || !cert.NotAfter.Equal(now.Add(30*day)) {
			t.Errorf("CA %v, usage %v, from %v until %v", cert.IsCA, cert.ExtKeyUsage, cert.NotBefore, cert.NotAfter)
		}
		if generation, err := GenerationOf(cert); err != nil || generation != 7 {
			t.Errorf("generation %d, %v", generation, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	a := authority(t, mesh, now)
	good := request(t, newKey(t))
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	foreign, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ecdsaKey(t))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		r    Request
		is   error
		want string
	}{
		{"a changed signature", Request{CSR: changed, Mesh: mesh, Now: now}, nil, "not signed by its own key"},
		{"garbage", Request{CSR: []byte("x"), Mesh: mesh, Now: now}, nil, "certificate request"},
		{"nothing", Request{Mesh: mesh, Now: now}, nil, "certificate request"},
		{"more than any request has", Request{CSR: make([]byte, maxRequest+1), Mesh: mesh, Now: now}, nil, "4097 bytes"},
		{"another kind of key", Request{CSR: foreign, Mesh: mesh, Now: now}, nil, "want an Ed25519 key"},
		{"another mesh", Request{CSR: good, Mesh: otherMesh, Now: now}, ErrForeign, mesh},
		{"an authority that has ended", Request{CSR: good, Mesh: mesh, Now: now.Add(3651 * day)}, ErrExpired, "2036-11-22T10:00:00Z"},
		{"an authority that is yet to begin", Request{CSR: good, Mesh: mesh, Now: now.Add(-2 * time.Hour)}, ErrNotYet, "2026-11-25T08:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.Issue(tt.r)
			wantError(t, err, tt.is, tt.want)
		})
	}
}

func TestACertificateStaysWithinItsAuthority(t *testing.T) {
	a := authority(t, mesh, now)
	first := leaf(t, a, now.Add(-30*time.Minute))
	if !first.NotBefore.Equal(a.Certificate().NotBefore) {
		t.Errorf("begins at %v, before its authority", first.NotBefore)
	}
	last := leaf(t, a, now.Add(3649*day))
	if !last.NotAfter.Equal(a.Certificate().NotAfter) {
		t.Errorf("ends at %v, after its authority", last.NotAfter)
	}
}

func TestSerialNumbersDiffer(t *testing.T) {
	a := authority(t, mesh, now)
	seen := map[string]bool{}
	for range 20 {
		n := leaf(t, a, now).SerialNumber
		if n.Cmp(big.NewInt(1<<32)) < 0 || seen[n.String()] {
			t.Fatalf("serial number %v", n)
		}
		seen[n.String()] = true
	}
}

func TestIdentityOfRefuses(t *testing.T) {
	a, key := authority(t, mesh, now), newKey(t)
	id := peerID(t, key.Public())
	other := peerID(t, newKey(t).Public())
	tests := []struct {
		name string
		uris []string
		want string
	}{
		{"no name", nil, "0 URIs"},
		{"two names", []string{"tenks://" + mesh + "/peer/" + id, "tenks://" + mesh + "/peer/" + id}, "2 URIs"},
		{"another peer's ID", []string{"tenks://" + mesh + "/peer/" + other}, "its key is that of peer " + id},
		{"an authority's name", []string{"tenks://" + mesh}, "names no peer"},
		{"another scheme", []string{"spiffe://" + mesh + "/peer/" + id}, "not a name that Tenks gives"},
		{"a query", []string{"tenks://" + mesh + "/peer/" + id + "?a=b"}, "not a name that Tenks gives"},
		{"a fragment", []string{"tenks://" + mesh + "/peer/" + id + "#a"}, "not a name that Tenks gives"},
		{"a user", []string{"tenks://me@" + mesh + "/peer/" + id}, "not a name that Tenks gives"},
		{"a port", []string{"tenks://" + mesh + ":7740/peer/" + id}, "not a UUID"},
		{"an escape", []string{"tenks://" + mesh + "/peer/%" + hex.EncodeToString([]byte(id[:1])) + id[1:]}, "not a name that Tenks gives"},
		{"a mesh that is no UUID", []string{"tenks://lab/peer/" + id}, "not a UUID"},
		{"a mesh in capitals", []string{"tenks://" + strings.ToUpper(mesh) + "/peer/" + id}, "not a UUID"},
		{"an ID in capitals", []string{"tenks://" + mesh + "/peer/" + strings.ToUpper(id)}, "its key is that of peer"},
		{"a longer path", []string{"tenks://" + mesh + "/peer/" + id + "/x"}, "its key is that of peer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert := forged(t, a, key, func(c *x509.Certificate) {
				c.URIs = nil
				for _, text := range tt.uris {
					u, err := url.Parse(text)
					if err != nil {
						t.Fatal(err)
					}
					c.URIs = append(c.URIs, u)
				}
			})
			_, err := IdentityOf(cert)
			wantError(t, err, nil, tt.want)
			// Signed or not: Verify takes nobody without a name.
			_, err = Verify([]*x509.Certificate{cert}, Verifier{Roots: []*x509.Certificate{a.Certificate()}, Mesh: mesh, Now: now})
			wantError(t, err, ErrForeign)
		})
	}
}

func TestGenerationOfRefuses(t *testing.T) {
	for _, unit := range []string{"", "generation", "generation -1", "generation 99999999999999999999"} {
		cert := &x509.Certificate{Subject: pkix.Name{OrganizationalUnit: []string{unit}}}
		if n, err := GenerationOf(cert); err == nil {
			t.Errorf("unit %q: generation %d", unit, n)
		}
	}
}

func TestRenewalIsBetweenHalfAndFourFifthsOfLife(t *testing.T) {
	cert := &x509.Certificate{NotBefore: now, NotAfter: now.Add(100 * day)}
	for share, want := range map[float64]time.Duration{-1: 50 * day, 0: 50 * day, 0.5: 65 * day, 1: 80 * day, 7: 80 * day} {
		if got := RenewAt(cert, share).Sub(now).Round(time.Second); got != want {
			t.Errorf("share %v: after %v, want %v", share, got, want)
		}
	}
}
