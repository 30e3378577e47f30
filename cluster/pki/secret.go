package pki

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
)

// hidden is what is printed in place of a secret.
const hidden = "(hidden)"

// Secret is what a token proves itself with. Printed or marshalled, also within
// another value's exported fields, it is "(hidden)". A [16]byte may be assigned to it
// and it to one: that prints.
type Secret [16]byte

// NewSecret draws a token's ID (8 bytes in lower-case hexadecimal) and secret.
func NewSecret(random io.Reader) (id string, secret Secret, err error) {
	var name [idSize]byte
	if _, err := io.ReadFull(random, name[:]); err != nil {
		return "", Secret{}, fmt.Errorf("token: draw an ID: %w", err)
	}
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return "", Secret{}, fmt.Errorf("token: draw a secret: %w", err)
	}
	return hex.EncodeToString(name[:]), secret, nil
}

// Format prints the same whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText gives what Format prints, also in JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// secretDomain keeps the hash from being one of the same bytes for something else. It
// never changes: hashes are in the log.
const secretDomain = "tenks join token secret 1\x00"

// HashSecret returns what the log keeps of a secret. The secret is random, so that
// nobody finds it from a plain hash.
func HashSecret(secret Secret) [32]byte {
	return sha256.Sum256(append([]byte(secretDomain), secret[:]...))
}

// SameHash compares two hashes in a time that tells nothing of where they differ. What
// is no hash, such as nothing at all, is the same as nothing.
func SameHash(a, b []byte) bool {
	return len(a) == sha256.Size && subtle.ConstantTimeCompare(a, b) == 1
}
