package state

import (
	"fmt"
	"io"
)

const hidden = "(hidden)"

// Secret is a text that must not be seen in a log, event, plan or API answer: it
// prints and marshals (JSON, YAML, text) as "(hidden)". Only the replicated
// state's own binary encoding and Reveal carry the real value.
type Secret struct{ value string }

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the real value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == "" }

// String returns "(hidden)", or nothing for an empty secret.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return hidden
}

// Format prints the same whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalBinary carries the real value: it is what the log and snapshots hold.
func (s Secret) MarshalBinary() ([]byte, error) { return []byte(s.value), nil }

// UnmarshalBinary is the inverse of MarshalBinary.
func (s *Secret) UnmarshalBinary(b []byte) error {
	s.value = string(b)
	return nil
}
