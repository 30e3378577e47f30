//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	lv "libvirt.org/go/libvirt"

	"tenks/raftfsm/state"
)

// testSession is a connection to libvirt's driver for tests, which has pools and volumes without
// any disk.
func testSession(t *testing.T) *session {
	t.Helper()
	conn, err := lv.NewConnect("test:///default")
	if err != nil {
		t.Skipf("needs libvirt's client library: %v", err)
	}
	t.Cleanup(func() { _, _ = conn.Close() })
	return &session{conn: conn}
}

// asks makes calls by a session; under says whether one is under way.
func asks(s *session) (ask asking, under func() bool) {
	busy := false
	ask = func(do func(s *session) error) error {
		busy = true
		defer func() { busy = false }()
		return do(s)
	}
	return ask, func() bool { return busy }
}

// inPool are the names of the volumes of a pool; nil: there is no such pool.
func inPool(t *testing.T, s *session, pool string) []string {
	t.Helper()
	p, err := s.conn.LookupStoragePoolByName(pool)
	if errors.Is(err, lv.ERR_NO_STORAGE_POOL) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Free()
	names, err := p.ListStorageVolumes()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return append([]string{}, names...)
}

func TestIntegrationLogicalVolumesAreMadeAndDeletedByLibvirt(t *testing.T) {
	s := testSession(t)
	var wiped []string
	ask, asked := asks(s)
	g := &groups{file: filepath.Join(t.TempDir(), "groups.json"), wipe: func(_ context.Context, path string, _ telling) error {
		if asked() {
			t.Error("libvirt is asked while a volume is overwritten")
		}
		wiped = append(wiped, path)
		return nil
	}}
	vol := volume{Name: "vol0", Path: "/dev/vgtest1/tenks-tk0vol0", Group: "vgtest1", Capacity: 8 << 20}
	rec := record{UUID: "u", Name: "tk0", Volumes: []volume{vol}}
	if err := g.taken(s, rec, record{}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if made, err := g.ensure(s, vol); err != nil || made != (i == 0) {
			t.Fatal(made, err)
		}
	}
	if got := inPool(t, s, "tenks-vgtest1"); !slices.Equal(got, []string{"tenks-tk0vol0"}) {
		t.Fatalf("volumes %q", got)
	}
	if err := g.taken(s, rec, record{}); err == nil || !strings.Contains(err.Error(), "/dev/vgtest1/tenks-tk0vol0: exists, and is not of this node") {
		t.Errorf("one that is there: %v", err)
	}
	if err := g.taken(s, rec, rec); err != nil {
		t.Errorf("the node's own: %v", err)
	}
	foreign := vol
	foreign.Path = "/dev/vgtest1/root"
	if _, err := g.ensure(s, foreign); err != nil {
		t.Fatal(err)
	}
	if err := g.remove(t.Context(), ask, foreign.Path, nil); !errors.Is(err, state.ErrRefused) {
		t.Errorf("one that is not called as ours: %v", err)
	}
	for range 2 {
		if err := g.remove(t.Context(), ask, vol.Path, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(wiped, []string{vol.Path}) {
		t.Errorf("overwritten: %q", wiped)
	}
	// Stopping the pool would make the volumes of others unusable.
	if err := g.close(s, "vgtest1"); err != nil {
		t.Fatal(err)
	}
	if got := inPool(t, s, "tenks-vgtest1"); !slices.Equal(got, []string{"root"}) {
		t.Fatalf("volumes %q", got)
	}
	p, err := g.open(s, "vgtest1")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Free()
	v, err := lookUp(p, foreign.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Delete(0), v.Free(), g.close(s, "vgtest1")); err != nil {
		t.Fatal(err)
	}
	if got := inPool(t, s, "tenks-vgtest1"); got != nil || fileExists(g.file) {
		t.Errorf("the pool is left with %q", got)
	}
}

func TestIntegrationAVolumeThatCannotBeOverwrittenStays(t *testing.T) {
	s := testSession(t)
	g := &groups{file: filepath.Join(t.TempDir(), "groups.json"), wipe: func(context.Context, string, telling) error { return errors.New("input/output error") }}
	vol := volume{Path: "/dev/vgtest2/tenks-tk0vol0", Group: "vgtest2", Capacity: 8 << 20}
	if _, err := g.ensure(s, vol); err != nil {
		t.Fatal(err)
	}
	ask, _ := asks(s)
	if err := g.remove(t.Context(), ask, vol.Path, nil); err == nil || !strings.Contains(err.Error(), "overwrite: input/output error") {
		t.Errorf("%v", err)
	}
	if got := inPool(t, s, "tenks-vgtest2"); len(got) != 1 {
		t.Errorf("volumes %q", got)
	}
}

func TestIntegrationAPoolOfTheOperatorsIsUsedAndStays(t *testing.T) {
	s := testSession(t)
	theirs, err := s.conn.StoragePoolDefineXML("<pool type='logical'><name>theirs</name><source><name>vgtest3</name></source><target><path>/dev/vgtest3</path></target></pool>", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Free()
	g := &groups{file: filepath.Join(t.TempDir(), "groups.json"), wipe: func(context.Context, string, telling) error { return nil }}
	vol := volume{Path: "/dev/vgtest3/tenks-tk0vol0", Group: "vgtest3", Capacity: 8 << 20}
	ask, _ := asks(s)
	_, err = g.ensure(s, vol)
	if err := errors.Join(err, g.remove(t.Context(), ask, vol.Path, nil), g.close(s, "vgtest3")); err != nil {
		t.Fatal(err)
	}
	if on, err := theirs.IsActive(); err != nil || !on || inPool(t, s, "tenks-vgtest3") != nil || fileExists(g.file) {
		t.Errorf("it is on: %t, %v", on, err)
	}
}

// One that is only not usable, such as after its pool was stopped, has what its guest wrote.
func TestIntegrationALogicalVolumeThatTheNodeHadIsNotFilledAgain(t *testing.T) {
	s := testSession(t)
	recs, err := openRecords(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &Driver{records: recs, groups: groups{file: filepath.Join(t.TempDir(), "groups.json")}}
	vol := volume{Name: "vol0", Path: "/dev/vgtest4/tenks-tk0vol0", Group: "vgtest4", Capacity: 8 << 20, Image: "/i", Copy: true}
	if _, err := d.groups.ensure(s, vol); err != nil {
		t.Fatal(err)
	}
	p, err := findGroup(s, "vgtest4")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Free()
	rec := record{UUID: "u", Name: "tk0", Volumes: []volume{vol}}
	for _, tt := range []struct {
		when string
		want []string
	}{{"it is there", nil}, {"it was deleted", []string{"vol0"}}} {
		// libvirt's driver for tests makes no device.
		if err := d.makeLV(s, &rec, 0); err == nil || !strings.Contains(err.Error(), "make it usable with lvchange -ay") {
			t.Fatal(err)
		}
		if kept, _ := recs.get("u"); !slices.Equal(rec.Filling, tt.want) || !slices.Equal(kept.Filling, tt.want) {
			t.Errorf("%s: to be filled: %q, on disk %q, want %q", tt.when, rec.Filling, kept.Filling, tt.want)
		}
		v, err := lookUp(p, vol.Path)
		if err == nil {
			err = errors.Join(v.Delete(0), v.Free())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The whole of it, where the kernel has a device mapper.
func TestIntegrationLibvirtVolumesInAVolumeGroup(t *testing.T) {
	for _, path := range []string{"/dev/mapper/control", "/dev/loop-control"} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("needs the device mapper and loop devices of the kernel: %v", err)
		}
	}
	for _, tool := range []string{"vgcreate", "lvs", "losetup"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: lvm2 (Debian)", tool)
		}
	}
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput() //nolint:gosec // the test's own
		if err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	b := newBench(t)
	back := filepath.Join(b.srv.Dir, "vg.img")
	if err := errors.Join(os.WriteFile(back, nil, 0o600), os.Truncate(back, 256<<20)); err != nil {
		t.Fatal(err)
	}
	loop := run("losetup", "--find", "--show", back)
	t.Cleanup(func() { run("losetup", "-d", loop) })
	vg := "tenkstest" + filepath.Base(loop)
	run("vgcreate", vg, loop)
	t.Cleanup(func() { run("vgremove", "-ff", "-y", vg) })
	run("lvcreate", "-y", "-L", "8M", "-n", "root", vg)
	b.cfg.Options["pool_type"], b.cfg.Options["pool_source"], b.cfg.DataDir = "logical", vg, filepath.Join(b.srv.Dir, "data2")
	b.Driver = b.open(b.cfg)
	image := filepath.Join(b.srv.Dir, "image.raw")
	if err := os.WriteFile(image, []byte(strings.Repeat("tenks", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := node(1, 0)
	s.Machine.Volumes = []state.Volume{{CapacityBytes: 32 << 20, Image: image, Copy: true}, {CapacityBytes: 16 << 20}}
	b.ensure(s)
	b.want(s, state.PowerOff, s.Digest())
	before := b.xml(s)
	if b.ensure(s); b.xml(s) != before {
		t.Error("repeating Ensure changed the domain")
	}
	if got := whole(t, "/dev/"+vg+"/tenks-tk1vol0"); !strings.HasPrefix(got, "tenkstenks") || len(got) != 32<<20 {
		t.Errorf("the copy has %d bytes", len(got))
	}
	b.power(s, state.ActionOn, "")
	b.want(s, state.PowerOn, s.Digest())
	b.power(s, state.ActionOff, "")
	if err := os.WriteFile("/dev/"+vg+"/tenks-tk1vol0", []byte("written by the guest"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := call(t.Context(), b.conns, func(_ context.Context, s *session) (struct{}, error) {
		p, err := findGroup(s, vg)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, errors.Join(p.Destroy(), p.Free())
	})
	if err != nil || fileExists("/dev/"+vg+"/tenks-tk1vol0") {
		t.Fatal("the pool is to be stopped: ", err)
	}
	b.ensure(s)
	if got := whole(t, "/dev/"+vg+"/tenks-tk1vol0"); !strings.HasPrefix(got, "written by the guest") {
		t.Error("the disk is as it was made")
	}
	b.remove(s)
	if left := run("lvs", "--noheadings", "-o", "name", vg); left != "root" {
		t.Errorf("logical volumes %q", left)
	}
}
