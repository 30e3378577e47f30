package raftfsm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

// partOfOne is the part of a hypervisor with one node, and the state that it is of.
func partOfOne(t *testing.T) (Part, *state.Snapshot) {
	t.Helper()
	s := state.New()
	for i, c := range []state.Command{
		state.SetMesh{Mesh: state.Mesh{ID: "m", Name: "tenks", Generation: 1}},
		state.PutPeer{Peer: state.Peer{ID: "p1", Name: "hv1"}},
		state.PutKeys{Keys: sampleKeys()},
	} {
		if err := s.Apply(uint64(i+1), state.Envelope{Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	snap, _ := s.Snapshot()
	return PartOf(snap, "p1", 0), snap
}

func TestAPartFileIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "part.tnk")
	want, snap := partOfOne(t)
	for range 2 { // the second replaces the first
		if err := WritePart(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadPart(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := EncodePart(want)
	b, _ := EncodePart(got)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("part (-written +read):\n%s", diff)
	}
	r, err := OpenReplica(path)
	if err != nil {
		t.Fatal(err)
	}
	now, _ := r.Snapshot()
	if now.Index() != snap.Index() || now.Mesh() != snap.Mesh() {
		t.Errorf("replica at %d of %v, want %d of %v", now.Index(), now.Mesh(), snap.Index(), snap.Mesh())
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
}

func TestADamagedPartFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "part.tnk")
	p, _ := partOfOne(t)
	if err := WritePart(path, p); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		want := ErrDamaged
		if i == len(partMagic) {
			want = state.ErrNewer
		}
		if _, err := OpenReplica(path); !errors.Is(err, want) {
			t.Fatalf("byte %d changed: got %v, want %v", i, err, want)
		}
		if err := os.WriteFile(path, whole[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPart(path); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: got %v, want %v", i, err, ErrDamaged)
		}
	}
	if _, err := ReadPart(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want %v", err, fs.ErrNotExist)
	}
	r, err := OpenReplica(filepath.Join(dir, "none"))
	if err != nil {
		t.Fatal(err)
	}
	if snap, _ := r.Snapshot(); snap.Index() != 0 {
		t.Errorf("replica without a file is at %d, want 0", snap.Index())
	}
}

// sampleKeys are keys with every field set.
func sampleKeys() state.Keys {
	return state.Keys{
		Authorities: []state.Authority{{CertPEM: []byte("cert"), KeyPEM: state.NewSecret("private")}},
		Gossip:      []state.GossipKey{{ID: "first", Key: state.NewSecret("0123456789abcdef0123456789abcdef")}},
	}
}
