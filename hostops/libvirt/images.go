//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// localImage returns the file of this host that an image is, fetched and checked.
func (d *Driver) localImage(ctx context.Context, rec record, image, checksum string) (string, error) {
	file := image
	if isURL(image) {
		file = fetchedPath(rec.Pool, image, checksum)
		if !fileExists(file) {
			if err := d.jobs.run(ctx, "fetch "+image, func(ctx context.Context) error { return fetchImage(ctx, image, file) }); err != nil {
				return "", err
			}
		}
	}
	if checksum == "" {
		return file, nil
	}
	err := d.jobs.run(ctx, "checksum of "+file, func(ctx context.Context) error { return d.sums.check(ctx, file, checksum) })
	if err != nil && !errors.Is(err, state.ErrBusy) && isURL(image) {
		err = errors.Join(fmt.Errorf("%s: %w", image, err), removeFile(file)) // fetched anew the next time
	}
	return file, err
}

// makeFile makes a volume that is not there.
func (d *Driver) makeFile(ctx context.Context, rec *record, i int) error {
	v := &rec.Volumes[i]
	if v.Image == "" {
		return makeVolume(ctx, *v)
	}
	base, err := d.localImage(ctx, *rec, v.Image, v.Checksum)
	if err != nil {
		return err
	}
	if base != v.Image && base != v.Base {
		v.Base = base
		if err := d.records.put(*rec); err != nil {
			return err
		}
	}
	one := *v
	if !one.Copy {
		return makeVolume(ctx, one)
	}
	return d.jobs.run(ctx, copyKey(one), func(ctx context.Context) error { return makeVolume(ctx, one) })
}

func copyKey(v volume) string { return "copy of " + v.Image + " to " + v.Path }

// settleKept looks at a volume that is somebody's.
func settleKept(v *volume) error {
	i, err := os.Stat(v.Path)
	if err != nil {
		return fmt.Errorf("volume %s: is not on this host: %w", v.Path, err)
	}
	v.Block = i.Mode()&os.ModeDevice != 0 && i.Mode()&os.ModeCharDevice == 0
	if !v.Block && !i.Mode().IsRegular() {
		return fmt.Errorf("volume %s: is neither a file nor a block device", v.Path)
	}
	return nil
}

// settleCDROMs returns the files in a node's drives.
func (d *Driver) settleCDROMs(ctx context.Context, rec record, spec driver.Spec) ([]string, error) {
	var out []string
	for _, c := range spec.Machine.Hardware.CDROMs {
		file, err := d.localImage(ctx, rec, c.Image, c.Checksum)
		if err != nil {
			return nil, fmt.Errorf("node %s: CD-ROM: %w", rec.Name, err)
		}
		if _, err := readImage(file); err != nil {
			return nil, fmt.Errorf("node %s: CD-ROM: %w", rec.Name, err)
		}
		out = append(out, file)
	}
	return out, nil
}

// placeVolumes puts volumes into the pools that they name.
func placeVolumes(s *session, all []volume) error {
	for i, v := range all {
		if v.Pool == "" || v.Keep {
			continue
		}
		dir, err := poolDir(s, v.Pool)
		if err != nil {
			return err
		}
		all[i].Path = filepath.Join(dir, filepath.Base(v.Path))
	}
	return nil
}

// poolDir is the directory of a storage pool of the operator's.
func poolDir(s *session, name string) (string, error) {
	p, err := s.conn.LookupStoragePoolByName(name)
	if errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		return "", fmt.Errorf("storage pool %s: libvirt has none of this name on this host: see virsh pool-list --all", name)
	}
	if err != nil {
		return "", fmt.Errorf("storage pool %s: %w", name, err)
	}
	defer p.Free() //nolint:errcheck // a handle of ours
	text, err := p.GetXMLDesc(0)
	if err != nil {
		return "", fmt.Errorf("storage pool %s: %w", name, err)
	}
	var x libvirtxml.StoragePool
	if err := x.Unmarshal(text); err != nil {
		return "", fmt.Errorf("storage pool %s: %w", name, err)
	}
	if !slices.Contains([]string{"dir", "fs", "netfs"}, x.Type) || x.Target == nil || x.Target.Path == "" {
		return "", fmt.Errorf("storage pool %s: is of type %s, want one with files (dir, fs, netfs): %w", name, x.Type, state.ErrUnsupported)
	}
	return x.Target.Path, nil
}

// sweepImages deletes fetched images of a pool that no node needs any longer. The pool's
// directory goes later.
func (d *Driver) sweepImages(pool string) {
	files, err := os.ReadDir(fetchedDir(pool))
	if err != nil {
		return // there are none
	}
	used := map[string]bool{}
	for _, r := range d.records.list() {
		for _, v := range r.Volumes {
			used[v.Base] = true
		}
		for _, f := range r.CDROMs {
			used[f] = true
		}
	}
	for _, f := range files {
		if file := filepath.Join(fetchedDir(pool), f.Name()); !used[file] {
			_ = os.Remove(file) // the next removal tries again
		}
	}
	_ = os.Remove(fetchedDir(pool)) // if it is empty
}
