package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newLab makes a lab that is closed, and checked to have left nothing, with the test.
func newLab(t *testing.T) *Lab {
	t.Helper()
	Require(t)
	before := traces(t)
	l, err := New(t.Context(), filepath.Join(t.TempDir(), "lab"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		if _, err := os.Stat(l.Dir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("directory %s is still there (%v)", l.Dir(), err)
		}
		for _, trace := range traces(t) {
			if !slices.Contains(before, trace) && (strings.Contains(trace, l.prefix) || strings.Contains(trace, l.Dir())) {
				t.Errorf("left on this machine: %s", trace)
			}
		}
	})
	return l
}

// traces are the network namespaces, mounts and processes of this machine.
func traces(t *testing.T) []string {
	t.Helper()
	var all []string
	names, err := filepath.Glob("/run/netns/*")
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, names...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, strings.Split(string(mounts), "\n")...)
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environments {
		if b, err := os.ReadFile(path); err == nil {
			// Init has the directory in its environment, what Command runs the host's
			// name; qemu has the lab's files open and no more.
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			all = append(all, path+" "+string(bytes.ReplaceAll(append(command, b...), []byte{0}, []byte(" "))))
		}
	}
	return all
}

func addHost(t *testing.T, l *Lab, name string) *Host {
	t.Helper()
	h, err := l.AddHost(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func output(t *testing.T, h *Host, name string, args ...string) string {
	t.Helper()
	out, err := h.Command(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const guest = `<domain type="qemu"><name>guest</name><memory unit="MiB">32</memory>
<os><type arch="x86_64" machine="q35">hvm</type></os></domain>`

func TestIntegrationLabHostRunsDomainsThatAreOffButDefinedAfterAReboot(t *testing.T) {
	l := newLab(t)
	h := addHost(t, l, "hv1")
	must(t, h.StartLibvirtd(t.Context()))
	must(t, os.WriteFile(h.Path("/var/lib/tenks/guest.xml"), []byte(guest), 0o600))
	must(t, h.Virsh(t.Context(), "define", "/var/lib/tenks/guest.xml"))
	must(t, h.Virsh(t.Context(), "start", "guest"))
	if _, err := os.Stat(h.Path("/etc/libvirt/qemu/guest.xml")); err != nil {
		t.Errorf("the definition is not on the host's disk: %v", err)
	}
	if got := output(t, h, "virsh", "-q", "list", "--name"); got != "guest" {
		t.Fatalf("running domains: got %q, want guest", got)
	}
	before, err := processes(h.namespaces)
	must(t, err)
	if len(before) < 3 {
		t.Fatalf("processes in the host: got %v, want init, libvirtd and qemu", before)
	}
	libvirtd := h.Libvirtd()

	must(t, h.Reboot(t.Context()))

	for _, p := range before {
		// One that has ended has no program, even if nobody has waited for it yet.
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)); err == nil {
			t.Errorf("process %d (%s) of the boot before is still there: %s", p.pid, p.name, exe)
		}
	}
	if h.Libvirtd() == libvirtd || h.Libvirtd() == 0 {
		t.Errorf("libvirtd: got process %d, had %d", h.Libvirtd(), libvirtd)
	}
	if got := output(t, h, "virsh", "-q", "list", "--name"); got != "" {
		t.Errorf("running domains after a reboot: got %q, want none", got)
	}
	if got := output(t, h, "virsh", "-q", "list", "--name", "--inactive"); got != "guest" {
		t.Errorf("defined domains after a reboot: got %q, want guest", got)
	}
}

func TestIntegrationLabRebootKeepsTheDiskOnly(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	boot := output(t, h, "cat", "/proc/sys/kernel/random/boot_id")
	output(t, h, "sh", "-c", "echo kept >/var/lib/tenks/file; echo kept >/etc/tenks/agent.yml; echo lost >/run/file; ip link add name br9 type bridge")
	must(t, h.Kill(t.Context()))
	must(t, h.Boot(t.Context()))
	if got := output(t, h, "cat", "/var/lib/tenks/file", "/etc/tenks/agent.yml"); got != "kept\nkept" {
		t.Errorf("disk: got %q", got)
	}
	if got := output(t, h, "sh", "-c", "ls /run/file /sys/class/net/br9 2>/dev/null || true"); got != "" {
		t.Errorf("there after a reboot: %q", got)
	}
	if got := output(t, h, "cat", "/proc/sys/kernel/random/boot_id"); got == boot || len(got) != 36 {
		t.Errorf("boot ID: got %q, was %q", got, boot)
	}
}

func TestIntegrationLabHostIsApartFromThisMachine(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	if got := output(t, h, "hostname"); got != "hv1" {
		t.Errorf("host name: got %q, want hv1", got)
	}
	if got := output(t, h, "ls", "/sys/class/net"); got != "eth0\nlo" {
		t.Errorf("interfaces: got %q, want eth0 and lo", got)
	}
	output(t, h, "touch", "/var/lib/tenks/mark")
	if _, err := os.Stat("/var/lib/tenks/mark"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of the host is on this machine (%v)", err)
	}
	// What the host has besides is this machine's.
	if got, want := output(t, h, "ls", "/var/lib/dpkg/status"), "/var/lib/dpkg/status"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := output(t, h, "stat", "-L", "-c", "%F", "/etc/passwd", "/etc/os-release"); got != "regular file\nregular file" {
		t.Errorf("/etc: got %q", got)
	}
}

func TestIntegrationLabHostsReachEachOtherUntilTheCableIsPulled(t *testing.T) {
	l := newLab(t)
	a, b := addHost(t, l, "a"), addHost(t, l, "b")
	var listener net.Listener
	must(t, b.InNetns(func() (err error) {
		var lc net.ListenConfig
		listener, err = lc.Listen(t.Context(), "tcp", b.Address()+":7740")
		return err
	}))
	defer listener.Close()
	dial := func() error {
		return a.InNetns(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", b.Address()+":7740")
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	reachable := func(want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := await(ctx, func() (bool, error) { return (dial() == nil) == want, nil }); err != nil {
			t.Fatalf("b reachable from a: want %t: %v", want, err)
		}
	}
	reachable(true)
	must(t, b.Unplug(t.Context()))
	reachable(false)
	must(t, b.Plug(t.Context()))
	reachable(true)
}

func TestIntegrationLabKillEndsWhatRunsInTheHostAndNothingElse(t *testing.T) {
	l := newLab(t)
	a, b := addHost(t, l, "a"), addHost(t, l, "b")
	inA, inB := a.Command(t.Context(), "sleep", "1000"), b.Command(t.Context(), "sleep", "1000")
	deep := a.Command(t.Context(), "unshare", "--mount", "sh", "-c", "sleep 1000 & exec sleep 1001")
	for _, cmd := range []*exec.Cmd{inA, inB, deep} {
		must(t, cmd.Start())
	}
	must(t, a.Kill(t.Context()))
	for _, cmd := range []*exec.Cmd{inA, deep} {
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%v: got %v, want killed", cmd.Args, err)
		}
	}
	if err := a.Command(t.Context(), "true").Run(); !errors.Is(err, ErrOff) {
		t.Errorf("command on a host that is off: got %v, want %v", err, ErrOff)
	}
	if err := inB.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other host's process: %v", err)
	}
	must(t, inB.Process.Kill())
	_ = inB.Wait() // killed
}

func TestIntegrationLabLibvirtdHangsAndGoesOn(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	must(t, h.StartLibvirtd(t.Context()))
	must(t, h.SignalLibvirtd(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := h.Virsh(ctx, "list"); err == nil {
		t.Error("libvirtd answers while it is stopped")
	}
	must(t, h.SignalLibvirtd(syscall.SIGCONT))
	must(t, h.Virsh(t.Context(), "list"))
	must(t, h.KillLibvirtd(t.Context()))
	if pid := h.Libvirtd(); pid != 0 {
		t.Errorf("libvirtd: got process %d after it was killed", pid)
	}
	must(t, h.StartLibvirtd(t.Context()))
	must(t, h.StopLibvirtd(t.Context()))
	must(t, h.StartLibvirtd(t.Context()))
}

func TestIntegrationLabRefusesADirectoryInUse(t *testing.T) {
	Require(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if _, err := New(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v, want it refused", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestLabRefusesNamesThatAreNoHostNames(t *testing.T) {
	for _, name := range []string{"", "A", "a/b", "../x", "switch", "1a", strings.Repeat("a", 33)} {
		if _, err := (&Lab{}).AddHost(t.Context(), name); err == nil {
			t.Errorf("host name %q was taken", name)
		}
	}
}
