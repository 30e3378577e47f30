package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tenks/cluster/pki"
)

// What a peer keeps of the mesh beside its key and its log, so that it finds back
// after a reboot: all of mode 0600.
const (
	certFile = "peer.crt"
	meshFile = "mesh.json"
)

// membership is mesh.json: what a peer must know to reach the others.
type membership struct {
	Mesh string `json:"mesh"`
	Generation
	// Roots are the authorities' certificates in PEM.
	Roots string `json:"roots"`
	// Gossip are the keys of the gossip ring; the first one encrypts.
	Gossip [][]byte `json:"gossip"`
	// Peers are how the others were reached when this was written.
	Peers []Peer `json:"peers"`
}

func readMembership(dir string) (membership, error) {
	var m membership
	b, err := os.ReadFile(filepath.Join(dir, meshFile))
	if err != nil {
		return m, fmt.Errorf("%s: %w", meshFile, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%s: %w", meshFile, err)
	}
	return m, nil
}

func (m membership) write(dir string) error {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, meshFile), b)
}

// usable says what keeps a peer from being in a mesh with what it was given. Written
// down, it would be found out at the next start.
func (m membership) usable(mesh, peer string, certificate []byte, now time.Time) error {
	if m.Mesh != mesh {
		return fmt.Errorf("answer: of mesh %q, want %s", m.Mesh, mesh)
	}
	roots, err := pki.ParseBundle([]byte(m.Roots))
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(certificate); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("answer: certificate: %w", err)
		}
		chain = append(chain, c)
	}
	id, err := pki.Verify(chain, pki.Verifier{Roots: roots, Mesh: mesh, Now: now})
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if id.Peer != peer {
		return fmt.Errorf("answer: a certificate of peer %s, want %s", id.Peer, peer)
	}
	return nil
}

// readCertificate returns the peer's certificate with its key. The authorities that
// signed it follow it, because who joins knows only their hash.
func readCertificate(dir string, roots []*x509.Certificate) (*tls.Certificate, error) {
	key, err := readKey(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c := &tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		c.Certificate = append(c.Certificate, block.Bytes)
	}
	if len(c.Certificate) == 0 {
		return nil, fmt.Errorf("certificate: %s holds none", certFile)
	}
	if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	for _, root := range roots {
		c.Certificate = append(c.Certificate, root.Raw)
	}
	return c, nil
}

// networked reports whether the directory holds what is needed to talk to peers. A
// mesh that an older version made holds neither file; one alone was lost, which
// whoever reads it says.
func networked(dir string) bool {
	for _, name := range []string{certFile, meshFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Founding is what the first peer of a mesh makes, and must write into the log.
type Founding struct {
	// Peer is the ID of the first peer.
	Peer string
	// AuthorityCert and AuthorityKey are in PEM.
	AuthorityCert, AuthorityKey []byte
	// GossipKey is 32 bytes.
	GossipKey []byte
}

// found makes the mesh's authority and keys and this peer's certificate.
func found(dir, mesh string, now time.Time) (Founding, error) {
	id, err := makeIdentity(dir)
	if err != nil {
		return Founding{}, err
	}
	f := Founding{Peer: id}
	authority, err := pki.NewAuthority(mesh, now)
	if err != nil {
		return f, err
	}
	f.AuthorityCert, f.AuthorityKey = authority.PEM()
	if f.GossipKey, err = newGossipKey(); err != nil {
		return f, err
	}
	key, err := readKey(dir)
	if err != nil {
		return f, err
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		return f, err
	}
	cert, err := authority.Issue(pki.Request{CSR: request, Mesh: mesh, Generation: 1, Now: now})
	if err != nil {
		return f, err
	}
	m := membership{Mesh: mesh, Generation: Generation{Number: 1}, Roots: string(f.AuthorityCert), Gossip: [][]byte{f.GossipKey}}
	return f, errors.Join(writeFile(filepath.Join(dir, certFile), cert), m.write(dir))
}
