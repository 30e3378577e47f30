package drivers

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func pack(t *testing.T, program string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(program)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(t *testing.T, dir string) string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range found {
		out = append(out, f.Name())
	}
	return strings.Join(out, " ")
}

func mustUnpack(t *testing.T, dir, program string) string {
	t.Helper()
	path, err := unpack(dir, "drv", pack(t, program))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnpackWritesAProgramThatRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drivers")
	path := mustUnpack(t, dir, "#!/bin/sh\necho hello\n")
	// The first 12 digits of the SHA-256 of the program.
	if got, want := filepath.Base(path), "drv-bfdeaeb08cff"; got != want {
		t.Errorf("name is %s, want %s", got, want)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o700 {
		t.Errorf("mode is %v, want 0700", st.Mode())
	}
	out, err := exec.CommandContext(t.Context(), path).Output()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("running it: %q, %v", out, err)
	}
}

func TestUnpackKeepsAnIntactProgram(t *testing.T) {
	dir := t.TempDir()
	first, err := os.Stat(mustUnpack(t, dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(mustUnpack(t, dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(first, second) {
		t.Error("the program was written again although it was intact")
	}
}

func TestUnpackReplacesADamagedProgram(t *testing.T) {
	damages := []struct {
		name   string
		damage func(path string) error
	}{
		{"cut short", func(p string) error { return os.Truncate(p, 1) }},
		{"changed", func(p string) error { return os.WriteFile(p, []byte("two"), 0o700) }},
		{"not executable", func(p string) error { return os.Chmod(p, 0o600) }},
		{"a link", func(p string) error {
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		}},
	}
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := mustUnpack(t, dir, "one")
			if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			mustUnpack(t, dir, "one")
			got, err := os.ReadFile(path)
			if err != nil || string(got) != "one" {
				t.Errorf("program is %q, %v; want %q", got, err, "one")
			}
			st, err := os.Lstat(path)
			if err != nil || st.Mode() != 0o700 {
				t.Errorf("mode is %v, %v; want a regular file with 0700", st.Mode(), err)
			}
		})
	}
}

func TestUnpackRemovesOlderProgramsAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	old := mustUnpack(t, dir, "one")
	for _, name := range []string{"other-driver", ".drv-0123-tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := mustUnpack(t, dir, "two")
	if old == path {
		t.Fatalf("both versions are at %s", path)
	}
	if got, want := names(t, dir), filepath.Base(path)+" other-driver"; got != want {
		t.Errorf("left are %q, want %q", got, want)
	}
}

func TestUnpackLeavesNothingBehindWhenThePackIsDamaged(t *testing.T) {
	packed := pack(t, strings.Repeat("program", 1000))
	dir := t.TempDir()
	if _, err := unpack(dir, "drv", packed[:len(packed)-4]); err == nil {
		t.Fatal("a damaged pack was unpacked")
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left are %q, want nothing", got)
	}
}

func TestFindPrefersTheProgramBesideTheExecutable(t *testing.T) {
	beside, inPath := t.TempDir(), t.TempDir()
	t.Setenv("PATH", inPath)
	put := func(dir string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, "drv")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		if got, err := find(beside, "drv"); got != want || err != nil {
			t.Errorf("find = %q, %v; want %q", got, err, want)
		}
	}
	put(inPath, 0o755)
	check(filepath.Join(inPath, "drv"))
	put(beside, 0o644) // cannot be run
	check(filepath.Join(inPath, "drv"))
	put(beside, 0o755)
	check(filepath.Join(beside, "drv"))
}

func TestFindSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := find("/opt/bin", "drv")
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("error is %v, want ErrNotFound", err)
	}
	want := "driver drv: not found: run make, or put drv beside /opt/bin/tenks or in PATH"
	if err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}
