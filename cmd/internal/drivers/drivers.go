// Package drivers finds the programs of the drivers that run in a process of their
// own. A tenks made by make carries them (build tag tenks_embed) and writes them to
// the data directory; one that was built without the tag looks for them where
// programs are. It starts nothing.
package drivers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// libvirtName is the name of the libvirt driver's program.
const libvirtName = "tenks-libvirt"

// ErrNotFound is returned where this tenks carries no driver and none is installed.
var ErrNotFound = errors.New("not found")

// Libvirt returns the path of the libvirt driver's program. A tenks that carries
// it writes it below dataDir, once for each version of it, and removes other
// versions: so only the owner of dataDir, the agent, may call this, and not
// concurrently. Otherwise the program is looked for beside the running executable,
// then in PATH. Calling it again returns the same path.
//
// Errors: ErrNotFound, which says what to do, or that of the file system.
func Libvirt(dataDir string) (string, error) {
	if packed := embeddedLibvirt(); len(packed) > 0 {
		return unpack(filepath.Join(dataDir, "drivers"), libvirtName, packed)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("driver %s: own path: %w", libvirtName, err)
	}
	// An executable reached through a link is beside its driver where it really is.
	if target, err := filepath.EvalSymlinks(self); err == nil {
		self = target
	}
	return find(filepath.Dir(self), libvirtName)
}

// find returns the path of a program in dir, or else in PATH.
func find(dir, name string) (string, error) {
	beside := filepath.Join(dir, name)
	if path, err := exec.LookPath(beside); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("driver %s: %w: run make, or put %s beside %s or in PATH",
		name, ErrNotFound, name, filepath.Join(dir, "tenks"))
}

// unpack writes a gzipped program to dir under its name and the start of its
// SHA-256, and returns its path. A file of that name is kept if it has the hash that
// its name promises, which one cut short by a power failure has not.
func unpack(dir, name string, packed []byte) (string, error) {
	sum, err := sumOf(packed)
	if err != nil {
		return "", fmt.Errorf("driver %s: unpack: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("driver %s: %w", name, err)
	}
	path := filepath.Join(dir, name+"-"+hex.EncodeToString(sum[:])[:12])
	if !intact(path, sum) {
		if err := write(path, packed); err != nil {
			return "", fmt.Errorf("driver %s: write: %w", name, err)
		}
	}
	if err := removeOthers(path, name); err != nil {
		return "", fmt.Errorf("driver %s: remove older: %w", name, err)
	}
	return path, nil
}

// sumOf returns the SHA-256 of what is packed. Nothing here holds a whole program
// in memory: it would be the largest thing in the agent.
func sumOf(packed []byte) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	if err := inflate(h, packed); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}

func inflate(to io.Writer, packed []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, z); err != nil {
		return err
	}
	return z.Close()
}

// intact says whether path is an executable regular file with that hash.
func intact(path string, sum [sha256.Size]byte) bool {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Mode().Perm() != 0o700 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false
	}
	return bytes.Equal(h.Sum(nil), sum[:])
}

// write makes path a file of mode 0700, in one step: a program that runs is
// replaced, never overwritten.
func write(path string, packed []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := inflate(f, packed); err != nil {
		return err
	}
	if err := f.Chmod(0o700); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}

// removeOthers removes other versions of the program at path, and what an
// interrupted write left.
func removeOthers(path, name string) error {
	for _, pattern := range []string{name + "-*", "." + name + "-*"} {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(path), pattern))
		if err != nil {
			return err
		}
		for _, other := range found {
			if other == path {
				continue
			}
			if err := os.Remove(other); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
