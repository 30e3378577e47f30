package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTheCertificateOfAServiceIsNoPeers(t *testing.T) {
	const mesh = "2c1f7f6e-5a51-4d3c-8a43-0d3f5d1c9a10"
	now := time.Now()
	a, err := NewAuthority(mesh, now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewServiceRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("2001:db8::1")}
	text, err := a.IssueService(ServiceRequest{CSR: csr, Addresses: addresses, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{leaf}
	for _, host := range []string{"192.0.2.11", "2001:db8::1"} {
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: "[" + host + "]", Roots: pool([]*x509.Certificate{a.cert})}); err != nil {
			t.Errorf("at %s: %v", host, err)
		}
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: "192.0.2.12", Roots: pool([]*x509.Certificate{a.cert})}); err == nil {
		t.Error("good for another address")
	}
	if id, err := Verify(chain, Verifier{Roots: []*x509.Certificate{a.cert}, Mesh: mesh, Now: now}); !errors.Is(err, ErrForeign) {
		t.Errorf("as a peer it is %+v, %v; want ErrForeign", id, err)
	}
	if _, err := a.IssueService(ServiceRequest{CSR: csr, Now: now}); err == nil {
		t.Error("one without an address")
	}
	if _, err := a.IssueService(ServiceRequest{CSR: csr, Addresses: addresses, Now: now.Add(2 * AuthorityLife)}); !errors.Is(err, ErrExpired) {
		t.Errorf("by an authority whose time is over: %v, want ErrExpired", err)
	}
	_, peer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if csr, err = NewRequest(peer); err != nil {
		t.Fatal(err)
	}
	if _, err := a.IssueService(ServiceRequest{CSR: csr, Addresses: addresses, Now: now}); err == nil || !strings.Contains(err.Error(), "P-256") {
		t.Errorf("for a peer's key: %v", err)
	}
	if _, err := SelfSigned(key, addresses, now); err != nil {
		t.Error(err)
	}
}
