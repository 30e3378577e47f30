package address

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel has devices, and hosts in their networks that have addresses.
type fakeKernel struct {
	links []device
	// others have addresses elsewhere, by whom.
	others map[netip.Addr]string
	calls  []string
	// beforeAdd is called before an address is added.
	beforeAdd func(netip.Addr) error
}

func (f *fakeKernel) devices() ([]device, error) { return slices.Clone(f.links), nil }

func (f *fakeKernel) add(index int, a netip.Addr) error {
	f.calls = append(f.calls, "add "+a.String())
	if f.beforeAdd != nil {
		if err := f.beforeAdd(a); err != nil {
			return err
		}
	}
	for i, d := range f.links {
		if d.index == index {
			f.links[i].has = append(slices.Clone(d.has), host(a))
		}
	}
	return nil
}

func (f *fakeKernel) remove(index int, a netip.Addr) error {
	f.calls = append(f.calls, "remove "+a.String())
	for i, d := range f.links {
		if d.index == index {
			f.links[i].has = slices.DeleteFunc(slices.Clone(d.has), func(p netip.Prefix) bool { return p == host(a) })
		}
	}
	return nil
}

func (f *fakeKernel) probe(_ context.Context, all []addition, _ []device) map[netip.Addr]error {
	out := map[netip.Addr]error{}
	for _, a := range all {
		f.calls = append(f.calls, "probe "+a.address.String())
		if by := f.others[a.address]; by != "" {
			out[a.address] = fmt.Errorf("%s is in use by %s", a.address, by)
		}
	}
	return out
}

func (f *fakeKernel) announce(_ context.Context, all []addition) (func(), error) {
	for _, a := range all {
		f.calls = append(f.calls, "announce "+a.address.String())
	}
	return func() { f.calls = append(f.calls, "announce again") }, nil
}

func (*fakeKernel) close() {}

func (f *fakeKernel) said() string {
	out := strings.Join(f.calls, ", ")
	f.calls = nil
	return out
}

func openFake(t *testing.T, k *fakeKernel, file, boot string) *Host {
	t.Helper()
	h, err := open(Config{File: file, BootID: boot, Log: slog.New(slog.DiscardHandler)}, k)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (f *fakeKernel) kept(t *testing.T, h *Host, want ...string) (did, wrong string) {
	t.Helper()
	errs, err := h.Keep(t.Context(), wants(want...))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, a := range want {
		if errs[addr(a)] != nil {
			texts = append(texts, errs[addr(a)].Error())
		}
	}
	return f.said(), strings.Join(texts, "; ")
}

func TestKeepAddsOnceAndRemovesWhatItAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{links: []device{link(1, "192.0.2.1/24")}, others: map[netip.Addr]string{addr("192.0.2.8"): "52:54:00:00:00:08"}}
		file := filepath.Join(t.TempDir(), "addresses")
		k.beforeAdd = func(a netip.Addr) error {
			if b, _ := os.ReadFile(file); !strings.Contains(string(b), a.String()) {
				t.Errorf("%s is added before it is noted: %s", a, b)
			}
			return nil
		}
		h := openFake(t, k, file, "boot")
		did, wrong := k.kept(t, h, "192.0.2.8", "192.0.2.9")
		if did != "probe 192.0.2.8, probe 192.0.2.9, add 192.0.2.9, announce 192.0.2.9" || wrong != "192.0.2.8 is in use by 52:54:00:00:00:08" {
			t.Errorf("first: %s: %s", did, wrong)
		}
		if got := h.Held(); !slices.Equal(got, []netip.Addr{addr("192.0.2.9")}) {
			t.Errorf("held %v", got)
		}
		if did, _ := k.kept(t, h, "192.0.2.9"); did != "" {
			t.Errorf("again: %s", did)
		}
		_ = k.remove(1, addr("192.0.2.9")) // by somebody
		k.said()
		if did, _ := k.kept(t, h, "192.0.2.9"); did != "" {
			t.Errorf("a moment later: %s", did)
		}
		<-time.After(lookAgain)
		k.said() // announced again
		if did, _ := k.kept(t, h, "192.0.2.9"); did != "probe 192.0.2.9, add 192.0.2.9, announce 192.0.2.9" {
			t.Errorf("after a while: %s", did)
		}
		h.Close()
		if did := k.said(); did != "announce again" {
			t.Errorf("at the end: %s", did)
		}

		h = openFake(t, k, file, "boot") // the next agent
		delete(k.others, addr("192.0.2.8"))
		if did, wrong := k.kept(t, h, "192.0.2.8", "192.0.2.9"); did != "probe 192.0.2.8, add 192.0.2.8, announce 192.0.2.8" || wrong != "" {
			t.Errorf("the next agent: %s: %s", did, wrong)
		}
		if did, _ := k.kept(t, h, "192.0.2.8"); did != "remove 192.0.2.9" {
			t.Errorf("one less: %s", did)
		}
		h.Close()
		k.said()

		h = openFake(t, k, file, "another boot") // 192.0.2.8 is somebody's by now
		if did, wrong := k.kept(t, h, "192.0.2.8"); did != "" || wrong != "192.0.2.8 is this host's own, on eth1: take it out of bmc.addresses" {
			t.Errorf("after a boot: %s: %s", did, wrong)
		}
		h.Close()

		h = openFake(t, k, file, "boot")
		if err := h.clear(t.Context()); err != nil || k.said() != "remove 192.0.2.8" {
			t.Errorf("clear: %v", err)
		}
		h.Close()
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
	})
}

func TestKeepDoesNotTakeOverWhatSomebodyAddsMeanwhile(t *testing.T) {
	k := &fakeKernel{links: []device{link(1, "192.0.2.1/24")}}
	k.beforeAdd = func(netip.Addr) error { return unix.EEXIST }
	file := filepath.Join(t.TempDir(), "addresses")
	h := openFake(t, k, file, "boot")
	defer h.Close()
	if _, wrong := k.kept(t, h, "192.0.2.9"); wrong != "192.0.2.9 is this host's own, on eth1: take it out of bmc.addresses" {
		t.Errorf("got %s", wrong)
	}
	k.links[0].has = append(k.links[0].has, host(addr("192.0.2.9")))
	if did, _ := k.kept(t, h); did != "" {
		t.Errorf("removed: %s", did)
	}
	if b, err := os.ReadFile(file); err == nil {
		t.Errorf("noted: %s", b)
	}
}

func TestAnAgentThatEndsWhileItAddsLeavesNothing(t *testing.T) {
	k := &fakeKernel{links: []device{link(1, "192.0.2.1/24")}}
	file := filepath.Join(t.TempDir(), "addresses")
	h := openFake(t, k, file, "boot")
	k.beforeAdd = func(netip.Addr) error { panic("killed") }
	func() {
		defer func() { _ = recover() }()
		_, _ = h.Keep(t.Context(), wants("192.0.2.8", "192.0.2.9"))
	}()
	k.links[0].has = append(k.links[0].has, host(addr("192.0.2.8"))) // it got so far
	k.said()
	if h = openFake(t, k, file, "boot"); len(h.ours) != 2 {
		t.Errorf("noted: %v", h.ours)
	}
	defer h.Close()
	if did, _ := k.kept(t, h); did != "remove 192.0.2.8" {
		t.Errorf("got %s", did)
	}
}

func TestAFileThatCannotBeReadStopsTheAgent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addresses")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(Config{File: file}, &fakeKernel{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestNetworksAreThoseOfLinksThatAreUp(t *testing.T) {
	off := link(2, "198.51.100.1/24")
	off.up = false
	h := openFake(t, &fakeKernel{links: []device{link(3, "2001:db8::1/64"), off, link(1, "192.0.2.1/24", "192.0.2.9/32", "192.0.2.1/24")}}, filepath.Join(t.TempDir(), "a"), "boot")
	defer h.Close()
	if got, err := h.Networks(); err != nil || strings.Join(got, " ") != "192.0.2.1/24 2001:db8::1/64" {
		t.Errorf("got %v, %v", got, err)
	}
}
