package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// A fake node's disks are sparse files that nobody reads or writes but tests. They are
// made when they are first asked for.

func (d *Driver) disk(node, disk string) string {
	return filepath.Join(filepath.Dir(d.file), "disks", node+disk)
}

func (d *Driver) stage(name string) string {
	return filepath.Join(filepath.Dir(d.file), "disks", name+".move")
}

// Luggage implements driver.Mover.
func (d *Driver) Luggage(_ context.Context, uuid string) (driver.Luggage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.mine(uuid)
	switch {
	case err != nil:
		return driver.Luggage{}, err
	case n.Staged:
		return driver.Luggage{}, fmt.Errorf("driver fake: node %s: not all of it is here: %w", uuid, state.ErrNotFound)
	case n.Power != state.PowerOff:
		return driver.Luggage{}, fmt.Errorf("driver fake: node %s: it is on: %w", uuid, state.ErrWrongState)
	}
	l := driver.Luggage{Notes: []byte(n.Digest)}
	for _, k := range n.Spec.Disks() {
		path := d.disk(n.Spec.Name, k.Name)
		if err := makeDisk(path, k.CapacityBytes); err != nil {
			return driver.Luggage{}, fmt.Errorf("driver fake: %w", err)
		}
		l.Files = append(l.Files, driver.File{Name: k.Name, Path: path})
	}
	return l, nil
}

func makeDisk(path string, size uint64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(size)), f.Close()) //nolint:gosec // no disk has 2⁶³ bytes
}

// Stage implements driver.Mover.
func (d *Driver) Stage(ctx context.Context, spec driver.Spec) (dir string, err error) {
	d.mu.Lock()
	old, err := d.check(spec)
	imported, staged := old != nil && !old.Staged, old != nil
	d.mu.Unlock()
	if err != nil || imported {
		return "", err
	}
	dir = d.stage(spec.Name)
	if !staged {
		if err := d.begin(ctx); err != nil {
			return "", err
		}
		err = d.change(func() ([]driver.Event, error) {
			d.nodes[spec.UUID] = &node{Mesh: d.mesh, Power: state.PowerOff, Spec: spec, Staged: true}
			return []driver.Event{{Type: driver.EventChanged, UUID: spec.UUID}}, nil
		})
		if err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("driver fake: %w", err)
	}
	return dir, nil
}

// Import implements driver.Mover.
func (d *Driver) Import(ctx context.Context, spec driver.Spec, l driver.Luggage) error {
	d.mu.Lock()
	n, err := d.mine(spec.UUID)
	imported := err == nil && !n.Staged
	d.mu.Unlock()
	if err != nil || imported {
		return err
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	for _, f := range l.Files {
		if !slices.ContainsFunc(spec.Disks(), func(k driver.Disk) bool { return k.Name == f.Name }) {
			continue
		}
		err := os.Rename(filepath.Join(d.stage(spec.Name), f.Name), d.disk(spec.Name, f.Name))
		if _, there := os.Stat(d.disk(spec.Name, f.Name)); err != nil && there != nil {
			return fmt.Errorf("driver fake: node %s: %w", spec.Name, err)
		}
	}
	err = d.change(func() ([]driver.Event, error) {
		n, err := d.mine(spec.UUID)
		if err != nil {
			return nil, err
		}
		n.Spec, n.Digest, n.Staged = spec, spec.Digest(), false
		return []driver.Event{{Type: driver.EventChanged, UUID: spec.UUID}}, nil
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(d.stage(spec.Name))
}

// dropDisks deletes the files of disks that a node no longer has; mu is held.
func (d *Driver) dropDisks(n *node, next driver.Spec) error {
	for _, k := range n.Spec.Disks() {
		if slices.ContainsFunc(next.Disks(), func(o driver.Disk) bool { return o.Name == k.Name }) {
			continue
		}
		if err := os.Remove(d.disk(n.Spec.Name, k.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("driver fake: %w", err)
		}
	}
	return nil
}

// removeFiles deletes what a node has on disk.
func (d *Driver) removeFiles(n *node) error {
	err := os.RemoveAll(d.stage(n.Spec.Name))
	for _, k := range n.Spec.Disks() {
		if e := os.Remove(d.disk(n.Spec.Name, k.Name)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
