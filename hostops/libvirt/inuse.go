package libvirt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// imagesInUse are the images that nodes need: what their records say, and what the files on
// disk are differences to. A file keeps its image, whatever was declared since; one that is
// surplus still has a guest on it; and one without a record is a node's whose record was lost.
func imagesInUse(pool string, all map[string]record) (map[string]bool, error) {
	used := map[string]bool{}
	files, err := os.ReadDir(pool)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, f := range files {
		if f.Type().IsRegular() {
			paths = append(paths, filepath.Join(pool, f.Name()))
		}
	}
	for _, r := range all {
		paths = append(append(paths, r.Surplus...), r.paths()...)
		for _, v := range r.Volumes {
			used[v.Base] = true
		}
		for _, f := range r.CDROMs {
			used[f] = true
		}
	}
	for _, path := range paths {
		if i, err := readImage(path); err != nil || i.Format != formatQcow {
			continue // it is not there yet, or is no difference to anything
		}
		if base, err := backingOf(path); err == nil {
			used[base] = true
		}
	}
	return used, nil
}

// maxChain is how many images an image is looked at to be a difference to, one to the other.
const maxChain = 64

// chainOf is a file and what it is a difference to, in turn.
func chainOf(path string) []string {
	out := []string{path}
	for len(out) < maxChain {
		i, err := readImage(path)
		if err != nil || i.Format != formatQcow {
			return out
		}
		base, err := backingOf(path)
		if err != nil || base == "" {
			return out
		}
		if !filepath.IsAbs(base) && !strings.Contains(base, ":") { // as QEMU has it
			base = filepath.Join(filepath.Dir(path), base)
		}
		out = append(out, base)
		path = strings.TrimPrefix(base, "file:")
	}
	return out
}

// filesIn are the files in a domain's XML that are disks and media or behind them, and the volumes
// of pools, by pool and name.
func filesIn(text string) (files []string, volumes [][2]string, err error) {
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(text); err != nil || d.Devices == nil {
		return nil, nil, err
	}
	add := func(s *libvirtxml.DomainDiskSource) {
		switch {
		case s == nil:
		case s.File != nil && s.File.File != "":
			files = append(files, s.File.File)
		case s.Block != nil:
			files = append(files, s.Block.Dev)
		case s.Volume != nil:
			volumes = append(volumes, [2]string{s.Volume.Pool, s.Volume.Volume})
		}
	}
	for _, k := range d.Devices.Disks {
		add(k.Source)
		for b := k.BackingStore; b != nil; b = b.BackingStore {
			add(b.Source)
		}
	}
	return files, volumes, nil
}

// needs reports whether a file is among those of domains: by its path, by another path, or in a
// description of one (QEMU's "json:" and "file:").
func needs(files []string, file string) bool {
	is, err := os.Stat(file)
	return slices.ContainsFunc(files, func(f string) bool {
		if f == file || strings.Contains(f, ":") && strings.Contains(f, filepath.Base(file)) {
			return true
		}
		other, e := os.Stat(f)
		return err == nil && e == nil && os.SameFile(is, other)
	})
}
