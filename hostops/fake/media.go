package fake

import (
	"context"
	"fmt"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// idle is the part of its CPUs that a guest uses which has nothing to do: one in idle.
const idle = 50

// SetMedia implements driver.Driver.
func (d *Driver) SetMedia(ctx context.Context, uuid string, slot driver.Slot, path string) error {
	if slot != driver.SlotCD && slot != driver.SlotUSB {
		return fmt.Errorf("fake: slot %q: %w", slot, state.ErrUnsupported)
	}
	d.mu.Lock()
	n, err := d.mine(uuid)
	same := err == nil && *n.slot(slot) == path
	d.mu.Unlock()
	if err != nil || same {
		return err
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	return d.change(func() ([]driver.Event, error) {
		n, err := d.mine(uuid)
		if err != nil {
			return nil, err
		}
		*n.slot(slot) = path
		return []driver.Event{{Type: driver.EventChanged, UUID: uuid}}, nil
	})
}

func (n *node) slot(slot driver.Slot) *string {
	if slot == driver.SlotUSB {
		return &n.USB
	}
	return &n.Media
}

// Loads implements driver.Driver.
func (d *Driver) Loads(context.Context) ([]driver.Load, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []driver.Load
	for uuid, n := range d.nodes {
		if n.Mesh != d.mesh || n.Power != state.PowerOn || n.Running == nil {
			continue
		}
		vcpus := n.Running.Machine.VCPUs
		out = append(out, driver.Load{UUID: uuid, CPU: time.Since(n.Began) * time.Duration(vcpus) / idle, VCPUs: vcpus})
	}
	return out, nil
}
