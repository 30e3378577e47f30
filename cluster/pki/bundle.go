package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseBundle reads the authorities' certificates that a peer trusts: one or more, in
// PEM. It refuses the whole text for anything else in it, such as a peer's
// certificate, a key, or a damaged block: a root that is lost silently is found out
// when half of the mesh is foreign. Text in front of a block is a comment.
func ParseBundle(text []byte) ([]*x509.Certificate, error) {
	ders, err := blocks(text, certBlock)
	if err != nil {
		return nil, fmt.Errorf("bundle of authorities: %w", err)
	}
	certs := make([]*x509.Certificate, 0, len(ders))
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("bundle of authorities: certificate %d: %w", i+1, err)
		}
		if !isAuthority(cert) {
			return nil, fmt.Errorf("bundle of authorities: certificate %d: %q is not an authority's", i+1, cert.Subject)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// JoinBundle returns certificates in PEM, in their order: a bundle of roots, or a
// peer's chain.
func JoinBundle(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw}))
	}
	return out.Bytes()
}

// blocks returns the contents of one or more PEM blocks of a kind, and refuses a text
// in which there is another kind, or something that is not whole.
func blocks(text []byte, kind string) ([][]byte, error) {
	begun := bytes.Count(text, []byte("-----BEGIN "))
	var out [][]byte
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("a PEM block %q, want %q", block.Type, kind)
		}
		out, text = append(out, block.Bytes), rest
	}
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("no PEM block %q", kind)
	case len(out) != begun || len(bytes.TrimSpace(text)) > 0:
		// pem.Decode skips what it does not understand.
		return nil, errors.New("a PEM block is damaged or cut off")
	}
	return out, nil
}
