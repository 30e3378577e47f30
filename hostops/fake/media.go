package fake

import (
	"context"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// idle is the part of its CPUs that a guest uses which has nothing to do: one in idle.
const idle = 50

// SetMedia implements driver.Driver.
func (d *Driver) SetMedia(ctx context.Context, uuid, path string) error {
	d.mu.Lock()
	n, err := d.mine(uuid)
	same := err == nil && n.Media == path
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
		n.Media = path
		return []driver.Event{{Type: driver.EventChanged, UUID: uuid}}, nil
	})
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
