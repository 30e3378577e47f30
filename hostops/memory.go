package hostops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"go.etcd.io/bbolt"

	"tenks/raftfsm/state"
)

// MaxKept is how large a value of Keep may be, in bytes.
const MaxKept = 64 << 10

// maxKey is how long a key of Keep may be, in bytes.
const maxKey = 256

// Recall returns what was kept under the key, or nil, from memory. The result is not to
// be changed.
func (c *Chassis) Recall(key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.memory[key]
}

// Keep writes value, at most MaxKept bytes, under the key; it is on disk when Keep
// returns. A nil value forgets the key.
func (c *Chassis) Keep(ctx context.Context, key string, value []byte) error {
	if key == "" || len(key) > maxKey || len(value) > MaxKept {
		return fmt.Errorf("node %s: keep %.40q: %d bytes: want at most %d, and a key of at most %d: %w", c.uuid, key, len(value), MaxKept, maxKey, state.ErrUnsupported)
	}
	select {
	case c.saving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.saving }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if old := c.Recall(key); (old == nil) == (value == nil) && bytes.Equal(old, value) {
		return nil
	}
	if c.gone {
		return fmt.Errorf("node %s: %w", c.uuid, state.ErrNotFound)
	}
	if value != nil {
		value = append([]byte{}, value...) // empty is not nil
	}
	if err := c.host.store.keep(c.uuid, key, value); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.memory, key)
		return nil
	}
	c.memory[key] = value
	return nil
}

// allKept returns a copy of the memory.
func (c *Chassis) allKept() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.memory)
}

// adopt makes memory what is kept, in place of all that was.
func (c *Chassis) adopt(memory map[string][]byte) error {
	c.saving <- struct{}{}
	defer func() { <-c.saving }()
	if maps.EqualFunc(memory, c.allKept(), bytes.Equal) {
		return nil
	}
	if c.gone {
		return fmt.Errorf("node %s: %w", c.uuid, state.ErrNotFound)
	}
	if err := c.host.store.adopt(c.uuid, memory); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory = map[string][]byte{}
	maps.Copy(c.memory, memory)
	return nil
}

// bucketMemory has what chassis keep: node UUID, a slash and the key → value.
var bucketMemory = []byte("memory")

func memoryKey(uuid, key string) []byte { return []byte(uuid + "/" + key) }

// memories returns what each node's chassis keeps.
func (s *store) memories() (map[string]map[string][]byte, error) {
	all := map[string]map[string][]byte{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMemory).ForEach(func(k, value []byte) error {
			uuid, key, ok := bytes.Cut(k, []byte("/"))
			if !ok {
				return fmt.Errorf("memory: key %q: has no node", k)
			}
			if all[string(uuid)] == nil {
				all[string(uuid)] = map[string][]byte{}
			}
			all[string(uuid)][string(key)] = bytes.Clone(value) // it is the file's
			return nil
		})
	})
	return all, err
}

// keep writes one value; nil deletes it.
func (s *store) keep(uuid, key string, value []byte) error {
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		if value == nil {
			return tx.Bucket(bucketMemory).Delete(memoryKey(uuid, key))
		}
		return tx.Bucket(bucketMemory).Put(memoryKey(uuid, key), value)
	})
	if err != nil {
		return fmt.Errorf("memory of chassis %s: write: %w", uuid, err)
	}
	return nil
}

// adopt replaces all values of a node.
func (s *store) adopt(uuid string, memory map[string][]byte) error {
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		err := dropMemory(tx, uuid)
		for key, value := range memory {
			err = errors.Join(err, tx.Bucket(bucketMemory).Put(memoryKey(uuid, key), value))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("memory of chassis %s: write: %w", uuid, err)
	}
	return nil
}

// dropMemory deletes all values of a node.
func dropMemory(tx *bbolt.Tx, uuid string) error {
	prefix := memoryKey(uuid, "")
	var keys [][]byte // what a cursor deletes may make it skip the next
	c := tx.Bucket(bucketMemory).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	var err error
	for _, k := range keys {
		err = errors.Join(err, tx.Bucket(bucketMemory).Delete(k))
	}
	return err
}
