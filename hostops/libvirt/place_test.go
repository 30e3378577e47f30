package libvirt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// whole is a file's content.
func whole(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// elsewhere is a directory of another file system than that of temporary files.
func elsewhere(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tenks") //nolint:usetesting // it is to be on another file system
	if err != nil {
		t.Skipf("needs a file system in /dev/shm: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var here, there unix.Stat_t
	if err := errors.Join(unix.Stat(t.TempDir(), &here), unix.Stat(dir, &there)); err != nil || here.Dev == there.Dev {
		t.Skipf("needs /dev/shm to be another file system than that of temporary files: %v", err)
	}
	return dir
}

// sparse makes a sparse file of 64 MiB with data at its begin and in its middle.
func sparse(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vol1")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 32<<20 + 12345} {
		if _, err := f.WriteAt([]byte("data of a guest"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileIsPutOnAnotherFileSystemWithItsHoles(t *testing.T) {
	from, to := sparse(t), filepath.Join(elsewhere(t), "tk0vol1")
	if err := os.Rename(from, to); !errors.Is(err, unix.EXDEV) {
		t.Fatalf("rename: %v", err)
	}
	if err := os.WriteFile(unfinished(to), []byte("of a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := whole(t, from)
	if err := placeFile(t.Context(), from, to, func(string) {}); err != nil {
		t.Fatal(err)
	}
	var s unix.Stat_t
	if err := unix.Stat(to, &s); err != nil || s.Blocks*512 > 1<<20 || s.Mode&0o777 != 0o600 {
		t.Errorf("%d bytes on disk, mode %o, %v", s.Blocks*512, s.Mode, err)
	}
	if whole(t, to) != want || fileExists(from) || fileExists(unfinished(to)) {
		t.Error("it is not what it was, or something is left")
	}
}

func TestACopyThatIsStoppedLeavesWhatThereWas(t *testing.T) {
	from, to := sparse(t), filepath.Join(elsewhere(t), "tk0vol1")
	ctx, cancel := context.WithCancel(t.Context())
	said := ""
	err := placeFile(ctx, from, to, func(text string) { said = text; cancel() })
	if !errors.Is(err, context.Canceled) || said == "" {
		t.Errorf("%v, told %q", err, said)
	}
	if !fileExists(from) || fileExists(to) || fileExists(unfinished(to)) {
		t.Errorf("the file is gone, or something is left: %t %t %t", fileExists(from), fileExists(to), fileExists(unfinished(to)))
	}
}

func TestOverwriteLeavesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	const size = copyPart + 3<<20 + 512
	if err := os.WriteFile(file, bytes.Repeat([]byte("tenks"), size/5+1)[:size], 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	ctx, cancel := context.WithCancel(t.Context())
	stopping := func(text string) { told = append(told, text); cancel() }
	if err := overwrite(ctx, file, stopping); !errors.Is(err, context.Canceled) || len(told) != 1 {
		t.Errorf("it was stopped: %v, told %q", err, told)
	}
	if err := overwrite(t.Context(), file, func(text string) { told = append(told, text) }); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || len(got) != size || len(bytes.Trim(got, "\x00")) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if want := []string{"0 KiB of 67 MiB", "0 KiB of 67 MiB", "64 MiB of 67 MiB"}; !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	if err := overwrite(t.Context(), filepath.Join(t.TempDir(), "absent"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
}
