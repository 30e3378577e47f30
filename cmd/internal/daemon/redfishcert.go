package daemon

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tenks/cluster/pki"
)

const (
	// certificateLook is how often the certificate is looked at; sooner while it is not one of
	// the mesh's authority.
	certificateLook, certificateSoon = time.Minute, 5 * time.Second
	// maxCSR bounds a request for a certificate, and maxChain an answer.
	maxCSR, maxChain = 4 << 10, 64 << 10
)

// serviceCertificate is what the Redfish service shows: the files that agent.yml names,
// or a certificate that the mesh's authority signs. It is safe for concurrent use.
type serviceCertificate struct {
	a       *agent
	current atomic.Pointer[tls.Certificate]
	// wanting says that it is not signed by the mesh's authority, and ought to be.
	wanting atomic.Bool
	// making is held while the key is read or made.
	making sync.Mutex
	// own are those of nodes' own addresses.
	own ownCertificates
}

func (s *serviceCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no certificate yet")
}

// chain implements redfish.Config's Chain: what the node's own address shows, if it has
// one, or the service of this peer.
func (m *meshRedfish) chain(system string) [][]byte {
	pair := m.cert.current.Load()
	snap, _ := m.a.source.Snapshot()
	if n, found := snap.Node(system); found && n.BMCAddress != "" && m.a.opt.Config.BMC.TLSCert == "" {
		pair = nil
		if at, err := netip.ParseAddr(n.BMCAddress); err == nil {
			pair = m.cert.own.made(at)
		}
	}
	if pair == nil {
		return nil
	}
	return pair.Certificate
}

// says is what people are told of it.
func (s *serviceCertificate) says() string {
	c := s.current.Load()
	switch {
	case c == nil:
		return ""
	case s.wanting.Load():
		return ", with a certificate of its own until a peer can sign one"
	}
	return ", certificate until " + c.Leaf.NotAfter.UTC().Format(time.DateOnly)
}

// keep renews the certificate, and reads files anew, until ctx ends.
func (s *serviceCertificate) keep(ctx context.Context) {
	for ctx.Err() == nil {
		wait := certificateLook
		if s.wanting.Load() {
			wait = certificateSoon
		}
		sleep(ctx, wait)
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.a.log.WarnContext(ctx, "the certificate of the Redfish service is not renewed; will retry", "err", err)
		}
	}
}

// refresh makes sure that there is a certificate, and that it is good for a while.
func (s *serviceCertificate) refresh(ctx context.Context) error {
	c := s.a.opt.Config.BMC
	if c.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return fmt.Errorf("bmc.tls_cert, bmc.tls_key: %w", err)
		}
		s.current.Store(&pair)
		return nil
	}
	address, err := netip.ParseAddr(c.Address)
	if err != nil {
		return fmt.Errorf("bmc.address: %w", err)
	}
	if pair, err := tls.LoadX509KeyPair(s.a.paths.BMCCert, s.a.paths.BMCKey); err == nil && s.serves(pair.Leaf, address) {
		if time.Now().Before(pair.Leaf.NotAfter) {
			s.current.Store(&pair)
		}
		if s.isOurs(pair.Leaf) && time.Now().Before(pki.RenewAt(pair.Leaf, 0.5)) {
			return nil
		}
	}
	return s.renew(ctx, address)
}

// serves says that a certificate is for an address.
func (s *serviceCertificate) serves(leaf *x509.Certificate, address netip.Addr) bool {
	return leaf != nil && leaf.VerifyHostname(address.String()) == nil
}

// isOurs says that the authority which signs now has signed it, as far as this peer knows.
func (s *serviceCertificate) isOurs(leaf *x509.Certificate) bool {
	roots := s.a.views.view().Roots
	return len(roots) == 0 || leaf.CheckSignatureFrom(roots[0]) == nil
}

// renew gets a new certificate. While nobody can sign one, what there is must do.
func (s *serviceCertificate) renew(ctx context.Context, address netip.Addr) error {
	key, keyPEM, err := s.key()
	if err != nil {
		return err
	}
	csr, err := pki.NewServiceRequest(key)
	if err != nil {
		return err
	}
	wanting := false
	chain, err := s.signed(ctx, csr, address, nil)
	if err != nil {
		if c := s.current.Load(); c != nil && time.Now().Before(c.Leaf.NotAfter) {
			return err
		}
		if chain, err = pki.SelfSigned(key, []netip.Addr{address}, time.Now()); err != nil {
			return err
		}
		wanting = true
	}
	pair, err := tls.X509KeyPair(chain, keyPEM)
	if err != nil {
		return err
	}
	s.current.Store(&pair)
	s.wanting.Store(wanting)
	if wanting {
		return nil // it is not kept: the next start asks anew
	}
	s.a.log.InfoContext(ctx, "certificate of the Redfish service made", "expires", pair.Leaf.NotAfter)
	return replace(s.a.paths.BMCCert, chain)
}

// signed has the mesh's authority sign, here or at a peer that has it, which is told more
// by headers.
func (s *serviceCertificate) signed(ctx context.Context, csr []byte, address netip.Addr, more http.Header) ([]byte, error) {
	if chain, err := s.a.signService(csr, []netip.Addr{address}); err == nil {
		return chain, nil
	}
	peer := s.a.mesh.LikelyLeader()
	if s.a.mesh.Transport() == nil || peer == "" || peer == s.a.mesh.ID() {
		return nil, errNoLeader
	}
	bounded, cancel := context.WithTimeout(ctx, 2*peerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodPost, "http://"+peer+"/", bytes.NewReader(csr))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, more)
	req.Header.Set(redfishFor, forTLS)
	resp, err := s.a.peerHTTP.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	chain, err := io.ReadAll(io.LimitReader(resp.Body, maxChain))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("peer %s does not sign: %s", peer, resp.Status)
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, fmt.Errorf("peer %s answers with no certificate", peer)
	}
	if leaf, err := x509.ParseCertificate(block.Bytes); err != nil || !s.serves(leaf, address) {
		return nil, fmt.Errorf("peer %s signs for another address", peer)
	}
	return chain, nil
}

// errNoAuthority says that this peer has only its part of the state.
var errNoAuthority = errors.New("this peer does not have the mesh's authority")

// signService returns a chain: the certificate, and the authority's.
func (a *agent) signService(csr []byte, addresses []netip.Addr) ([]byte, error) {
	authority := a.views.view().Authority
	if authority == nil {
		return nil, errNoAuthority
	}
	leaf, err := authority.IssueService(pki.ServiceRequest{CSR: csr, Addresses: addresses, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	return append(leaf, pki.JoinBundle(authority.Certificate())...), nil
}

// sign answers a peer that asks for a certificate: for the addresses that the state has
// of it, whatever it says.
func (m *meshRedfish) sign(w http.ResponseWriter, r *http.Request, peer string) {
	csr, err := io.ReadAll(io.LimitReader(r.Body, maxCSR))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	addresses := m.addressesOf(peer)
	if text := r.Header.Get(redfishAddress); text != "" {
		snap, _ := m.a.source.Snapshot()
		at, own := ownAddress(snap, peer, text)
		if !own {
			http.Error(w, "no node of this peer has that address", http.StatusServiceUnavailable)
			return
		}
		addresses = []netip.Addr{at}
	}
	if len(addresses) == 0 {
		http.Error(w, "this peer's addresses are not known yet", http.StatusServiceUnavailable)
		return
	}
	chain, err := m.a.signService(csr, addresses)
	switch {
	case errors.Is(err, errNoAuthority):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		_, _ = w.Write(chain) // the peer asks again
	}
}

// addressesOf are a peer's: where its BMCs listen first.
func (m *meshRedfish) addressesOf(peer string) []netip.Addr {
	var texts []string
	snap, _ := m.a.source.Snapshot()
	if h, ok := snap.Hypervisor(peer); ok {
		texts = append(texts, h.BMC.Address, h.Address)
	}
	if p, ok := snap.Peer(peer); ok {
		if host, _, err := net.SplitHostPort(p.Address); err == nil {
			texts = append(texts, host)
		}
	}
	var out []netip.Addr
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil && !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}

func (s *serviceCertificate) key() (*ecdsa.PrivateKey, []byte, error) {
	s.making.Lock()
	defer s.making.Unlock()
	return serviceKey(s.a.paths.BMCKey)
}

// serviceKey reads the service's key, or makes one.
func serviceKey(file string) (*ecdsa.PrivateKey, []byte, error) {
	if text, err := os.ReadFile(file); err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if key, ok := parsed.(*ecdsa.PrivateKey); ok {
					return key, text, nil
				}
			}
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("key of the Redfish service: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("key of the Redfish service: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, text, replace(file, text)
}

// replace writes a file of the agent alone, in one step.
func replace(file string, text []byte) error {
	fresh := file + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}
