package raftfsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tenks/raftfsm/state"
)

// A part file is partMagic, a version byte, the length of what follows (8 bytes, big
// endian), an encoded part, and the SHA-256 of all before.
const (
	partMagic   = "TNKPART"
	partVersion = 1
)

// ErrDamaged says that a file is not as it was written.
var ErrDamaged = errors.New("the file is damaged")

// WritePart keeps a part in a file of mode 0600, which is replaced whole, and synced:
// what a peer goes by when nobody tells it the state. It holds BMC passwords.
func WritePart(path string, p Part) error {
	b, err := EncodePart(p)
	if err != nil {
		return err
	}
	out := append([]byte(partMagic), partVersion)
	out = binary.BigEndian.AppendUint64(out, uint64(len(b)))
	out = append(out, b...)
	sum := sha256.Sum256(out)
	if err := writeSynced(path, append(out, sum[:]...)); err != nil {
		return fmt.Errorf("part: write: %w", err)
	}
	return nil
}

// ReadPart reads what WritePart wrote. Errors: fs.ErrNotExist, ErrDamaged, and
// state.ErrNewer for a file of a later version.
func ReadPart(path string) (Part, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Part{}, fmt.Errorf("part: read: %w", err)
	}
	head := len(partMagic) + 1 + 8
	switch {
	case len(b) < head+sha256.Size || !bytes.HasPrefix(b, []byte(partMagic)):
		return Part{}, fmt.Errorf("%s: %w", path, ErrDamaged)
	case b[len(partMagic)] != partVersion:
		return Part{}, fmt.Errorf("%s: version %d: %w", path, b[len(partMagic)], state.ErrNewer)
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) ||
		binary.BigEndian.Uint64(body[len(partMagic)+1:]) != uint64(len(body)-head) {
		return Part{}, fmt.Errorf("%s: %w", path, ErrDamaged)
	}
	p, err := DecodePart(body[head:])
	if err != nil {
		return Part{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// writeSynced replaces a file; after a crash it is the old one or the new one.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// OpenReplica returns a replica with what a part file says; one that knows nothing if
// there is none.
func OpenReplica(path string) (*Replica, error) {
	r := NewReplica()
	p, err := ReadPart(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = r.Apply(p)
	}
	return r, err
}
