package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// ErrKey is what Join fails with if a peer answered whose keys do not fit ours.
var ErrKey = errors.New("the gossip keys of this peer and of the mesh do not fit")

// keys is the ring of keys. Those who decrypt read memberlist's ring without a lock
// while it changes; set only changes it in ways that this bears.
type keys struct {
	ring *memberlist.Keyring
	mu   sync.Mutex // serialises set
}

func validateKeys(list [][]byte) error {
	if len(list) == 0 {
		return errors.New("keys: none")
	}
	for i, k := range list {
		if len(k) != keySize {
			return fmt.Errorf("key %d: %d bytes, want %d", i+1, len(k), keySize)
		}
	}
	return nil
}

func newKeys(list [][]byte) (*keys, error) {
	ring, err := memberlist.NewKeyring(cloneKeys(list), slices.Clone(list[0]))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &keys{ring: ring}, nil
}

func cloneKeys(list [][]byte) [][]byte {
	var out [][]byte
	for _, k := range list {
		out = append(out, slices.Clone(k))
	}
	return out
}

// SetKeys changes the ring: the first key encrypts, every key decrypts, and those that
// are not listed go. It may be repeated. Peers that lack the first key do not hear
// this one any more, so a new key first goes to the end of everybody's list. Errors:
// no key, or one that is not 32 bytes; then nothing changes.
func (g *Gossip) SetKeys(list [][]byte) error {
	if err := validateKeys(list); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	if err := g.keys.set(cloneKeys(list)); err != nil {
		return fmt.Errorf("gossip: keys: %w", err)
	}
	return nil
}

// set removes keys only from the end of the ring, because memberlist's RemoveKey moves
// the keys behind the removed one while others read them. In between, no key encrypts
// that is neither in the old list nor the first of the new one.
func (k *keys) set(list [][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(list), func(key []byte) bool { return !contains(k.ring.GetKeys(), key) })
	if len(kept) == 0 {
		kept = list[:1]
		if err := k.ring.AddKey(list[0]); err != nil {
			return err
		}
	}
	for _, key := range slices.Backward(kept) { // then they are the ring's first, in this order
		if err := k.ring.UseKey(key); err != nil {
			return err
		}
	}
	for have := k.ring.GetKeys(); !contains(list, have[len(have)-1]); have = k.ring.GetKeys() {
		if err := k.ring.RemoveKey(have[len(have)-1]); err != nil {
			return err
		}
	}
	for _, key := range list {
		if err := k.ring.AddKey(key); err != nil {
			return err
		}
	}
	return k.ring.UseKey(list[0])
}

func contains(list [][]byte, key []byte) bool {
	return slices.ContainsFunc(list, func(k []byte) bool { return bytes.Equal(k, key) })
}
