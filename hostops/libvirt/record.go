package libvirt

import (
	"bytes"
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
	// Filling are the names of logical volumes that their image is not wholly in yet.
	Filling []string `json:"filling,omitempty"`
	// CDROMs are files of images in drives, beside the BMC's.
	CDROMs []string `json:"cdroms,omitempty"`
	// LogBytes and LogKeep bound the console's log; 0: virtlogd does.
	LogBytes uint64 `json:"log_bytes,omitempty"`
	LogKeep  int    `json:"log_keep,omitempty"`
	// Files are others of ours: firmware variables and the console log.
	Files []string `json:"files,omitempty"`
	// Replug are MACs of NICs that a running guest was asked to let go of, to get them
	// back with a connection.
	Replug []string `json:"replug,omitempty"`
	// Start is what starts need to know.
	Start starting `json:"start,omitzero"`
	// Vars is what is to be in the UEFI variables, VarsNow what was last put there.
	Vars    vars `json:"vars,omitzero"`
	VarsNow vars `json:"vars_now,omitzero"`
	// PlainVars says that the UEFI variables are libvirt's to make, and nobody's to change.
	PlainVars bool `json:"plain_vars,omitempty"`
	// TPM says that libvirt keeps the state of a TPM for the node.
	TPM bool `json:"tpm,omitempty"`
	// NVRAM is the file of firmware variables that was there before; empty: one in Pool.
	NVRAM string `json:"nvram,omitempty"`
	// Stage is the directory of files that are to be imported; empty: there is none.
	Stage string `json:"stage,omitempty"`
}

// owns reports whether a file is the node's.
func (r record) owns(path string) bool {
	return slices.Contains(r.Files, path) || slices.Contains(r.Surplus, path) || slices.ContainsFunc(r.Volumes, func(v volume) bool { return v.Path == path && !v.Keep })
}

// takenOver reports whether disks of the node were there before it, made by another tool.
func (r record) takenOver() bool {
	return slices.ContainsFunc(r.Volumes, func(v volume) bool { return v.Format != "" })
}

func (r record) equal(o record) bool {
	return r.sameNode(o) && r.sameFirmware(o) && r.Start.equal(o.Start) &&
		slices.Equal(r.Volumes, o.Volumes) && slices.Equal(r.CDROMs, o.CDROMs) && slices.Equal(r.Files, o.Files) &&
		slices.Equal(r.Surplus, o.Surplus) && slices.Equal(r.Filling, o.Filling) && slices.Equal(r.Replug, o.Replug)
}

func (r record) sameNode(o record) bool {
	return r.UUID == o.UUID && r.Name == o.Name && r.Epoch == o.Epoch && r.Pool == o.Pool && r.PoolName == o.PoolName && r.Stage == o.Stage &&
		r.LogBytes == o.LogBytes && r.LogKeep == o.LogKeep
}

func (r record) sameFirmware(o record) bool {
	return r.PlainVars == o.PlainVars && r.Vars == o.Vars && r.VarsNow == o.VarsNow && r.TPM == o.TPM && r.NVRAM == o.NVRAM
}

// records are what is ours of all nodes: a file that is only added to, a line of JSON
// per change, the last line of a node counts. What many nodes add at a time reaches
// the disk in one go. It is safe for concurrent use, by one process.
type records struct {
	path string
	disk diskSync

	// mu guards what follows, and the order of lines.
	mu sync.Mutex
	// file is nil while there is no record, and so no file.
	file *os.File
	all  map[string]record
	// past are nodes whose record this process has dropped: events of their end may
	// still come.
	past map[string]bool
}

// line is one change of a node's record.
type line struct {
	record
	Gone bool `json:"gone,omitempty"`
}

func openRecords(dir string) (*records, error) {
	r := &records{path: filepath.Join(dir, "nodes.log"), all: map[string]record{}, past: map[string]bool{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("records: %s: %w", r.path, err)
	}
	r.disk.sync = r.sync
	return r, nil
}

func (r *records) sync() error {
	r.mu.Lock()
	f := r.file
	r.mu.Unlock()
	if f == nil {
		return nil // what was to be kept is gone again
	}
	if err := f.Sync(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil // as above
}

// load reads the file, and writes it anew without what no longer counts. A last line
// that a crash cut short was never acknowledged.
func (r *records) load() error {
	b, err := os.ReadFile(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(b, []byte{'\n'})
	for i, text := range lines {
		if !bytes.HasSuffix(text, []byte{'\n'}) {
			break // the last one: nothing, or cut short
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		l.Volumes = named(l.Volumes)
		r.all[l.UUID] = l.record
		if l.Gone {
			delete(r.all, l.UUID)
		}
	}
	var whole bytes.Buffer
	e := json.NewEncoder(&whole)
	for _, uuid := range slices.Sorted(maps.Keys(r.all)) {
		if err := e.Encode(line{record: r.all[uuid]}); err != nil {
			return err
		}
	}
	switch {
	case len(r.all) == 0:
		return removeFile(r.path)
	case bytes.Equal(whole.Bytes(), b):
		return nil
	}
	return writeWhole(r.path, whole.Bytes())
}

func (r *records) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

func (r *records) get(uuid string) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.all[uuid]
	return one, ok
}

// known reports whether a node is ours, or was.
func (r *records) known(uuid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.all[uuid]
	return ok || r.past[uuid]
}

func (r *records) list() map[string]record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.all)
}

// others are the records of other nodes, if the node has disks that are somebody's: nil otherwise.
func (r *records) others(than record) []record {
	if !slices.ContainsFunc(than.Volumes, func(v volume) bool { return v.Keep }) {
		return nil
	}
	var out []record
	all := r.list()
	for _, uuid := range slices.Sorted(maps.Keys(all)) {
		if uuid != than.UUID {
			out = append(out, all[uuid])
		}
	}
	return out
}

// put writes a record; it is on disk when put returns.
func (r *records) put(one record) error {
	if old, ok := r.get(one.UUID); ok && old.equal(one) {
		return nil
	}
	if err := r.add(line{record: one}); err != nil {
		return fmt.Errorf("record of node %s: %w", one.Name, err)
	}
	return nil
}

// drop removes a record; an absent one is no error. A power failure may bring it
// back: what it names is gone then.
func (r *records) drop(uuid string) error {
	if _, ok := r.get(uuid); !ok {
		return nil
	}
	if err := r.add(line{record: record{UUID: uuid}, Gone: true}); err != nil {
		return fmt.Errorf("record of node %s: %w", uuid, err)
	}
	return nil
}

func (r *records) add(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := r.write(append(b, '\n'), l); err != nil || l.Gone {
		return err
	}
	return r.disk.wait()
}

func (r *records) write(b []byte, l line) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		r.file = f
	}
	if _, err := r.file.Write(b); err != nil {
		return err
	}
	if !l.Gone {
		r.all[l.UUID] = l.record
		return nil
	}
	delete(r.all, l.UUID)
	r.past[l.UUID] = true
	if len(r.all) > 0 {
		return nil
	}
	err := errors.Join(r.file.Close(), removeFile(r.path))
	r.file = nil
	return err
}

// diskSync lets callers share calls of sync: one that begins after a caller's write
// covers it.
type diskSync struct {
	sync func() error

	mu sync.Mutex
	// next is the round that callers of now wait for; nil: none is asked for yet.
	next *round
	busy bool
}

// round is one call of sync.
type round struct {
	done chan struct{}
	err  error
}

// wait returns once a sync that began after the call has ended.
func (d *diskSync) wait() error {
	d.mu.Lock()
	if d.next == nil {
		d.next = &round{done: make(chan struct{})}
	}
	mine, lead := d.next, !d.busy
	d.busy = true
	d.mu.Unlock()
	if lead {
		d.run()
	}
	<-mine.done
	return mine.err
}

// run syncs until nobody waits.
func (d *diskSync) run() {
	for {
		d.mu.Lock()
		r := d.next
		d.next, d.busy = nil, r != nil
		d.mu.Unlock()
		if r == nil {
			return
		}
		r.err = d.sync()
		close(r.done)
	}
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
