package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ServiceLife is how long the certificate of a service is valid, less if its authority
// ends first.
const ServiceLife = 90 * 24 * time.Hour

// ServiceRequest is what IssueService needs. Whether who asks has the addresses is for the
// caller to know.
type ServiceRequest struct {
	// CSR is a PKCS #10 request in DER for an ECDSA key of P-256: clients of services are old
	// ones, too. Names in it count for nothing.
	CSR []byte
	// Addresses are those of the service; at least one.
	Addresses []netip.Addr
	Now       time.Time
}

// NewServiceRequest returns a request for a service's certificate (PKCS #10, DER).
func NewServiceRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return der, nil
}

// IssueService returns a certificate in PEM for a service that others than peers use: as
// TLS server at its addresses only. It names no peer, so that Verify refuses it. Errors:
// ErrExpired and ErrNotYet if the authority itself is not valid now.
func (a *Authority) IssueService(r ServiceRequest) (certPEM []byte, err error) {
	public, err := serviceKey(r.CSR)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	template, err := serviceTemplate(r.Addresses)
	if err != nil {
		return nil, err
	}
	if template.NotBefore, template.NotAfter, err = a.span(r.Now, ServiceLife); err != nil {
		return nil, fmt.Errorf("certificate of a service: issue: %w", err)
	}
	cert, err := sign(template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of a service: %w", err)
	}
	return JoinBundle(cert), nil
}

// SelfSigned returns a certificate in PEM that a service shows while no authority can be
// asked.
func SelfSigned(key *ecdsa.PrivateKey, addresses []netip.Addr, now time.Time) (certPEM []byte, err error) {
	template, err := serviceTemplate(addresses)
	if err != nil {
		return nil, err
	}
	template.NotBefore, template.NotAfter = now.Add(-Backdate), now.Add(ServiceLife)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate of a service: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate of a service: %w", err)
	}
	return JoinBundle(cert), nil
}

func serviceTemplate(addresses []netip.Addr) (*x509.Certificate, error) {
	if len(addresses) == 0 {
		return nil, errors.New("certificate of a service: no address")
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: addresses[0].String()},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(address.Unmap().AsSlice()))
	}
	return template, nil
}

// serviceKey returns the key that a request is for, and that has signed it.
func serviceKey(csr []byte) (*ecdsa.PublicKey, error) {
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
	public, ok := parsed.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("for a " + parsed.PublicKeyAlgorithm.String() + " key, want an ECDSA key of P-256")
	}
	return public, nil
}
