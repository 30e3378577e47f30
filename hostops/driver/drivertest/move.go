package drivertest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// mover returns the driver as one that can move nodes; a driver need not be.
func (s *suite) mover() driver.Mover {
	s.Helper()
	m, err := driver.MoverOf(s.Driver)
	if err == nil {
		_, err = m.Luggage(s.Context(), absent)
	}
	if errors.Is(err, state.ErrUnsupported) {
		s.Skipf("the driver cannot move nodes: %v", err)
	}
	return m
}

func (s *suite) luggage() {
	m, spec := s.mover(), s.made(0)
	_, err := m.Luggage(s.Context(), absent)
	s.wants("luggage of an absent node", err, state.ErrNotFound)
	l, err := m.Luggage(s.Context(), spec.UUID)
	s.must("luggage", err)
	if len(l.Files) < len(spec.Machine.Volumes) {
		s.Errorf("got files %+v, want one for each volume at least", l.Files)
	}
	for _, f := range l.Files {
		if _, err := os.Stat(f.Path); err != nil || f.Name == "" || f.Name != filepath.Base(f.Name) {
			s.Errorf("file %+v: %v", f, err)
		}
	}
	s.power(spec, state.ActionOn)
	_, err = m.Luggage(s.Context(), spec.UUID)
	s.wants("luggage of a node that is on", err, state.ErrWrongState)
}

// copyFile copies a file and its holes.
func (s *suite) copyFile(from, to string) {
	s.Helper()
	out, err := exec.CommandContext(s.Context(), "cp", "--sparse=always", from, to).CombinedOutput()
	if err != nil {
		s.Fatalf("copy %s to %s: %v: %s", from, to, err, out)
	}
}

// at is where a test writes into a volume.
const at = 1 << 20

func (s *suite) write(path string, text []byte) {
	s.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	s.must("open a volume", err)
	defer f.Close()
	_, err = f.WriteAt(text, at)
	s.must("write to a volume", err)
}

func (s *suite) read(path string, size int) []byte {
	s.Helper()
	f, err := os.Open(path)
	s.must("open a volume", err)
	defer f.Close()
	b := make([]byte, size)
	_, err = f.ReadAt(b, at)
	s.must("read a volume", err)
	return b
}

// move takes a node apart and brings it back as if from another host.
func (s *suite) move() {
	m, spec := s.mover(), s.made(0)
	l, err := m.Luggage(s.Context(), spec.UUID)
	s.must("luggage", err)
	text := []byte("what a guest wrote")
	s.write(l.Files[0].Path, text)
	packed := s.TempDir()
	for _, f := range l.Files {
		s.copyFile(f.Path, filepath.Join(packed, f.Name))
	}
	s.must("remove", s.Driver.Remove(s.Context(), spec.UUID))

	var dir string
	for range 2 {
		dir, err = m.Stage(s.Context(), spec)
		s.must("stage", err)
		s.must("put a file", os.WriteFile(filepath.Join(dir, "note"), nil, 0o600))
	}
	if _, err := os.Stat(filepath.Join(dir, "note")); err != nil {
		s.Errorf("what was put into the stage: %v", err)
	}
	if i := s.there(spec); i.Power != state.PowerOff || i.Digest != "" || i.Epoch != spec.Epoch {
		s.Errorf("staged, it is %+v", i)
	}
	for _, f := range l.Files {
		s.copyFile(filepath.Join(packed, f.Name), filepath.Join(dir, f.Name))
	}
	for range 2 {
		s.must("import", m.Import(s.Context(), spec, l))
	}
	s.wantMade(spec)
	s.wantPower(spec, state.PowerOff)
	if again, err := m.Stage(s.Context(), spec); err != nil || again != "" {
		s.Errorf("stage of what is imported: %q, %v", again, err)
	}
	if _, err := os.Stat(dir); err == nil {
		s.Errorf("the stage %s is left", dir)
	}
	after, err := m.Luggage(s.Context(), spec.UUID)
	s.must("luggage after the move", err)
	if got := s.read(after.Files[0].Path, len(text)); !bytes.Equal(got, text) {
		s.Errorf("the volume lost what the guest wrote")
	}
	names := func(files []driver.File) (out []string) {
		for _, f := range files {
			out = append(out, f.Name)
		}
		return out
	}
	if !slices.Equal(names(l.Files), names(after.Files)) {
		s.Errorf("files %v, were %v", names(after.Files), names(l.Files))
	}
	spec.Epoch++ // as once it is placed there
	s.must("ensure", s.Driver.Ensure(s.Context(), spec))
	s.wantMade(spec)
	s.power(spec, state.ActionOn)
	s.wantPower(spec, state.PowerOn)
}

func (s *suite) stageGivenUp() {
	m, spec := s.mover(), s.Node(0)
	dir, err := m.Stage(s.Context(), spec)
	s.must("stage", err)
	s.must("put a file", os.WriteFile(filepath.Join(dir, "vol0"), []byte("half"), 0o600))
	s.must("remove", s.Driver.Remove(s.Context(), spec.UUID))
	if _, ok := s.is(spec); ok {
		s.Errorf("node %s is still there", spec.Name)
	}
	if _, err := os.Stat(dir); err == nil {
		s.Errorf("the stage %s is left", dir)
	}
	other := s.made(1)
	other.UUID, other.Ports = spec.UUID, spec.Ports
	if _, err := m.Stage(s.Context(), other); err == nil {
		s.Errorf("stage of a node whose name is taken: no error")
	}
}
