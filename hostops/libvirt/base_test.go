//go:build cgo && libvirt_dlopen

package libvirt

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// Which file a disk is a difference to is on disk before that is fetched: forgotten, the file
// would be deleted as one that no node needs.
func TestTheFetchedImageOfAVolumeIsRemembered(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }))
	defer web.Close()
	dir, pool := t.TempDir(), t.TempDir()
	recs, err := openRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &Driver{records: recs, jobs: jobs{start: func(do func()) bool { go do(); return true }, alive: t.Context(), patience: jobPatience, all: map[string]*job{}}}
	rec := record{UUID: "u", Name: "tk0", Pool: pool, Volumes: []volume{{Name: "vol0", Path: filepath.Join(pool, "tk0vol0"), Capacity: 2 << 20, Image: web.URL + "/a.img"}}}
	if err := recs.put(rec); err != nil {
		t.Fatal(err)
	}
	if err := d.makeFile(t.Context(), nil, &rec, 0); err != nil {
		t.Fatal(err)
	}
	if err := recs.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := fetchedPath(pool, web.URL+"/a.img", "")
	if got, ok := again.get("u"); !ok || got.Volumes[0].Base != want || !fileExists(want) || !fileExists(rec.Volumes[0].Path) {
		t.Errorf("record %+v, want the base %s", got, want)
	}
}
