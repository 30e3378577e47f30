//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Volumes and NICs change under a running guest, which keeps what it has until it is off.
func TestIntegrationLibvirtWhatChangesUnderAGuestIsThereAtItsNextPowerOn(t *testing.T) {
	b := newBench(t)
	for n := range 3 {
		plug(t, 1, n)
	}
	s := node(1, 2)
	s.Machine.Volumes = []state.Volume{{CapacityBytes: 32 << 20}, {CapacityBytes: 16 << 20}, {CapacityBytes: 8 << 20}}
	file := func(name string) string { return filepath.Join(b.cfg.Options["pool_path"], s.Name+name) }
	b.ensure(s)
	for _, name := range []string{"vol0", "vol1", "vol2"} {
		if err := os.WriteFile(file(name), []byte("data of "+name), 0o600); err != nil { // what a guest wrote
			t.Fatal(err)
		}
	}
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	live := b.srv.Virsh(t, "dumpxml", s.Name)

	// The first grows, the second is made anew, the third goes; the first NIC goes, and two come.
	now := s
	now.Machine.Volumes = []state.Volume{{CapacityBytes: 64 << 20}, {CapacityBytes: 4 << 20, Made: 1}}
	now.Ports = []driver.Port{s.Ports[1], node(1, 3).Ports[2], {MAC: "52:54:00:00:01:09", Physnet: "p", Link: s.Ports[0].Link}}
	for range 2 { // it may be repeated
		b.ensure(now)
	}
	if got := b.srv.Virsh(t, "dumpxml", s.Name); got != live {
		t.Errorf("the running guest was changed from\n%s\nto\n%s", live, got)
	}
	pending := strings.Join(b.instance(s).Pending, "; ")
	for _, want := range []string{"disk", "NIC"} {
		if !strings.Contains(pending, want) {
			t.Errorf("pending %q says nothing of a %s", pending, want)
		}
	}
	for _, name := range []string{"vol0", "vol1", "vol2"} {
		if b, err := os.ReadFile(file(name)); err != nil || !strings.HasPrefix(string(b), "data of "+name) {
			t.Errorf("%s under the running guest: %.20q, %v", name, b, err)
		}
	}

	b.power(s, state.ActionCycle, "") // nobody ensures it in between
	xml := b.srv.Virsh(t, "dumpxml", s.Name)
	for text, want := range map[string]bool{file("vol0") + "'": true, file("vol1-1") + "'": true, file("vol1") + "'": false, file("vol2") + "'": false,
		s.Ports[0].MAC: false, now.Ports[0].MAC: true, now.Ports[1].MAC: true, now.Ports[2].MAC: true} {
		if strings.Contains(xml, text) != want {
			t.Errorf("%s in the new guest: %v, want %v", text, !want, want)
		}
	}
	if i := b.instance(s); len(i.Pending) > 0 || i.Digest != now.Digest() {
		t.Errorf("after the power-on: %+v", i)
	}
	if data, err := os.ReadFile(file("vol0")); err != nil || len(data) != 64<<20 || !strings.HasPrefix(string(data), "data of vol0") {
		t.Errorf("the volume that grew has %d bytes, begins with %.20q, %v", len(data), data, err)
	}
	if data, err := os.ReadFile(file("vol1-1")); err != nil || len(data) != 4<<20 || strings.Trim(string(data), "\x00") != "" {
		t.Errorf("the volume that was made anew has %d bytes, %v, or something in it", len(data), err)
	}
	for _, name := range []string{"vol1", "vol2"} {
		if fileExists(file(name)) {
			t.Errorf("%s is left", name)
		}
	}
	b.power(s, state.ActionOff, "")
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
