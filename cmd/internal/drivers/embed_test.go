//go:build tenks_embed

package drivers

import (
	"debug/elf"
	"path/filepath"
	"testing"
)

func TestEmbeddedDriverIsAProgram(t *testing.T) {
	dir := t.TempDir()
	path, err := Libvirt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := filepath.Dir(path), filepath.Join(dir, "drivers"); got != want {
		t.Errorf("Libvirt(%q) is in %s, want %s", dir, got, want)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, lib := range libs {
		if lib == "libvirt.so.0" {
			t.Errorf("%s cannot start without %s; it should load it when it runs", path, lib)
		}
	}
}
