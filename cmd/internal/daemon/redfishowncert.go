package daemon

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"tenks/cluster/pki"
)

// ownCertificates are those of nodes' own addresses, made when a client asks for the
// first time: one with all addresses would be too large for every handshake, and be made
// anew with each node that comes. They are not kept.
type ownCertificates struct {
	// mu guards all; each entry has a lock of its own for as long as it is made.
	mu  sync.Mutex
	all map[netip.Addr]*ownCertificate
}

// made is the certificate of an address, or nil: it is made for its first client.
func (o *ownCertificates) made(address netip.Addr) *tls.Certificate {
	one := o.of(address)
	if !one.mu.TryLock() {
		return nil // it is being made
	}
	defer one.mu.Unlock()
	return one.pair
}

type ownCertificate struct {
	mu   sync.Mutex // guards what follows
	pair *tls.Certificate
	// again is when a certificate that the mesh's authority did not sign is tried anew.
	again time.Time
}

func (o *ownCertificates) of(address netip.Addr) *ownCertificate {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[netip.Addr]*ownCertificate{}
	}
	one, ok := o.all[address]
	if !ok {
		one = &ownCertificate{}
		o.all[address] = one
	}
	return one
}

// of returns a certificate for a node's own address: the file's, if agent.yml names one, one
// of the mesh's authority, or, while nobody can sign, one of its own.
func (s *serviceCertificate) of(ctx context.Context, address netip.Addr) (*tls.Certificate, error) {
	if s.a.opt.Config.BMC.TLSCert != "" {
		if s.current.Load() == nil { // the mesh's service, which reads it now and then, may be off
			if err := s.refresh(ctx); err != nil {
				return nil, err
			}
		}
		return s.get(nil)
	}
	one := s.own.of(address)
	one.mu.Lock()
	defer one.mu.Unlock()
	now := time.Now()
	if one.pair != nil && (now.Before(one.again) || one.again.IsZero() && s.isOurs(one.pair.Leaf) && now.Before(pki.RenewAt(one.pair.Leaf, 0.5))) {
		return one.pair, nil
	}
	pair, signed, err := s.make(ctx, address)
	if err != nil {
		return nil, err
	}
	one.again = time.Time{}
	if !signed {
		one.again = now.Add(certificateSoon)
	}
	// What a former authority signed is better than what nobody did.
	if signed || one.pair == nil || !now.Before(one.pair.Leaf.NotAfter) {
		one.pair = pair
	}
	return one.pair, nil
}

// make makes a certificate for an address; signed says that the mesh's authority did.
func (s *serviceCertificate) make(ctx context.Context, address netip.Addr) (pair *tls.Certificate, signed bool, err error) {
	key, keyPEM, err := s.key()
	if err != nil {
		return nil, false, err
	}
	csr, err := pki.NewServiceRequest(key)
	if err != nil {
		return nil, false, err
	}
	chain, err := s.signed(ctx, csr, address, http.Header{redfishAddress: {address.String()}})
	signed = err == nil
	if !signed {
		if chain, err = pki.SelfSigned(key, []netip.Addr{address}, time.Now()); err != nil {
			return nil, false, err
		}
	}
	made, err := tls.X509KeyPair(chain, keyPEM)
	return &made, signed, err
}
