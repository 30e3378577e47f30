package libvirt

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// record is what is ours of a node. It is written before anything is made, so that
// whatever a crash leaves behind is known to be ours.
type record struct {
	UUID  string `json:"uuid"`
	Name  string `json:"name"`
	Epoch uint64 `json:"epoch"`
	// Pool is the directory of the volumes, PoolName the libvirt pool there.
	Pool     string   `json:"pool"`
	PoolName string   `json:"pool_name"`
	Volumes  []volume `json:"volumes,omitempty"`
	// Surplus are files of volumes to be deleted once the guest is off.
	Surplus []string `json:"surplus,omitempty"`
	// Files are others of ours: firmware variables and the console log.
	Files []string `json:"files,omitempty"`
	// Replug are MACs of NICs that a running guest was asked to let go of, to get them
	// back with a connection.
	Replug []string `json:"replug,omitempty"`
}

// owns reports whether a file is the node's.
func (r record) owns(path string) bool {
	return slices.Contains(r.Files, path) || slices.Contains(r.Surplus, path) || slices.ContainsFunc(r.Volumes, func(v volume) bool { return v.Path == path })
}

func (r record) equal(o record) bool {
	return r.UUID == o.UUID && r.Name == o.Name && r.Epoch == o.Epoch && r.Pool == o.Pool && r.PoolName == o.PoolName &&
		slices.Equal(r.Volumes, o.Volumes) && slices.Equal(r.Files, o.Files) &&
		slices.Equal(r.Surplus, o.Surplus) && slices.Equal(r.Replug, o.Replug)
}

// records are the files of all nodes' records. It is safe for concurrent use, by one
// process.
type records struct {
	dir string
	// mu guards all.
	mu  sync.Mutex
	all map[string]record
}

func openRecords(dir string) (*records, error) {
	r := &records{dir: dir, all: map[string]record{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name) //nolint:gosec // a name in our own directory
		if err != nil {
			return nil, fmt.Errorf("records: %w", err)
		}
		var one record
		if err := json.Unmarshal(b, &one); err != nil {
			return nil, fmt.Errorf("records: %s: %w", name, err)
		}
		r.all[one.UUID] = one
	}
	return r, nil
}

func (r *records) path(uuid string) string { return filepath.Join(r.dir, uuid+".json") }

func (r *records) get(uuid string) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.all[uuid]
	return one, ok
}

func (r *records) list() map[string]record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.all)
}

// put writes a record; it is on disk when put returns. Calls for one node come one
// after the other; those for several wait for the disk at the same time.
func (r *records) put(one record) error {
	r.mu.Lock()
	old, ok := r.all[one.UUID]
	r.mu.Unlock()
	if ok && old.equal(one) {
		return nil
	}
	b, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("record of node %s: %w", one.Name, err)
	}
	if err := writeWhole(r.path(one.UUID), b); err != nil {
		return fmt.Errorf("record of node %s: %w", one.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[one.UUID] = one
	return nil
}

func (r *records) drop(uuid string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := removeFile(r.path(uuid)); err != nil {
		return fmt.Errorf("record of node %s: %w", uuid, err)
	}
	delete(r.all, uuid)
	return nil
}

// writeWhole writes a file whole or not at all.
func writeWhole(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// removeFile deletes a file; an absent one is no error.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
