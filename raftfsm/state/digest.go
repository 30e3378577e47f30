package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Digest returns a hash, in hex, of every row in order, real secrets included, but
// not of the index: two peers that applied the same log have the same digest, and a
// command that was refused leaves it as it was.
func (s *Snapshot) Digest() string {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(fmt.Sprintf("state: digest: %v", err))
	}
	d := s.Dump()
	d.Index = 0
	sum := sha256.New()
	// Every field of every row can be encoded, and a hash takes whatever is written.
	if err := mode.NewEncoder(sum).Encode(d); err != nil {
		panic(fmt.Sprintf("state: digest: %v", err))
	}
	return hex.EncodeToString(sum.Sum(nil))
}
