package recovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// A backup is a snapshot of the state as Raft writes it. It holds everything that the
// mesh knows, secrets too: keys, passwords of BMCs and of Ironic.

// Info describes a backup: "backup inspect -o json".
type Info struct {
	File       string `json:"file"`
	Mesh       string `json:"mesh"`
	MeshID     string `json:"mesh_id"`
	Generation uint64 `json:"generation"`
	Index      uint64 `json:"index"`
	// Time is that of the newest event in it.
	Time        string `json:"time"`
	Bytes       int64  `json:"bytes"`
	Peers       int    `json:"peers"`
	Hypervisors int    `json:"hypervisors"`
	Clusters    int    `json:"clusters"`
	Nodes       int    `json:"nodes"`
}

// ReadBackup reads a backup and checks all of it. Errors: state.ErrNewer for one of a
// later version; fs.ErrNotExist.
func ReadBackup(path string) (state.Dump, Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return state.Dump{}, Info{}, err
	}
	defer f.Close()
	d, err := raftfsm.ReadSnapshot(f)
	if err == nil {
		_, err = snapshotOf(d)
	}
	if err == nil && d.Mesh == nil {
		err = errors.New("it names no mesh")
	}
	if err != nil {
		return state.Dump{}, Info{}, fmt.Errorf("%s: %w", path, err)
	}
	st, err := f.Stat()
	if err != nil {
		return state.Dump{}, Info{}, err
	}
	i := Info{File: path, Mesh: d.Mesh.Name, MeshID: d.Mesh.ID, Generation: d.Mesh.Generation, Index: d.Index, Bytes: st.Size(),
		Hypervisors: len(d.Hypervisors), Clusters: len(d.Clusters), Nodes: len(d.Nodes)}
	for _, p := range d.Peers {
		if !p.Removed {
			i.Peers++
		}
	}
	if n := len(d.Events); n > 0 {
		i.Time = time.UnixMilli(d.Events[n-1].Event.UnixMilli).UTC().Format(time.RFC3339)
	}
	return d, i, nil
}

// Save writes what comes from r to a file of mode 0600, whole or not at all, and only
// if it is a good backup. Errors: fs.ErrExist, unless replace.
func Save(path string, r io.Reader, o Overwrite) (Info, error) {
	if _, err := os.Lstat(path); err == nil && o == Never {
		return Info{}, fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return Info{}, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already if all went well
	_, err = io.Copy(tmp, r)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	_, info, err := ReadBackup(tmp.Name())
	if err != nil {
		return Info{}, fmt.Errorf("what was received is no backup: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return Info{}, err
	}
	info.File = path
	return info, syncDir(filepath.Dir(path))
}

// Overwrite says whether Save replaces a file.
type Overwrite int

// The choices.
const (
	Never Overwrite = iota
	Replace
)

// How the names of automatic backups end: of all, and of those from before a recovery,
// which stay until a person removes them.
const (
	backupEnd      = ".tnk"
	beforeRecovery = "-before-recovery"
)

// Keep writes a snapshot to a directory of backups, under its time and index, and
// returns the file. It may be repeated.
func Keep(dir string, snap *state.Snapshot, now time.Time) (string, error) {
	return keepAs(dir, snap, now, "")
}

func keepAs(dir string, snap *state.Snapshot, now time.Time, suffix string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d%s%s", now.UTC().Format("20060102T150405Z"), snap.Index(), suffix, backupEnd))
	r, w := io.Pipe()
	go func() { w.CloseWithError(raftfsm.WriteSnapshot(w, snap)) }() // ends when Save has read it, or given up
	_, err := Save(path, r, Replace)
	if err = errors.Join(err, r.Close()); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	return path, nil
}

// Entry is an automatic backup: "backup list -o json".
type Entry struct {
	File  string    `json:"file"`
	Time  time.Time `json:"time"`
	Index uint64    `json:"index"`
	Bytes int64     `json:"bytes"`
}

// List returns the automatic backups in a directory, the newest first. One that is not
// there has none.
func List(dir string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, f := range files {
		stamp, index, ok := strings.Cut(strings.TrimSuffix(f.Name(), backupEnd), "-")
		e := Entry{File: filepath.Join(dir, f.Name())}
		var parseErr error
		if e.Time, parseErr = time.Parse("20060102T150405Z", stamp); !ok || parseErr != nil || !strings.HasSuffix(f.Name(), backupEnd) {
			continue
		}
		if _, err := fmt.Sscan(index, &e.Index); err != nil {
			continue
		}
		if st, err := f.Info(); err == nil {
			e.Bytes = st.Size()
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(b.File, a.File) })
	return out, nil
}

// Prune removes automatic backups but the newest few: of those that are closer than
// every to the one before, only the newest, so that few hold a long time. What was kept
// from before a recovery stays.
func Prune(dir string, every time.Duration, keep int) error {
	list, err := List(dir)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e Entry) bool { return strings.Contains(filepath.Base(e.File), beforeRecovery) })
	var errs error
	kept := 0
	for i, e := range list {
		crowded := i > 0 && i+1 < len(list) && e.Time.Sub(list[i+1].Time) < every
		if crowded || kept == keep {
			errs = errors.Join(errs, os.Remove(e.File))
			continue
		}
		kept++
	}
	return errs
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
