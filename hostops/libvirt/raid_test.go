//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// disks are the names of the files of a domain's disks, in order, with their serial numbers.
func (b *bench) disks(s driver.Spec, how ...string) string {
	b.t.Helper()
	v, err := viewOf(b.srv.Virsh(b.t, append([]string{"dumpxml", s.Name}, how...)...))
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, k := range v.hardware.Disks {
		out = append(out, strings.TrimPrefix(filepath.Base(k.Path), s.Name)+k.Serial)
	}
	return strings.Join(out, " ")
}

func TestIntegrationLibvirtRAIDVolumes(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	s.Machine.Volumes = []state.Volume{{CapacityBytes: 1 << 20}, {CapacityBytes: 1 << 20}, {CapacityBytes: 3 << 20}}
	b.ensure(s)
	file := func(name string) string { return filepath.Join(b.cfg.Options["pool_path"], s.Name+name) }
	for _, name := range []string{"vol0", "vol2"} {
		if err := os.WriteFile(file(name), []byte("data of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.power(s, state.ActionOn, "")
	mirror := driver.RAIDVolume{ID: "4", Level: "1", Disks: []int{0, 1}, CapacityBytes: 1 << 20, Serial: "-s", Made: 1}
	s.Setup.Volumes = []driver.RAIDVolume{mirror}
	b.ensure(s)
	b.want(s, state.PowerOn, s.Digest())
	if got := b.disks(s); got != "vol0 vol1 vol2" || len(b.instance(s).Pending) == 0 {
		t.Errorf("the running guest has %q; pending %q", got, b.instance(s).Pending)
	}
	if text, err := os.ReadFile(file("vol0")); err != nil || !strings.HasPrefix(string(text), "data of vol0") {
		t.Errorf("a disk under a running guest: %.20q, %v", text, err)
	}
	b.power(s, state.ActionCycle, "")
	if got := b.disks(s); got != "raid1-s vol2" || len(b.instance(s).Pending) > 0 {
		t.Errorf("after the start it has %q; pending %q", got, b.instance(s).Pending)
	}
	if i, err := os.Stat(file("raid1")); err != nil || i.Size() != 1<<20 || fileExists(file("vol0")) || fileExists(file("vol1")) {
		t.Errorf("files of the volume: %v, %v; of its disks: %t %t", i, err, fileExists(file("vol0")), fileExists(file("vol1")))
	}
	b.want(s, state.PowerOn, s.Digest())
	b.power(s, state.ActionOff, "")
	// Another volume under the same ID is a new one.
	old := file("raid1")
	if err := os.WriteFile(old, slices.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Setup.Volumes[0].Made = 2
	b.ensure(s)
	if got := b.disks(s, "--inactive"); got != "raid2-s vol2" || fileExists(old) {
		t.Errorf("made again: %q; the old one is there: %t", got, fileExists(old))
	}
	s.Setup.Volumes = nil
	b.ensure(s)
	if got := b.disks(s, "--inactive"); got != "vol0 vol1 vol2" {
		t.Errorf("without volumes: %q", got)
	}
	for name, want := range map[string]string{"vol0": "\x00", "vol2": "data of vol2"} {
		if text, err := os.ReadFile(file(name)); err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: %.20q, %v", name, text, err)
		}
	}
	b.power(s, state.ActionOn, "")
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
