//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	lv "libvirt.org/go/libvirt"

	"tenks/raftfsm/state"
)

// groups are the volume groups that nodes have volumes in, each by a storage pool of libvirt's. It
// is safe for concurrent use.
type groups struct {
	// file says which pools are ours.
	file string
	// wipe is overwrite.
	wipe func(ctx context.Context, path string, tell telling) error

	// mu is held while a pool is made or removed, over calls to libvirt.
	mu sync.Mutex
}

// ours are the names of the pools that we made, by volume group.
func (g *groups) ours() (map[string]string, error) {
	out := map[string]string{}
	b, err := os.ReadFile(g.file)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}

func (g *groups) setOurs(all map[string]string) error {
	if len(all) == 0 {
		return removeFile(g.file)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return writeWhole(g.file, b)
}

// open returns the pool of a volume group, started, which the caller frees. It is made where nobody
// has one. It is not looked at anew: where that fails, libvirt stops the pool, and with that makes all
// logical volumes unusable that nobody has open, whosever they are.
func (g *groups) open(s *session, group string) (*lv.StoragePool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, err := findGroup(s, group)
	if err == nil && p == nil {
		p, err = g.make(s, group)
	}
	if err != nil {
		return nil, fmt.Errorf("volume group %s: %w", group, err)
	}
	if err := activate(p); err != nil {
		return nil, errors.Join(fmt.Errorf("volume group %s: %w", group, err), p.Free())
	}
	return p, nil
}

// findGroup returns the pool of a volume group; nil: there is none.
func findGroup(s *session, group string) (*lv.StoragePool, error) {
	all, err := s.conn.ListAllStoragePools(0)
	if err != nil {
		return nil, err
	}
	var found *lv.StoragePool
	for i := range all {
		text, e := all[i].GetXMLDesc(0)
		of := ""
		if e == nil {
			of, e = groupOfPool(text)
		}
		if e != nil && !errors.Is(e, lv.ERR_NO_STORAGE_POOL) {
			err = errors.Join(err, e)
		}
		if of == group && found == nil {
			found = &all[i]
			continue
		}
		_ = all[i].Free() // a handle of ours
	}
	if err != nil && found == nil {
		return nil, err
	}
	return found, nil
}

// make defines the pool. It is not built: that would make the volume group anew.
func (g *groups) make(s *session, group string) (*lv.StoragePool, error) {
	all, err := g.ours()
	if err != nil {
		return nil, err
	}
	all[group] = groupPool + group
	if err := g.setOurs(all); err != nil {
		return nil, err
	}
	text, err := groupPoolXML(group)
	if err != nil {
		return nil, err
	}
	p, err := s.conn.StoragePoolDefineXML(text, 0)
	if err != nil {
		return nil, fmt.Errorf("define pool %s: %w", all[group], err)
	}
	if err := p.SetAutostart(true); err != nil {
		return nil, errors.Join(fmt.Errorf("start pool %s at boot: %w", all[group], err), p.Free())
	}
	return p, nil
}

// close takes our pool of a volume group away, if there is no volume in it: stopping it makes all
// logical volumes of the volume group unusable, whosever they are.
func (g *groups) close(s *session, group string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	all, err := g.ours()
	name := all[group]
	if err != nil || name == "" {
		return err
	}
	p, err := s.conn.LookupStoragePoolByName(name)
	if errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		delete(all, group)
		return g.setOurs(all)
	}
	if err != nil {
		return fmt.Errorf("pool %s: %w", name, err)
	}
	defer p.Free() //nolint:errcheck // a handle of ours
	on, err := p.IsActive()
	if err != nil {
		return fmt.Errorf("pool %s: %w", name, err)
	}
	if on {
		if there, err := os.ReadDir(groupDir(group)); err == nil && len(there) > 0 {
			return nil // somebody has volumes in it, which libvirt need not know of
		}
		if err := p.Refresh(0); err != nil { // none can be made unusable
			return fmt.Errorf("pool %s: %w", name, err)
		}
		if n, err := p.NumOfStorageVolumes(); err != nil || n > 0 {
			return err // as above
		}
		if err := p.Destroy(); err != nil {
			return fmt.Errorf("pool %s: stop: %w", name, err)
		}
	}
	if err := p.Undefine(); err != nil {
		return fmt.Errorf("pool %s: undefine: %w", name, err)
	}
	delete(all, group)
	return g.setOurs(all)
}

// lookUp returns a logical volume, which the caller frees; nil: there is none that can be used. libvirt looks
// at the pool anew where it knows something else than there is a device for.
func lookUp(p *lv.StoragePool, path string) (*lv.StorageVol, error) {
	v, err := p.LookupStorageVolByName(filepath.Base(path))
	if known := err == nil; known != fileExists(path) && (known || errors.Is(err, lv.ERR_NO_STORAGE_VOL)) {
		if known {
			_ = v.Free() // a handle of ours
		}
		if err := p.Refresh(0); err != nil {
			return nil, err
		}
		v, err = p.LookupStorageVolByName(filepath.Base(path))
	}
	if errors.Is(err, lv.ERR_NO_STORAGE_VOL) {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	return v, err
}

// taken says which of a node's logical volumes is there already and not the node's.
func (g *groups) taken(s *session, want, old record) error {
	for _, v := range want.Volumes {
		if v.Group == "" || old.owns(v.Path) {
			continue
		}
		p, err := g.open(s, v.Group)
		if err != nil {
			return err
		}
		there, err := lookUp(p, v.Path)
		if there != nil {
			err = errors.Join(there.Free(), fmt.Errorf("logical volume %s: exists, and is not of this node: rename it with lvrename", v.Path))
		}
		if err = errors.Join(err, p.Free()); err != nil {
			return err
		}
	}
	return nil
}

// ensure makes a logical volume, which is recorded as ours, usable, and makes it if it is not there.
func (g *groups) ensure(s *session, v volume) (made bool, err error) {
	p, err := g.open(s, v.Group)
	if err != nil {
		return false, err
	}
	defer p.Free() //nolint:errcheck // a handle of ours
	there, err := lookUp(p, v.Path)
	if err == nil && there == nil {
		var text string
		if text, err = lvXML(v); err == nil {
			there, err = p.StorageVolCreateXML(text, 0)
			made = err == nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("logical volume %s: create: %w", v.Path, err)
	}
	path, err := there.GetPath()
	if err = errors.Join(err, there.Free()); err == nil && path != v.Path {
		err = fmt.Errorf("is at %s", path)
	}
	if err != nil {
		return made, fmt.Errorf("logical volume %s: %w", v.Path, err)
	}
	return made, nil
}

// asking makes one call to libvirt.
type asking func(do func(s *session) error) error

// remove overwrites a logical volume that is recorded as ours, so that the next one there begins
// blank, and deletes it. One that is not there is no error. What takes long is between two calls: libvirt
// takes five of a connection's at a time, and while it overwrites a volume itself (virStorageVolWipe) it does
// not look at the pool anew ("has asynchronous jobs running"); older ones hold it locked.
func (g *groups) remove(ctx context.Context, ask asking, path string, tell telling) error {
	if _, ours := isLV(path); !ours {
		return fmt.Errorf("logical volume %s: is not called as one of ours: %w", path, state.ErrRefused)
	}
	there := false
	err := ask(func(s *session) error {
		return g.visit(s, path, func(*lv.StorageVol) error { there = true; return nil })
	})
	if err != nil || !there {
		return err
	}
	if err := g.wipe(ctx, path, tell); err != nil {
		return fmt.Errorf("logical volume %s: overwrite: %w", path, err)
	}
	return ask(func(s *session) error {
		return g.visit(s, path, func(v *lv.StorageVol) error {
			if err := v.Delete(0); err != nil && !errors.Is(err, lv.ERR_NO_STORAGE_VOL) {
				return fmt.Errorf("logical volume %s: delete: %w", path, err)
			}
			return nil
		})
	})
}

// visit does something with a logical volume of ours, if it is there.
func (g *groups) visit(s *session, path string, do func(v *lv.StorageVol) error) error {
	group, _ := isLV(path)
	p, err := g.open(s, group)
	if err != nil {
		return err
	}
	defer p.Free() //nolint:errcheck // a handle of ours
	v, err := lookUp(p, path)
	if err != nil || v == nil {
		return err
	}
	defer v.Free() //nolint:errcheck // as above
	if is, err := v.GetPath(); err != nil || is != path {
		return errors.Join(fmt.Errorf("logical volume %s: is at %q: %w", path, is, state.ErrConflict), err)
	}
	return do(v)
}

// makeLV makes a logical volume, or only makes it usable: what the node had before is its guest's, and never
// filled again. What is not yet filled is in the record, because an unfinished one has the same name.
func (d *Driver) makeLV(s *session, rec *record, i int) error {
	v := rec.Volumes[i]
	made, err := d.groups.ensure(s, v)
	if made && v.Image != "" && !slices.Contains(rec.Filling, v.Name) { // it was gone
		rec.Filling = append(slices.Clone(rec.Filling), v.Name)
		err = errors.Join(err, d.records.put(*rec))
	}
	if err != nil {
		return err
	}
	if !fileExists(v.Path) {
		return fmt.Errorf("logical volume %s: there is no such device: make it usable with lvchange -ay", v.Path)
	}
	return nil
}

// fillLV copies its image to a logical volume.
func (d *Driver) fillLV(ctx context.Context, rec *record, i int) error {
	v := rec.Volumes[i]
	img, err := readImage(v.base())
	if err != nil {
		return err
	}
	args, err := fillArgs(v, img)
	if err != nil {
		return err
	}
	if err := d.jobs.run(ctx, copyKey(v.Path), func(ctx context.Context, _ telling) error { return qemuImg(ctx, args...) }); err != nil {
		return err
	}
	rec.Filling = slices.DeleteFunc(slices.Clone(rec.Filling), func(name string) bool { return name == v.Name })
	return d.records.put(*rec)
}

// overwriteKey names the overwriting of a logical volume that goes.
func overwriteKey(path string) string { return "overwriting of " + path }

// removeLVs deletes those of paths that are logical volumes, and returns the others. It takes as
// long as overwriting them does: state.ErrBusy meanwhile.
func (d *Driver) removeLVs(ctx context.Context, paths []string) (others []string, err error) {
	for _, path := range paths {
		if _, ours := isLV(path); !ours {
			others = append(others, path)
			continue
		}
		d.jobs.stop(copyKey(path))
		err := d.jobs.run(ctx, overwriteKey(path), func(ctx context.Context, tell telling) error {
			return d.groups.remove(ctx, func(do func(s *session) error) error {
				_, err := call(ctx, d.conns, func(_ context.Context, s *session) (struct{}, error) { return struct{}{}, do(s) })
				return err
			}, path, tell)
		})
		if err != nil {
			return nil, err
		}
	}
	return others, nil
}

// closeGroups takes our pools away of volume groups that no node has a volume in.
func (d *Driver) closeGroups(s *session) error {
	all, err := d.groups.ours()
	if err != nil {
		return err
	}
	for group := range all {
		if groupUsed(group, d.records.list()) {
			continue
		}
		if err := d.groups.close(s, group); err != nil {
			return err
		}
	}
	return nil
}

// groupUsed reports whether a node has a volume in a volume group.
func groupUsed(group string, all map[string]record) bool {
	for _, r := range all {
		for _, path := range slices.Concat(r.paths(), r.Surplus) {
			if in, ours := isLV(path); ours && in == group {
				return true
			}
		}
	}
	return false
}
