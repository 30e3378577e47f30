//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// imageFile is the file of this host that an image is, or will be once it was fetched. Who
// needs it records that before.
func imageFile(pool, image, checksum string) string {
	if isURL(image) {
		return fetchedPath(pool, image, checksum)
	}
	return image
}

// bring fetches an image to its file, if it is to be, and checks it. One that was fetched once is
// never deleted here, whatever became of it: disks are differences to it.
func (d *Driver) bring(ctx context.Context, image, file, checksum string) error {
	if isURL(image) && !fileExists(file) {
		err := d.jobs.run(ctx, "fetch "+image+" to "+file, func(ctx context.Context, tell telling) error {
			return fetch{url: image, to: file, stall: fetchStall, room: roomIn, tell: tell, check: func(ctx context.Context, file string) error {
				if checksum == "" {
					return nil
				}
				err := d.sums.check(ctx, file, checksum)
				if wrong := (wrongSum{}); errors.As(err, &wrong) { // the file's name says nothing to people
					return wrong
				}
				return err
			}}.image(ctx)
		})
		if err != nil {
			return err
		}
	}
	if checksum == "" {
		return nil
	}
	return d.jobs.run(ctx, "check that "+file+" has "+checksum, func(ctx context.Context, _ telling) error { return d.sums.check(ctx, file, checksum) })
}

// makeFile makes a volume that is not there.
func (d *Driver) makeFile(ctx context.Context, s *session, rec *record, i int) error {
	v := &rec.Volumes[i]
	switch {
	case v.Group != "":
		if err := d.makeLV(s, rec, i); err != nil || !slices.Contains(rec.Filling, v.Name) {
			return err
		}
	case v.Image == "":
		return makeVolume(ctx, *v)
	}
	base := imageFile(rec.Pool, v.Image, v.Checksum)
	if base != v.Image && base != v.Base {
		rec.Volumes = slices.Clone(rec.Volumes) // those that there are are the record's that was put
		v = &rec.Volumes[i]
		v.Base = base
		if err := d.records.put(*rec); err != nil {
			return err
		}
	}
	if err := d.bring(ctx, v.Image, base, v.Checksum); err != nil {
		return err
	}
	one := *v
	if one.Group != "" {
		return d.fillLV(ctx, rec, i)
	}
	if !one.Copy {
		return makeVolume(ctx, one)
	}
	return d.jobs.run(ctx, copyKey(one.Path), func(ctx context.Context, _ telling) error { return makeVolume(ctx, one) })
}

// copyKey names what copies something to a volume's file: an image, or what came from another host.
func copyKey(path string) string { return "copy to " + path }

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

// settleCDROMs sees to the files in a node's drives, and that they are in its record.
func (d *Driver) settleCDROMs(ctx context.Context, rec *record, spec driver.Spec) error {
	all := spec.Machine.Hardware.CDROMs
	var files []string
	for _, c := range all {
		files = append(files, imageFile(rec.Pool, c.Image, c.Checksum))
	}
	before := slices.DeleteFunc(slices.Clone(rec.CDROMs), func(file string) bool { return slices.Contains(files, file) })
	rec.CDROMs = slices.Concat(files, before) // until the domain has others
	if err := d.records.put(*rec); err != nil {
		return err
	}
	for i, file := range files {
		err := d.bring(ctx, all[i].Image, file, all[i].Checksum)
		if err == nil {
			_, err = readImage(file)
		}
		if err != nil {
			return fmt.Errorf("node %s: CD-ROM: %w", rec.Name, err)
		}
	}
	rec.CDROMs = files
	return d.records.put(*rec)
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

// sweepImages deletes fetched images of a pool that no node needs any longer, and no domain of
// anybody's. The pool's directory goes later.
func (d *Driver) sweepImages(s *session, pool string) {
	files, err := os.ReadDir(fetchedDir(pool))
	if err != nil {
		return // there are none
	}
	used, err := imagesInUse(pool, d.records.list())
	if err != nil {
		return // the next removal tries again
	}
	var idle []string
	for _, f := range files {
		if file := filepath.Join(fetchedDir(pool), f.Name()); !used[strings.TrimSuffix(file, unfinished(""))] {
			idle = append(idle, file)
		}
	}
	if len(idle) > 0 { // else libvirt is not asked for nothing
		theirs, err := filesOfDomains(s)
		if err != nil {
			return // as above
		}
		idle = slices.DeleteFunc(idle, func(file string) bool { return needs(theirs, file) })
	}
	for _, file := range idle {
		_ = os.Remove(file) // as above
	}
	_ = os.Remove(fetchedDir(pool)) // if it is empty
}

// filesOfDomains are the files that all domains of the host have as disks or media, running or
// not, and those that they are differences to.
func filesOfDomains(s *session) ([]string, error) {
	doms, err := s.conn.ListAllDomains(0)
	if err != nil {
		return nil, fmt.Errorf("libvirt: list domains: %w", err)
	}
	defer free(doms)
	var out []string
	for i := range doms {
		for _, flags := range []lv.DomainXMLFlags{0, lv.DOMAIN_XML_INACTIVE} {
			text, err := doms[i].GetXMLDesc(flags)
			if errors.Is(err, lv.ERR_NO_DOMAIN) {
				continue // it went meanwhile
			}
			if err != nil {
				return nil, err
			}
			files, volumes, err := filesIn(text)
			if err != nil {
				return nil, err
			}
			for _, v := range volumes {
				if path, err := volumePath(s, v[0], v[1]); err == nil { // a pool that is off says nothing
					files = append(files, path)
				}
			}
			for _, file := range files {
				out = append(out, chainOf(file)...)
			}
		}
	}
	return out, nil
}
