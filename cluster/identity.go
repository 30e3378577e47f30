package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tenks/cluster/pki"
)

// keyFile holds the peer's private key (PKCS #8 in PEM), mode 0600.
const keyFile = "peer.key"

// makeIdentity makes the peer's key, unless an earlier try did, and returns its ID.
func makeIdentity(dir string) (string, error) {
	path := filepath.Join(dir, keyFile)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return readIdentity(dir)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("peer key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("peer key: %w", err)
	}
	if err := writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return "", fmt.Errorf("peer key: %w", err)
	}
	return readIdentity(dir)
}

// readIdentity returns the peer's ID: a hash of its public key, never an address or
// a host name, which change, nor a machine ID, which cloned hosts share.
func readIdentity(dir string) (string, error) {
	key, err := readKey(dir)
	if err != nil {
		return "", err
	}
	return pki.PeerID(key.Public())
}

func readKey(dir string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("peer key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("peer key: %s: no PEM block", keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("peer key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("peer key: a %T, want an Ed25519 key", parsed)
	}
	return key, nil
}

// writeFile writes a file of mode 0600 whole or not at all, and durably.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already if all went well
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ID returns the ID of the peer whose mesh directory it is.
func ID(dir string) (string, error) { return readIdentity(dir) }
