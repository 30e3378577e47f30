//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

const (
	poolName = "tenks"
	// refreshAfter is how long changes are collected before libvirt is told of them.
	refreshAfter = 2 * time.Second
)

// pool is the libvirt storage pool of our volumes. Guests name files, so nothing
// depends on it: it shows people what there is.
type pool struct {
	path, mesh string
	// mode is that of the directory.
	mode os.FileMode
	// file says which pool is ours.
	file string

	// mu is held while the pool is made or removed, over calls to libvirt.
	mu sync.Mutex
	// on is the connection that it was last seen on.
	on *session

	// refreshing guards waiting: a refresh is due already.
	refreshing sync.Mutex
	waiting    bool
}

// poolRecord is the pool that we made.
type poolRecord struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

func (p *pool) record() (r poolRecord, ok bool, err error) {
	b, err := os.ReadFile(p.file)
	if errors.Is(err, os.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err == nil, err
}

// ensure makes the directory and the pool.
func (p *pool) ensure(s *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on == s && fileExists(p.path) {
		return nil
	}
	// QEMU runs as a user of its own that has to get through to its files.
	if err := os.MkdirAll(filepath.Dir(p.path), 0o755); err != nil { //nolint:gosec // see above
		return fmt.Errorf("pool %s: %w", p.path, err)
	}
	if err := os.Mkdir(p.path, p.mode); err == nil {
		err = os.Chmod(p.path, p.mode) // whatever the umask
		if err != nil {
			return fmt.Errorf("pool %s: %w", p.path, err)
		}
	} else if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("pool %s: %w", p.path, err)
	}
	if err := p.start(s); err != nil {
		return fmt.Errorf("pool %s: %w", p.path, err)
	}
	p.on = s
	return nil
}

// start makes the pool unless somebody has one there.
func (p *pool) start(s *session) error {
	have, err := s.conn.LookupStoragePoolByTargetPath(p.path)
	if err == nil {
		defer have.Free() //nolint:errcheck // a handle of ours
		return activate(have)
	}
	if !errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		return err
	}
	if done, err := p.startAgain(s); err != nil || done {
		return err
	}
	name, err := p.freeName(s)
	if err != nil {
		return err
	}
	b, err := json.Marshal(poolRecord{Name: name, Path: p.path})
	if err != nil {
		return err
	}
	if err := writeWhole(p.file, b); err != nil {
		return err
	}
	x := &libvirtxml.StoragePool{Type: "dir", Name: name,
		Target: &libvirtxml.StoragePoolTarget{Path: p.path}}
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	made, err := s.conn.StoragePoolDefineXML(text, 0)
	if err != nil {
		return fmt.Errorf("define %s: %w", name, err)
	}
	defer made.Free() //nolint:errcheck // a handle of ours
	if err := made.SetAutostart(true); err != nil {
		return fmt.Errorf("start %s at boot: %w", name, err)
	}
	return activate(made)
}

// startAgain starts our pool if libvirt has it stopped: a stopped one is not found by
// its path. libvirt itself stops a pool whose directory was missing when it looked.
func (p *pool) startAgain(s *session) (done bool, err error) {
	r, ok, err := p.record()
	if err != nil || !ok || r.Path != p.path {
		return false, err
	}
	have, err := s.conn.LookupStoragePoolByName(r.Name)
	if errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer have.Free() //nolint:errcheck // a handle of ours
	text, err := have.GetXMLDesc(0)
	if err != nil {
		return false, err
	}
	var x libvirtxml.StoragePool
	if err := x.Unmarshal(text); err != nil {
		return false, fmt.Errorf("%s: %w", r.Name, err)
	}
	if x.Target == nil || x.Target.Path != p.path {
		return false, fmt.Errorf("pool %s is somebody's: it has the path of another", r.Name)
	}
	return true, activate(have)
}

// freeName returns the name for our pool; one of that name elsewhere is somebody's.
func (p *pool) freeName(s *session) (string, error) {
	if r, ok, err := p.record(); err != nil || ok && r.Path == p.path {
		return r.Name, err
	}
	have, err := s.conn.LookupStoragePoolByName(poolName)
	if errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		return poolName, nil
	}
	if err != nil {
		return "", err
	}
	return poolName + "-" + p.mesh[:min(8, len(p.mesh))], have.Free()
}

func activate(p *lv.StoragePool) error {
	if on, err := p.IsActive(); err != nil || on {
		return err
	}
	return p.Create(0)
}

// remove takes the pool and its directory away if they are ours and empty.
// stillNeeded is asked once nobody can make the pool anew.
func (p *pool) remove(s *session, stillNeeded func() bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stillNeeded() {
		return nil
	}
	p.on = nil
	r, ok, err := p.record()
	if err != nil || !ok {
		return err
	}
	if err := os.Remove(r.Path); err != nil && fileExists(r.Path) {
		return nil // somebody has files in it
	}
	have, err := s.conn.LookupStoragePoolByName(r.Name)
	if err != nil && !errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		return fmt.Errorf("pool %s: %w", r.Name, err)
	}
	if err == nil {
		defer have.Free() //nolint:errcheck // a handle of ours
		// A pool that is stopped already, as by a refresh that found no directory, is an
		// invalid operation (virStoragePoolDestroy).
		if err := have.Destroy(); err != nil && !errors.Is(err, lv.ERR_OPERATION_INVALID) {
			return fmt.Errorf("pool %s: stop: %w", r.Name, err)
		}
		if err := have.Undefine(); err != nil {
			return fmt.Errorf("pool %s: undefine: %w", r.Name, err)
		}
	}
	return removeFile(p.file)
}

// refreshPool lets libvirt look at the pool's directory, some time soon.
func (d *Driver) refreshPool() {
	p := &d.pool
	p.refreshing.Lock()
	defer p.refreshing.Unlock()
	if p.waiting {
		return
	}
	p.waiting = d.later(refreshAfter, func(ctx context.Context) {
		p.refreshing.Lock()
		p.waiting = false
		p.refreshing.Unlock()
		// It is for people only: what goes wrong does no harm, and is tried again after
		// the next change.
		_, _ = call(ctx, d.conns, func(_ context.Context, s *session) (struct{}, error) {
			have, err := s.conn.LookupStoragePoolByTargetPath(d.opts.poolPath)
			if err != nil {
				return struct{}{}, err
			}
			defer have.Free() //nolint:errcheck // a handle of ours
			return struct{}{}, have.Refresh(0)
		})
	})
}
