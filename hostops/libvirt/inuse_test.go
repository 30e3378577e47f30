package libvirt

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFilesOfADomainAreItsDisksMediaAndWhatTheyAreDifferencesTo(t *testing.T) {
	files, volumes, err := filesIn(`<domain type='qemu'><name>theirs</name><devices>
  <disk type='file' device='disk'><source file='/a'/><backingStore type='file'><format type='qcow2'/><source file='/b'/><backingStore type='block'><format type='raw'/><source dev='/dev/c'/></backingStore></backingStore><target dev='vda'/></disk>
  <disk type='file' device='cdrom'><source file='/d.iso'/><target dev='sda'/></disk>
  <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdb'/></disk>
  <disk type='file' device='cdrom'><target dev='sdb'/></disk>
</devices></domain>`)
	if err != nil || !slices.Equal(files, []string{"/a", "/b", "/dev/c", "/d.iso"}) || !slices.Equal(volumes, [][2]string{{"p", "v"}}) {
		t.Errorf("%q, %q, %v", files, volumes, err)
	}
	if _, _, err := filesIn("<domain"); err == nil {
		t.Error("no error of what is no XML")
	}
}

func TestAnImageIsNeededByWhateverIsADifferenceToIt(t *testing.T) {
	dir := t.TempDir()
	put := func(name, base string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, qcow2(base, 0), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	image := put("0123-image", "")
	middle := put("middle", "0123-image") // relative to its own directory
	link := filepath.Join(dir, "link")
	if err := os.Symlink(image, link); err != nil {
		t.Fatal(err)
	}
	loop := put("loop", filepath.Join(dir, "loop"))
	for name, tt := range map[string]struct {
		disk string
		want bool
	}{
		"itself":              {image, true},
		"a chain":             {put("top", middle), true},
		"by another path":     {put("other", link), true},
		"described in JSON":   {put("json", `json:{"driver":"qcow2","file":{"driver":"file","filename":"`+image+`"}}`), true},
		"with a protocol":     {put("proto", "file:"+image), true},
		"another":             {put("else", "/images/else"), false},
		"a loop":              {loop, false},
		"one that is missing": {filepath.Join(dir, "missing"), false},
	} {
		if got := needs(chainOf(tt.disk), image); got != tt.want {
			t.Errorf("%s: needed: %t, want %t: %q", name, got, tt.want, chainOf(tt.disk))
		}
	}
}
