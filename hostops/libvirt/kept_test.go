package libvirt

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// A file of somebody's that is no longer declared stays, and the node gets a disk of its own.
func TestADiskOfSomebodysIsReplacedByOneOfTheNodes(t *testing.T) {
	spec := func(v state.Volume) driver.Spec {
		return driver.Spec{Name: "tk0", Machine: state.Machine{Volumes: []state.Volume{v}}}
	}
	have := volumesOf("/pool", spec(state.Volume{Path: "/srv/data.img"}))
	want := volumesOf("/pool", spec(state.Volume{CapacityBytes: 5}))
	surplus, err := planVolumes(have, want)
	if err != nil || len(surplus) > 0 || want[0].Path != "/pool/tk0vol0" || want[0].Keep {
		t.Errorf("surplus %q, %v; %+v", surplus, err, want)
	}
	if _, err := planVolumes(want, have); err == nil {
		t.Error("a disk of the node's goes for one of somebody's, and nobody agreed to that")
	}
}

// Of a domain whose record was lost only files go that are called as its own: an overlay, or a
// path of its type, has others.
func TestWithoutARecordWhatIsNotCalledAsTheNodesIsSomebodys(t *testing.T) {
	def := &libvirtxml.Domain{Name: "tk0", Devices: &libvirtxml.DomainDeviceList{}}
	paths := []string{"/pool/tk0vol0", "/other/tk0vol1-2", "/pool/tk0disk2", "/srv/data.img", "/srv/tk0-data", "/srv/tk0"}
	for i, path := range paths {
		def.Devices.Disks = append(def.Devices.Disks, libvirtxml.DomainDisk{Device: "disk", Target: &libvirtxml.DomainDiskTarget{Dev: "vd" + string(rune('a'+i)), Bus: "virtio"},
			Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}, Driver: &libvirtxml.DomainDiskDriver{Type: "raw"}})
	}
	r := record{Volumes: adopt(def, "/pool/")}
	if got := r.paths(); !slices.Equal(got, paths[:3]) {
		t.Errorf("would delete %q, want %q", got, paths[:3])
	}
	want := volumesOf("/pool", driver.Spec{Name: "tk0", Machine: state.Machine{Volumes: []state.Volume{{CapacityBytes: 1}}}})
	if surplus, err := planVolumes(r.Volumes[3:], want); err != nil || len(surplus) > 0 {
		t.Errorf("surplus %q, %v", surplus, err)
	}
}

// qcow2 is the head of a file that is a difference to base.
func qcow2(base string, incompatible uint64) []byte {
	b := make([]byte, 104)
	copy(b, "QFI\xfb")
	b[7] = 3
	if base != "" {
		binary.BigEndian.PutUint64(b[8:], 104)
		binary.BigEndian.PutUint32(b[16:], uint32(len(base))) //nolint:gosec // it is short
	}
	binary.BigEndian.PutUint64(b[72:], incompatible)
	return append(b, base...)
}

// What a file on disk is a difference to is needed, whatever the record says by now: another
// checksum of the same URL is another image, and changes nothing for the disk that there is.
func TestAnImageIsInUseAsLongAsAFileIsADifferenceToIt(t *testing.T) {
	pool := t.TempDir()
	put := func(name, base string) string {
		path := filepath.Join(pool, name)
		if err := os.WriteFile(path, qcow2(base, 0), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, surplus := put("tk0vol0", "/images/old"), filepath.Join(t.TempDir(), "tk0vol1")
	put("tk1vol0", "/images/lost") // of a node without a record
	if err := os.Rename(put("x", "/images/surplus"), surplus); err != nil {
		t.Fatal(err)
	}
	used, err := imagesInUse(pool, map[string]record{"u": {Volumes: []volume{{Path: first, Image: "http://i", Base: "/images/new"}}, Surplus: []string{surplus}, CDROMs: []string{"/images/cd"}}})
	for _, image := range []string{"/images/old", "/images/new", "/images/surplus", "/images/lost", "/images/cd"} {
		if !used[image] {
			t.Errorf("%s is not in use: %v, %v", image, used, err)
		}
	}
}

func TestAFetchedImageIsSelfContained(t *testing.T) {
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"qcow2":          {qcow2("", 0), ""},
		"raw":            {[]byte("anything"), ""},
		"a difference":   {qcow2("/etc/shadow", 0), "difference to another image"},
		"data outside":   {qcow2("", 1<<2), "in another file"},
		"dirty, no more": {qcow2("", 1), ""},
	} {
		err := selfContained(write(t, "image", tt.file))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestADiskOfSomebodysIsOneNodesOnly(t *testing.T) {
	dir := t.TempDir()
	data, link, other := filepath.Join(dir, "data.img"), filepath.Join(dir, "by-id"), filepath.Join(dir, "other.img")
	for _, path := range []string{data, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	having := func(name string, paths ...string) record {
		r := record{UUID: name, Name: name, Volumes: []volume{{Path: "/pool/" + name + "vol0"}}}
		for _, path := range paths {
			r.Volumes = append(r.Volumes, volume{Path: path, Keep: true})
		}
		return r
	}
	for name, tt := range map[string]struct {
		of, all []string
		want    string
	}{
		"another":               {of: []string{other}, all: []string{data}},
		"the same":              {of: []string{other, data}, all: []string{data}, want: data},
		"by another name":       {of: []string{link}, all: []string{data}, want: link},
		"one that is not there": {of: []string{"/dev/no-disk"}, all: []string{"/dev/no-disk"}, want: "/dev/no-disk"},
		"none of somebody's":    {all: []string{data}},
	} {
		node, path := sharedDisk(having("tk1", tt.of...), []record{having("tk0", tt.all...)})
		if path != tt.want || (node == "tk0") != (tt.want != "") {
			t.Errorf("%s: %q of node %q, want %q", name, path, node, tt.want)
		}
	}
	null, err := os.Stat("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	zero, err := os.Stat("/dev/zero")
	if err != nil || sameDisk(null, zero) || !sameDisk(null, null) {
		t.Errorf("devices are not told apart: %v", err)
	}
}
