package hostops

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// keySetup is where a chassis' memory has what clients of its BMC changed of the hardware.
// Once there was something it is never forgotten, but said to be nothing: what is there
// has to reach the driver before the next start.
const keySetup = "hostops/setup"

// keptSetup is a Setup as the memory has it.
type keptSetup struct {
	driver.Setup
	// Made is the newest number of a RAIDVolume.
	Made uint64 `json:"made_last,omitempty"`
	// Past are volumes that were set.
	Past []driver.RAIDVolume `json:"past,omitempty"`
}

func decodeSetup(kept []byte) keptSetup {
	var s keptSetup
	if kept != nil && json.Unmarshal(kept, &s) != nil {
		return keptSetup{} // not written by us
	}
	return s
}

// setup returns what clients changed of the node's hardware, from memory; it is the
// caller's.
func (c *Chassis) setup() driver.Setup { return decodeSetup(c.Recall(keySetup)).Setup }

// changeSetup has change work on what clients changed of the node's hardware, keeps it, and
// has the reconciler carry it out soon. A start that comes after it waits for that; a guest
// that runs has it from its next start, or restart, on. An error of change changes nothing.
// Other errors: state.ErrBusy, state.ErrNotFound.
func (c *Chassis) changeSetup(ctx context.Context, change func(*driver.Setup) error) error {
	return c.changeKeptSetup(ctx, func(k *keptSetup) error { return change(&k.Setup) })
}

func (c *Chassis) changeKeptSetup(ctx context.Context, change func(*keptSetup) error) error {
	select {
	case c.setting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.setting }()
	// What it takes along has been read.
	if err := c.host.leaving(c.uuid); err != nil {
		return fmt.Errorf("node %s: %w", c.uuid, err)
	}
	old := c.Recall(keySetup)
	s := decodeSetup(old)
	if err := change(&s); err != nil {
		return err
	}
	if old == nil && s.IsZero() {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("node %s: setup: %w", c.uuid, err)
	}
	if err := c.Keep(ctx, keySetup, b); err != nil {
		return err
	}
	c.host.wakeSoon()
	return nil
}

// carriedOut says that the driver's node has what was kept.
func (c *Chassis) carriedOut(kept []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carried = kept
}

// awaitSetup says why a start has to wait: its driver does not know yet what was changed. It
// returns what the guest is going to have.
func (c *Chassis) awaitSetup() (fingerprint string, err error) {
	c.mu.Lock()
	kept, carried := c.memory[keySetup], c.carried
	c.mu.Unlock()
	if kept != nil && !bytes.Equal(kept, carried) {
		c.host.wakeSoon()
		return "", fmt.Errorf("%w: what was changed of its hardware is being carried out", state.ErrBusy)
	}
	return decodeSetup(kept).Print(), nil
}

// outdated reports whether what was changed since the guest was started waits for a new
// start. Firmware reads its setup with each restart; c.mu is held.
func (c *Chassis) outdated() bool {
	return c.row.Setup != decodeSetup(c.memory[keySetup]).Print()
}
