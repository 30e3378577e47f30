//go:build cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenks/hostops"
	"tenks/raftfsm/state"
)

// bootableStick is a disk whose master boot record writes a text to the first serial port
// and halts.
func bootableStick(text string) []byte {
	disk := make([]byte, 1<<20)
	copy(disk, bootSector(text))
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}

func TestIntegrationLibvirtGuestBootsFromAUSBStick(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	_, c := withChassis(t, b, s)
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bootableStick("BOOTED " + filepath.Base(r.URL.Path) + "\r\n"))
	}))
	defer images.Close()
	insert := func(name string) {
		t.Helper()
		if err := c.USB().InsertMedia(t.Context(), hostops.Media{URL: images.URL + "/" + name}); err != nil {
			t.Fatal(err)
		}
		// Both documents have it, and the node is what it was.
		i := b.instance(s)
		for _, args := range [][]string{{"domblklist", s.Name}, {"domblklist", s.Name, "--inactive"}} {
			if got := b.srv.Virsh(t, args...); i.USB == "" || !strings.Contains(got, i.USB) || !strings.Contains(got, stickDev) {
				t.Errorf("%q: no %q in\n%s", args, i.USB, got)
			}
		}
		if i.Digest != s.Digest() || len(i.Pending) > 0 || i.Media != "" {
			t.Errorf("instance %+v", i)
		}
	}
	power := func(a state.PowerAction, device state.BootDevice) {
		t.Helper()
		if err := c.SetBoot(t.Context(), state.Boot{Device: device}); err != nil {
			t.Fatal(err)
		}
		eventually(t, string(a), func() bool { return !errors.Is(c.Power(t.Context(), a), state.ErrBusy) })
	}
	says := func(text string, times int) {
		t.Helper()
		eventually(t, "the guest says "+text, func() bool {
			said, err := os.ReadFile(consoleLog(filepath.Join(b.srv.Dir, "console"), s.Name))
			return err == nil && strings.Count(string(said), text) == times
		})
	}
	domain := func() string { return b.srv.Virsh(t, "domid", s.Name) }

	if !strings.Contains(b.xml(s), "<controller type='usb'") {
		t.Error("what we make has no USB controller")
	}
	insert("off.img")
	power(state.ActionOn, state.BootUSB)
	says("BOOTED off.img", 1)
	id := domain()
	insert("on.img")
	if now := domain(); now != id {
		t.Errorf("a stick made a new guest: %s, was %s", now, id)
	}
	power(state.ActionReset, state.BootUSB) // its first place needs a new process
	says("BOOTED on.img", 1)

	power(state.ActionCycle, state.BootNone)
	says("SeaBIOS (version", 3)
	id = domain()
	insert("last.img")
	power(state.ActionReset, state.BootNone) // in the same process: the last place is free
	says("SeaBIOS (version", 4)
	if now := domain(); now != id {
		t.Errorf("a reset made a new guest: %s, was %s", now, id)
	}
	if err := c.USB().EjectMedia(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"dumpxml", s.Name}, {"dumpxml", s.Name, "--inactive"}} {
		if got := b.srv.Virsh(t, args...); strings.Contains(got, "bus='usb'") {
			t.Errorf("%q after it was unplugged:\n%s", args, got)
		}
	}
	if i := b.instance(s); i.USB != "" || i.Digest != s.Digest() || len(i.Pending) > 0 {
		t.Errorf("instance %+v", i)
	}
	if files, err := os.ReadDir(filepath.Join(b.srv.Dir, "media")); err != nil || len(files) > 0 {
		t.Errorf("images left: %v, %v", files, err)
	}
	if now := domain(); now != id {
		t.Errorf("unplugging made a new guest: %s, was %s", now, id)
	}
}
