package driver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// digestVersion changes when the same Spec must be made anew, because what
// drivers make of it changed.
const digestVersion = "1"

// Digest identifies what the node consists of: equal specs, whatever their epoch
// and boot order, have equal digests. A Setup that is zero is not part of it. It is stable over releases unless
// digestVersion changes.
func (s Spec) Digest() string {
	s.Epoch = 0
	s.Boot.Device, s.Boot.Persistent, s.Boot.EFI = "", false, false
	b, err := json.Marshal(s)
	if err != nil { // only strings and numbers: cannot happen
		panic(fmt.Sprintf("digest of node %s: %v", s.UUID, err))
	}
	sum := sha256.Sum256(append([]byte(digestVersion), b...))
	return hex.EncodeToString(sum[:12])
}
