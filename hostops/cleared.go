package hostops

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"

	"tenks/raftfsm/state"
)

// Keys of what is remembered of the host itself.
var (
	keyClearing = []byte("clearing") // savedClearing as JSON
	keySwitched = []byte("switched") // there may be something of ours in Open vSwitch
)

// savedClearing says that this host is to have nothing of the mesh's.
type savedClearing struct {
	// Hypervisor is who was cleared: what another peer of this host's makes is none of it.
	Hypervisor string `json:"hypervisor"`
	// LeavingIndex is a log index at which the mesh knew that the peer leaves; 0: it was not
	// seen to.
	LeavingIndex uint64 `json:"leaving_index,omitempty"`
}

// clearing returns what is remembered; nil: the host was not cleared.
func (s *store) clearing() (*savedClearing, error) {
	var out *savedClearing
	err := s.db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket(bucketHost).Get(keyClearing)
		if value == nil {
			return nil
		}
		out = &savedClearing{}
		if err := json.Unmarshal(value, out); err != nil {
			return fmt.Errorf("clearing: decode: %w", err)
		}
		return nil
	})
	return out, err
}

// putClearing remembers that the host is cleared; nil: that it is not.
func (s *store) putClearing(c *savedClearing) error {
	if c == nil {
		return s.putHost(keyClearing, nil)
	}
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("clearing: encode: %w", err)
	}
	return s.putHost(keyClearing, value)
}

// putHost writes a value; nil deletes it.
func (s *store) putHost(key, value []byte) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if value == nil {
			return tx.Bucket(bucketHost).Delete(key)
		}
		return tx.Bucket(bucketHost).Put(key, value)
	})
	if err != nil {
		return fmt.Errorf("%s: write: %w", key, err)
	}
	return nil
}

// loadCleared goes on with a clearing that was begun by an agent which has ended.
func (h *Host) loadCleared() error {
	c, err := h.store.clearing()
	if err != nil || c == nil {
		return err
	}
	if c.Hypervisor != h.cfg.Hypervisor {
		return h.store.putClearing(nil)
	}
	h.clear.begin()
	return nil
}

// readmitted reports whether a host that was cleared is no longer: the mesh knew that it leaves,
// and has admitted it since. A state that is older than its leaving says nothing.
func (h *Host) readmitted(ctx context.Context, snap *state.Snapshot) bool {
	c, err := h.store.clearing()
	if err != nil || c == nil {
		return false
	}
	p, known := snap.Peer(h.cfg.Hypervisor)
	switch {
	case !known || p.Removed || snap.Index() <= c.LeavingIndex:
	case p.Leaving && c.LeavingIndex == 0:
		c.LeavingIndex = snap.Index()
		h.complain(ctx, "clearing", h.store.putClearing(c))
	case !p.Leaving && c.LeavingIndex != 0:
		if err := h.store.putClearing(nil); err != nil {
			h.complain(ctx, "clearing", err)
			return false
		}
		h.log.InfoContext(ctx, "this host was admitted again: it makes nodes", "index", snap.Index())
		h.clear.end()
		return true
	}
	return false
}

// Cleared reports whether this host makes nothing, because it was to leave the mesh.
func (h *Host) Cleared() bool { return h.clear.wanted() }

// end makes the host one that was not cleared.
func (c *clearing) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.left = nil, nil
}

// switchMemory remembers over restarts whether there may be something of ours in Open vSwitch,
// for when that does not answer.
type switchMemory struct {
	mu sync.Mutex // guards is, and is held while the file is written
	is bool
}

func (m *switchMemory) used() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.is
}

func (m *switchMemory) load(s *store) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.is = tx.Bucket(bucketHost).Get(keySwitched) != nil
		return nil
	})
}

// set is on disk when it returns.
func (m *switchMemory) set(s *store, used bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.is == used {
		return nil
	}
	var value []byte
	if used {
		value = []byte("1")
	}
	if err := s.putHost(keySwitched, value); err != nil {
		return err
	}
	m.is = used
	return nil
}
