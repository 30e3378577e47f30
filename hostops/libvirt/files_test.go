package libvirt

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageFormatIsDetected(t *testing.T) {
	qcow := make([]byte, 104)
	copy(qcow, "QFI\xfb")
	binary.BigEndian.PutUint64(qcow[24:], 5<<30)
	if i, err := readImage(write(t, "a", qcow)); err != nil || i != (image{formatQcow, 5 << 30}) {
		t.Errorf("qcow2: %+v, %v", i, err)
	}
	if i, err := readImage(write(t, "a", make([]byte, 1000))); err != nil || i != (image{formatRaw, 1000}) {
		t.Errorf("raw: %+v, %v", i, err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing": {"/nowhere/a.img", "image /nowhere/a.img: does not exist on this host"},
		"vmdk":    {write(t, "a", append([]byte("KDMV"), make([]byte, 600)...)), "is VMDK: convert it"},
		"cut off": {write(t, "a", qcow[:20]), "cut off"},
		"folder":  {t.TempDir(), "is no regular file"},
	} {
		if _, err := readImage(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestBlankVolumeThatACrashLeftIsFinished(t *testing.T) {
	v := volume{Path: write(t, "v", nil), Capacity: 1 << 20}
	for range 2 {
		if err := makeVolume(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		i, err := os.Stat(v.Path)
		if err != nil || i.Size() != 1<<20 {
			t.Fatalf("%v, %v", i, err)
		}
	}
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	a, err := openRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := record{UUID: "u", Name: "n", Epoch: 3, Pool: "/p", Volumes: []volume{{Name: "vol0", Path: "/p/v", Capacity: 5}}, Surplus: []string{"/p/w"}, Files: []string{"/p/f"}}
	if err := a.put(r); err != nil {
		t.Fatal(err)
	}
	b, err := openRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := b.get("u"); !ok || !got.equal(r) || !got.owns("/p/v") || !got.owns("/p/w") || !got.owns("/p/f") || got.owns("/p/x") {
		t.Errorf("%+v, %t", got, ok)
	}
	if err := b.drop("u"); err != nil {
		t.Fatal(err)
	}
	if err := b.drop("u"); err != nil {
		t.Errorf("again: %v", err)
	}
	c, err := openRecords(dir)
	if err != nil || len(c.list()) > 0 {
		t.Errorf("%v, %v", c.list(), err)
	}
}
