//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"os/exec"
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
// one that says "guest is up" on its console, gives the NIC 52:54:00:00:01:00 the address
// 10.9.9.2/24, also when it is plugged in later, and says "ping ok" whenever 10.9.9.1
// answers and "ping lost" when not.
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
	read := func() string {
		log, _ := os.ReadFile(consoleLog(b.cfg.ConsoleDir, s.Name)) //nolint:gosec // the test's
		return string(log)
	}
	address := func() {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "ip", "addr", "add", "10.9.9.1/24", "dev", "tk1-0-br").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	address()
	eventually(t, "the guest pings", func() bool { return strings.Contains(read(), "ping ok") })
	id := b.srv.Virsh(t, "domid", s.Name)
	libvirttest.DeleteLink(t, tapOf(1, 0))
	eventually(t, "the guest notices", func() bool { return strings.Contains(read(), "ping lost") })
	plug(t, 1, 0)
	address()
	began := time.Now()
	b.ensure(s)
	t.Logf("Ensure took %s", time.Since(began).Round(time.Millisecond))
	if i := b.instance(s); len(i.Pending) > 0 || i.Digest != s.Digest() {
		t.Errorf("%+v", i)
	}
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Error("the guest was restarted")
	}
	_, after, _ := strings.Cut(read(), "ping lost")
	before := strings.Count(after, "ping ok")
	eventually(t, "the guest pings again", func() bool {
		_, after, _ := strings.Cut(read(), "ping lost")
		return strings.Count(after, "ping ok") > before
	})
}
