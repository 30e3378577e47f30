//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/hostops/libvirt/libvirttest"
	"tenks/raftfsm/state"
)

func TestIntegrationLibvirtNICWhoseLinkWasDeleted(t *testing.T) {
	b := newBench(t)
	s := node(1, 2)
	plug(t, 1, 0)
	plug(t, 1, 1)
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	id := b.srv.Virsh(t, "domid", s.Name)
	libvirttest.DeleteLink(t, tapOf(1, 0))
	pending := strings.Join(b.instance(s).Pending, "; ")
	if pending != "NIC 0 needs a power cycle: its link was deleted" {
		t.Errorf("pending %q", pending)
	}
	plug(t, 1, 0)
	began := time.Now()
	b.ensure(s)
	t.Logf("Ensure took %s; then: %+v", time.Since(began).Round(time.Millisecond), b.instance(s))
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Error("the guest was restarted")
	}
	b.power(s, state.ActionCycle, "")
	if i := b.instance(s); len(i.Pending) > 0 || i.Digest != s.Digest() {
		t.Errorf("after a power cycle: %+v", i)
	}
}

// A guest's operating system has to help: TENKS_TEST_KERNEL and TENKS_TEST_INITRD name
// one that reports "guest is up" on its console.
func TestIntegrationLibvirtNICIsPluggedBackUnderAnOperatingSystem(t *testing.T) {
	kernel, initrd := os.Getenv("TENKS_TEST_KERNEL"), os.Getenv("TENKS_TEST_INITRD")
	if kernel == "" || initrd == "" {
		t.Skip("TENKS_TEST_KERNEL and TENKS_TEST_INITRD name no guest")
	}
	b := newBench(t)
	s := node(1, 2)
	s.Machine.MemoryMB = 512
	plug(t, 1, 0)
	plug(t, 1, 1)
	b.ensure(s)
	text := strings.Replace(b.xml(s), "</os>", "<kernel>"+kernel+"</kernel><initrd>"+initrd+"</initrd><cmdline>console=ttyS0</cmdline></os>", 1)
	file := filepath.Join(b.srv.Dir, "guest.xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.srv.Virsh(t, "define", file)
	b.power(s, state.ActionOn, "")
	eventually(t, "the guest is up", func() bool {
		log, _ := os.ReadFile(consoleLog(b.cfg.ConsoleDir, s.Name)) //nolint:gosec // the test's
		return strings.Contains(string(log), "guest is up")
	})
	id := b.srv.Virsh(t, "domid", s.Name)
	libvirttest.DeleteLink(t, tapOf(1, 0))
	plug(t, 1, 0)
	began := time.Now()
	b.ensure(s)
	t.Logf("Ensure took %s", time.Since(began).Round(time.Millisecond))
	if i := b.instance(s); len(i.Pending) > 0 || i.Digest != s.Digest() {
		t.Errorf("%+v", i)
	}
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Error("the guest was restarted")
	}
	log, err := os.ReadFile(consoleLog(b.cfg.ConsoleDir, s.Name)) //nolint:gosec // the test's
	t.Logf("%v\n%s", err, log[max(0, len(log)-1500):])
}
