package gpt

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// disk is a file of so many MiB.
func disk(t *testing.T, mib int64) (*os.File, int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(mib << 20); err != nil {
		t.Fatal(err)
	}
	return f, mib << 20
}

func TestATableIsReadAsItWasWritten(t *testing.T) {
	f, size := disk(t, 16)
	if _, err := Read(f); !errors.Is(err, ErrNone) {
		t.Errorf("an empty disk: %v", err)
	}
	if _, err := f.WriteAt([]byte("boot code"), 0); err != nil {
		t.Fatal(err)
	}
	var want Table
	want.Append(BIOSBoot, "bios", 1<<20)
	esp := want.Append(ESP, "esp", 5<<20)
	if esp.Offset() != 2<<20 || esp.Size() != 5<<20 {
		t.Errorf("the second partition is at %d, %d bytes", esp.Offset(), esp.Size())
	}
	last, err := want.AppendAtEnd(Linux, "config-2", 4<<20, size)
	if err != nil || last.Offset() != 11<<20 {
		t.Errorf("the last one is %+v, %v", last, err)
	}
	if err := want.Write(f, size); err != nil {
		t.Fatal(err)
	}
	got, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Partition{})); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	code := make([]byte, 9)
	if _, err := f.ReadAt(code, 0); err != nil || string(code) != "boot code" {
		t.Errorf("the boot code is %q, %v", code, err)
	}
}

func TestAnotherProgramFindsNoFault(t *testing.T) {
	sfdisk, err := exec.LookPath("sfdisk")
	if err != nil {
		t.Skip("no sfdisk (fdisk, Debian)")
	}
	f, size := disk(t, 8)
	var table Table
	table.Append(ESP, "esp", 2<<20)
	if _, err := table.AppendAtEnd(Linux, "config-2", 1<<20, size); err != nil {
		t.Fatal(err)
	}
	if err := table.Write(f, size); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), sfdisk, "--verify", f.Name()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No errors detected") {
		t.Errorf("sfdisk: %v\n%s", err, out)
	}
	dump, err := exec.CommandContext(t.Context(), sfdisk, "--dump", f.Name()).CombinedOutput()
	if err != nil || !strings.Contains(string(dump), `name="config-2"`) || !strings.Contains(string(dump), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B") {
		t.Errorf("sfdisk: %v\n%s", err, dump)
	}
}

func TestWhatHasNoRoomIsRefused(t *testing.T) {
	f, size := disk(t, 4)
	var table Table
	table.Append(ESP, "esp", 2<<20)
	if _, err := table.AppendAtEnd(Linux, "late", 1<<20, size); !errors.Is(err, ErrFull) {
		t.Errorf("a partition over another: %v", err)
	}
	if _, err := new(Table).AppendAtEnd(Linux, "large", 1<<40, size); !errors.Is(err, ErrFull) {
		t.Errorf("a partition larger than the disk: %v", err)
	}
	table.Append(Linux, "behind", 8<<20)
	if err := table.Write(f, size); !errors.Is(err, ErrFull) {
		t.Errorf("a table of more than there is: %v", err)
	}
}

func TestADamagedTableIsNone(t *testing.T) {
	f, size := disk(t, 4)
	if err := new(Table).Write(f, size); err != nil {
		t.Fatal(err)
	}
	for what, at := range map[string]int64{"the header": SectorSize + 60, "an entry": 2*SectorSize + 5} {
		if _, err := f.WriteAt([]byte{0x99}, at); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(f); !errors.Is(err, ErrNone) {
			t.Errorf("damage to %s: %v", what, err)
		}
		if _, err := f.WriteAt(make([]byte, 1), at); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzRead(f *testing.F) {
	good := make(buffer, 2<<20)
	var table Table
	table.Append(ESP, "esp", 1<<10)
	if err := table.Write(good, int64(len(good))); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good[:34*SectorSize]))
	f.Add([]byte("EFI PART"))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Read(bytes.NewReader(b))
		if err == nil {
			_, _ = table.AppendAtEnd(Linux, "more", 1<<20, int64(len(b)))
			table.Append(Linux, "more", 1<<20)
		}
	})
}

// buffer is a disk in memory.
type buffer []byte

func (b buffer) WriteAt(p []byte, at int64) (int, error) { return copy(b[at:], p), nil }
