package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// scheme is the one of the URIs that name meshes and peers in certificates:
// tenks://MESH and tenks://MESH/peer/PEER.
const scheme = "tenks"

// PeerID returns the ID of the peer that holds a key: the first 16 bytes of the
// SHA-256 of the public key (PKIX SPKI), in lower-case hexadecimal.
func PeerID(public crypto.PublicKey) (string, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("peer key: %w", err)
	}
	return idOf(spki), nil
}

// idOf is PeerID of an encoded key.
func idOf(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:16])
}

// Identity is whom a certificate names.
type Identity struct {
	// Mesh is a UUID in its usual form.
	Mesh string
	// Peer is a PeerID.
	Peer string
}

// IdentityOf returns whom a certificate names, and checks that the peer's ID is that
// of the certificate's own key. It says nothing about who signed it or when it is
// valid: that is Verify's.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	mesh, path, err := nameOf(cert)
	if err != nil {
		return Identity{}, err
	}
	peer, ok := strings.CutPrefix(path, "/peer/")
	if !ok {
		return Identity{}, fmt.Errorf("certificate of %q: names no peer", cert.URIs[0])
	}
	if own := idOf(cert.RawSubjectPublicKeyInfo); peer != own {
		return Identity{}, fmt.Errorf("certificate of peer %q: its key is that of peer %s", peer, own)
	}
	return Identity{Mesh: mesh, Peer: peer}, nil
}

// nameOf returns the mesh that a certificate's only URI names, and what follows it.
func nameOf(cert *x509.Certificate) (mesh, path string, err error) {
	if len(cert.URIs) != 1 {
		return "", "", fmt.Errorf("certificate: has %d URIs, want one", len(cert.URIs))
	}
	u := cert.URIs[0]
	// Compared as a whole: no port, user, query or second spelling slips through.
	if u.String() != uri(u.Host, u.Path).String() {
		return "", "", fmt.Errorf("certificate of %q: not a name that Tenks gives", u)
	}
	if _, err := parseMesh(u.Host); err != nil {
		return "", "", fmt.Errorf("certificate of %q: %w", u, err)
	}
	return u.Host, u.Path, nil
}

func uri(mesh, path string) *url.URL { return &url.URL{Scheme: scheme, Host: mesh, Path: path} }

// parseMesh accepts a mesh's ID in its one usual form: lower case, with dashes.
func parseMesh(mesh string) (uuid.UUID, error) {
	id, err := uuid.Parse(mesh)
	if err != nil || id.String() != mesh {
		return uuid.Nil, fmt.Errorf("mesh %q: not a UUID in lower case", mesh)
	}
	return id, nil
}

// generationPrefix begins the subject's organisational unit in a peer's certificate.
const generationPrefix = "generation "

// GenerationOf returns the mesh's generation at the time when a peer's certificate
// was issued.
func GenerationOf(cert *x509.Certificate) (uint64, error) {
	for _, unit := range cert.Subject.OrganizationalUnit {
		if digits, ok := strings.CutPrefix(unit, generationPrefix); ok {
			n, err := strconv.ParseUint(digits, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("certificate: %s: %w", unit, err)
			}
			return n, nil
		}
	}
	return 0, errors.New("certificate: names no generation")
}
