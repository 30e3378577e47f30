package pki

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"
)

type certs = []*x509.Certificate

func TestVerifyAcceptsAPeer(t *testing.T) {
	a, b := authority(t, mesh, now), authority(t, mesh, now)
	for _, at := range []time.Time{now, now.Add(-Backdate), now.Add(Life)} {
		cert := leaf(t, a, now)
		id, err := Verify(certs{cert}, Verifier{Roots: certs{b.Certificate(), a.Certificate()}, Mesh: mesh, Now: at})
		if err != nil || id.Mesh != mesh || id.Peer != peerID(t, cert.PublicKey) {
			t.Errorf("at %v: %v, %v", at, id, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	a, stranger := authority(t, mesh, now), authority(t, mesh, now)
	other := authority(t, otherMesh, now)
	late := authority(t, mesh, now.Add(-3600*day))
	root, good := certs{a.Certificate()}, leaf(t, a, now)
	key := newKey(t)
	tests := []struct {
		name  string
		chain certs
		v     Verifier
		is    error
		want  []string
	}{
		{"nobody", nil, Verifier{Roots: root, Mesh: mesh, Now: now}, ErrForeign, nil},
		{"a peer if no authority is trusted", certs{good}, Verifier{Mesh: mesh, Now: now}, ErrForeign, nil},
		{"a peer of another authority", certs{leaf(t, stranger, now)}, Verifier{Roots: root, Mesh: mesh, Now: now}, ErrForeign, nil},
		{"a peer that brings its own authority", certs{leaf(t, stranger, now), stranger.Certificate()}, Verifier{Roots: root, Mesh: mesh, Now: now}, ErrForeign, nil},
		{"a peer of another mesh", certs{leaf(t, other, now)}, Verifier{Roots: certs{other.Certificate()}, Mesh: mesh, Now: now}, ErrForeign, []string{otherMesh, mesh}},
		{"the authority itself", root, Verifier{Roots: root, Mesh: mesh, Now: now}, ErrForeign, []string{"names no peer"}},
		{"a certificate for something else", certs{forged(t, a, key, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })},
			Verifier{Roots: root, Mesh: mesh, Now: now}, ErrForeign, nil},
		{"an expired one", certs{good}, Verifier{Roots: root, Mesh: mesh, Now: now.Add(Life + time.Second)}, ErrExpired,
			[]string{"peer " + good.Subject.CommonName, "valid until 2026-12-25T10:00:00Z", "this host's clock says 2026-12-25T10:00:01Z"}},
		{"one that is not valid yet", certs{good}, Verifier{Roots: root, Mesh: mesh, Now: now.Add(-Backdate - time.Second)}, ErrNotYet,
			[]string{"had reached 2026-11-25T10:00:00Z", "this host's clock says 2026-11-25T08:59:59Z"}},
		{"one from a host whose clock began in 1970", certs{good}, Verifier{Roots: root, Mesh: mesh, Now: time.Unix(60, 0)}, ErrNotYet, []string{"1970-01-01T00:01:00Z"}},
		{"one at no time", certs{good}, Verifier{Roots: root, Mesh: mesh}, ErrNotYet, nil},
		{"an expired one of another authority", certs{leaf(t, stranger, now)}, Verifier{Roots: root, Mesh: mesh, Now: now.Add(Life + day)}, ErrForeign, nil},
		{"one of another authority that has ended", certs{leaf(t, late, now), late.Certificate()},
			Verifier{Roots: root, Mesh: mesh, Now: now.Add(51 * day)}, ErrForeign, nil},
		{"one that outlives its authority", certs{forged(t, late, key, func(c *x509.Certificate) { c.NotAfter = now.Add(100 * day) })},
			Verifier{Roots: certs{late.Certificate()}, Mesh: mesh, Now: now.Add(60 * day)}, ErrExpired, []string{"its authority", "2027-01-24T10:00:00Z"}},
		{"one whose end is before its begin", certs{forged(t, a, key, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(day), now.Add(-day) })},
			Verifier{Roots: root, Mesh: mesh, Now: now}, ErrForeign, nil},
		{"to renew after 400 days", certs{good}, Verifier{Roots: root, Mesh: mesh, Now: now.Add(Life + 400*day + time.Second), Expired: AllowExpired}, ErrExpired, nil},
		{"to renew what is not valid yet", certs{good}, Verifier{Roots: root, Mesh: mesh, Now: now.Add(-day), Expired: AllowExpired}, ErrNotYet, nil},
		{"to renew another authority's", certs{leaf(t, stranger, now)}, Verifier{Roots: root, Mesh: mesh, Now: now.Add(Life + day), Expired: AllowExpired}, ErrForeign, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := Verify(tt.chain, tt.v)
			wantError(t, err, tt.is, tt.want...)
			if id != (Identity{}) {
				t.Errorf("and yet says who it is: %v", id)
			}
		})
	}
}

func TestAPeersKeySignsForNobody(t *testing.T) {
	a, key := authority(t, mesh, now), newKey(t)
	text, err := a.Issue(Request{CSR: request(t, key), Mesh: mesh, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	peer, victim := parse(t, text), newKey(t)
	id := peerID(t, victim.Public())
	template := &x509.Certificate{Subject: pkix.Name{CommonName: id}, URIs: []*url.URL{uri(mesh, "/peer/"+id)},
		NotBefore: now, NotAfter: now.Add(Life), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	cert, err := sign(template, peer, victim.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Verify(certs{cert, peer}, Verifier{Roots: certs{a.Certificate()}, Mesh: mesh, Now: now})
	wantError(t, err, ErrForeign)
	_, _, err = VerifyPinned(certs{cert, peer, a.Certificate()}, []Pin{a.Pin(), PinOf(peer)}, mesh, now)
	wantError(t, err, ErrForeign)
}

func TestAnExpiredCertificateRenewsFor400Days(t *testing.T) {
	a := authority(t, mesh, now)
	cert := leaf(t, a, now)
	for _, late := range []time.Duration{-day, time.Second, 200 * day, 400 * day} {
		v := Verifier{Roots: certs{a.Certificate()}, Mesh: mesh, Now: cert.NotAfter.Add(late), Expired: AllowExpired}
		if id, err := Verify(certs{cert}, v); err != nil || id.Peer != cert.Subject.CommonName {
			t.Errorf("%v after its end: %v, %v", late, id, err)
		}
	}
}

func TestRotationOverACrossCertificate(t *testing.T) {
	old, next, third := authority(t, mesh, now.Add(-100*day)), authority(t, mesh, now), authority(t, mesh, now)
	fresh, last := leaf(t, next, now), leaf(t, third, now)
	byOld, byNext := cross(t, old, next, now), cross(t, next, third, now)
	tests := []struct {
		name  string
		chain certs
		roots certs
		ok    bool
	}{
		{"old peers do not know the new authority", certs{fresh}, certs{old.Certificate()}, false},
		{"nor by its own certificate", certs{fresh, next.Certificate()}, certs{old.Certificate()}, false},
		{"the cross certificate tells them", certs{fresh, byOld}, certs{old.Certificate()}, true},
		{"new peers need it not", certs{fresh, byOld}, certs{next.Certificate()}, true},
		{"nor do those who know both", certs{fresh}, certs{old.Certificate(), next.Certificate()}, true},
		{"two rotations, in any order", certs{last, byOld, byNext}, certs{old.Certificate()}, true},
		{"two rotations with a gap", certs{last, byNext}, certs{old.Certificate()}, false},
		{"the old authority is not vouched for by the new one", certs{leaf(t, old, now), byOld}, certs{next.Certificate()}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Verify(tt.chain, Verifier{Roots: tt.roots, Mesh: mesh, Now: now})
			if tt.ok && err != nil {
				t.Fatal(err)
			}
			if !tt.ok {
				wantError(t, err, ErrForeign)
			}
		})
	}
	if !byOld.NotAfter.Equal(old.Certificate().NotAfter) || !byOld.NotBefore.Equal(now.Add(-Backdate)) {
		t.Errorf("valid from %v until %v", byOld.NotBefore, byOld.NotAfter)
	}
	if PinOf(byOld) != next.Pin() {
		t.Error("certifies another key")
	}
	if got := cross(t, next, old, now); !got.NotAfter.Equal(old.Certificate().NotAfter) {
		t.Errorf("outlives what it certifies: %v", got.NotAfter)
	}
}

func TestCrossSignRefuses(t *testing.T) {
	a := authority(t, mesh, now)
	tests := []struct {
		name     string
		by, next *Authority
		at       time.Time
		is       error
	}{
		{"another mesh's authority", a, authority(t, otherMesh, now), now, ErrForeign},
		{"after its own end", a, authority(t, mesh, now.Add(3650*day)), now.Add(3651 * day), ErrExpired},
		{"before its own begin", a, authority(t, mesh, now.Add(-day)), now.Add(-day), ErrNotYet},
		{"after the other's end", a, authority(t, mesh, now.Add(-3651*day)), now, ErrExpired},
		{"before the other's begin", a, authority(t, mesh, now.Add(day)), now, ErrNotYet},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.by.CrossSign(tt.next, tt.at)
			wantError(t, err, tt.is)
		})
	}
}

func TestVerifyPinnedAccepts(t *testing.T) {
	a, next := authority(t, mesh, now), authority(t, mesh, now)
	renewed, err := a.Renew(now)
	if err != nil {
		t.Fatal(err)
	}
	fresh, byOld := leaf(t, next, now), cross(t, a, next, now)
	tests := []struct {
		name  string
		chain certs
		pins  []Pin
		roots certs
	}{
		{"a leaf of the pinned authority", certs{leaf(t, a, now), a.Certificate()}, []Pin{a.Pin()}, certs{a.Certificate()}},
		{"a renewed authority", certs{leaf(t, a, now), renewed.Certificate()}, []Pin{a.Pin()}, certs{renewed.Certificate()}},
		{"no authority that is not pinned", certs{leaf(t, a, now), a.Certificate(), next.Certificate()}, []Pin{a.Pin()}, certs{a.Certificate()}},
		{"a token from before the rotation", certs{fresh, byOld, next.Certificate(), a.Certificate()}, []Pin{a.Pin()}, certs{a.Certificate()}},
		{"a token from the middle of it", certs{fresh, byOld, next.Certificate(), a.Certificate()}, []Pin{a.Pin(), next.Pin()}, certs{next.Certificate(), a.Certificate()}},
		{"a token from after it", certs{fresh, byOld, next.Certificate()}, []Pin{next.Pin()}, certs{next.Certificate()}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			roots, id, err := VerifyPinned(tt.chain, tt.pins, mesh, now)
			if err != nil {
				t.Fatal(err)
			}
			if id.Peer != peerID(t, tt.chain[0].PublicKey) || !slices.EqualFunc(roots, tt.roots, (*x509.Certificate).Equal) {
				t.Errorf("got %v and %d roots, want %d", id, len(roots), len(tt.roots))
			}
		})
	}
}

func TestVerifyPinnedRefuses(t *testing.T) {
	a, stranger := authority(t, mesh, now), authority(t, mesh, now)
	other := authority(t, otherMesh, now)
	good := leaf(t, a, now)
	tests := []struct {
		name  string
		chain certs
		pin   Pin
		at    time.Time
		is    error
		want  []string
	}{
		{"nobody", nil, a.Pin(), now, ErrForeign, nil},
		{"a server that keeps its authority to itself", certs{good}, a.Pin(), now, ErrForeign, nil},
		{"another authority", certs{leaf(t, stranger, now), stranger.Certificate()}, a.Pin(), now, ErrForeign, []string{"the token names another authority"}},
		{"a stranger who shows the real authority", certs{leaf(t, stranger, now), a.Certificate()}, a.Pin(), now, ErrForeign, nil},
		{"a stranger who shows both", certs{leaf(t, stranger, now), stranger.Certificate(), a.Certificate()}, a.Pin(), now, ErrForeign, nil},
		{"an authority's certificate that others made up", certs{good, madeUp(t, a)}, a.Pin(), now, ErrForeign, nil},
		{"a cross certificate in place of the pinned authority", certs{good, cross(t, stranger, a, now)}, a.Pin(), now, ErrForeign, nil},
		{"an authority that takes itself for a peer", certs{a.Certificate(), a.Certificate()}, a.Pin(), now, ErrForeign, nil},
		{"another mesh of a pinned authority", certs{leaf(t, other, now), other.Certificate()}, other.Pin(), now, ErrForeign, []string{otherMesh, mesh}},
		{"a clock that is behind by more than an hour", certs{good, a.Certificate()}, a.Pin(), now.Add(-time.Hour - time.Minute), ErrNotYet,
			[]string{"2026-11-25T10:00:00Z", "2026-11-25T08:59:00Z"}},
		{"a clock that is months ahead", certs{good, a.Certificate()}, a.Pin(), now.Add(60 * day), ErrExpired, []string{"2026-12-25T10:00:00Z", "2027-01-24T10:00:00Z"}},
		{"a clock that is decades ahead", certs{good, a.Certificate()}, a.Pin(), now.Add(9000 * day), ErrExpired, []string{"2026-12-25T10:00:00Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			roots, id, err := VerifyPinned(tt.chain, []Pin{tt.pin}, mesh, tt.at)
			wantError(t, err, tt.is, tt.want...)
			if roots != nil || id != (Identity{}) {
				t.Errorf("and yet returns %v, %v", roots, id)
			}
		})
	}
}

// madeUp is a certificate with an authority's key and name, signed by somebody else.
func madeUp(t *testing.T, a *Authority) *x509.Certificate {
	t.Helper()
	forger := newKey(t)
	parent := *a.cert
	parent.PublicKey = forger.Public()
	template := *a.cert
	template.NotAfter = now.Add(3 * AuthorityLife)
	cert, err := sign(&template, &parent, a.key.Public(), forger)
	if err != nil {
		t.Fatal(err)
	}
	if PinOf(cert) != a.Pin() {
		t.Fatal("the forgery is none")
	}
	return cert
}

// TestCertificatesServeTLS shows that what is issued is what crypto/tls takes, with
// the checks of this package in place of its own.
func TestCertificatesServeTLS(t *testing.T) {
	a := authority(t, mesh, now)
	pair := func(key ed25519.PrivateKey, cert *x509.Certificate) tls.Certificate {
		c, err := tls.X509KeyPair(JoinBundle(cert, a.Certificate()), pkcs8(t, key))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	peer := func() (tls.Certificate, string) {
		key := newKey(t)
		text, err := a.Issue(Request{CSR: request(t, key), Mesh: mesh, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return pair(key, parse(t, text)), peerID(t, key.Public())
	}
	serverCert, serverID := peer()
	clientCert, clientID := peer()
	var seenByServer, seenByClient Identity
	ours, theirs := net.Pipe()
	defer ours.Close()
	// Without session tickets: the pipe has no buffer, and nobody would read them.
	server := tls.Server(theirs, &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{serverCert}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			seenByServer, err = Verify(s.PeerCertificates, Verifier{Roots: certs{a.Certificate()}, Mesh: mesh, Now: now})
			return err
		}})
	done := make(chan error, 1)
	go func() { done <- server.HandshakeContext(t.Context()) }() // waited for below
	client := tls.Client(ours, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{clientCert}, ServerName: ServerName(serverID),
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			_, seenByClient, err = VerifyPinned(s.PeerCertificates, []Pin{a.Pin()}, mesh, now)
			return err
		}})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if seenByServer.Peer != clientID || seenByClient.Peer != serverID {
		t.Errorf("server saw %v, client saw %v", seenByServer, seenByClient)
	}
	if err := parse(t, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: serverCert.Certificate[0]})).VerifyHostname(ServerName(serverID)); err != nil {
		t.Errorf("its name in TLS: %v", err)
	}
}
