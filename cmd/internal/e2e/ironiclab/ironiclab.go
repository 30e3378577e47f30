// Package ironiclab brings up what tests need to see a node through Ironic's eyes: a
// real Ironic in one process (Start), a DHCP and TFTP server that network-boots
// guests (PXE), and a tiny guest that says on its serial console that it runs (Tiny),
// also as a bootable CD-ROM (ISO).
//
// Everything works in one directory and, if asked to, in one network namespace; each
// process is ended by its number when the test ends. ../install.sh puts what is needed
// on the machine; Require skips a test where that was not done.
package ironiclab

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed tiny.sh
var tinyScript string

// kernelDir is where ../install.sh leaves the unpacked kernel.
const kernelDir = "/var/cache/tenks-ironiclab/kernel"

// What Ironic makes ISOs for BIOS with.
const (
	isolinuxBin = "/usr/lib/ISOLINUX/isolinux.bin"
	isolinuxC32 = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
)

// Marker is what the tiny guest prints on ttyS0 once it runs; MACMarker precedes the
// MAC of each of its NICs, on lines before, and CmdlineMarker its command line.
// HeardMarker precedes each line that was typed on ttyS0.
const (
	Marker        = "TENKS-BOOT-OK"
	MACMarker     = "TENKS-BOOT-MAC "
	CmdlineMarker = "TENKS-BOOT-CMDLINE "
	HeardMarker   = "TENKS-HEARD "
)

// Require skips a test, with the reason, on a machine that lacks what ../install.sh
// installs.
func Require(t testing.TB) {
	t.Helper()
	if reason := Missing(); reason != "" {
		t.Skip("no Ironic for tests: " + reason)
	}
}

// Missing says what this machine lacks; empty: nothing.
func Missing() string {
	if os.Geteuid() != 0 {
		return "needs root"
	}
	const hint = " (cmd/internal/e2e/install.sh ironic installs it)"
	for _, name := range []string{"ironic", "ironic-dbsync", "ipmitool", "sqlite3", "curl", "dnsmasq", "busybox", "cpio",
		"socat", "grub-mkrescue", "xorriso", "mformat", "genisoimage"} {
		if _, err := exec.LookPath(program(name)); err != nil {
			return "no " + name + hint
		}
	}
	for _, file := range []string{kernelDir + "/.complete", ipxeDir + "/snponly.efi", ipxeDir + "/undionly.kpxe",
		grubDir + "/i386-pc/linux.mod", grubDir + "/x86_64-efi/linux.mod", isolinuxBin, isolinuxC32} {
		if _, err := os.Stat(file); err != nil {
			return "no " + file + hint
		}
	}
	return ""
}

// Guest is a kernel and an initial ramdisk, as files.
type Guest struct{ Kernel, Initrd string }

// Tiny makes the tiny guest in dir, unless it is there: 15 MB, up in a few seconds
// without KVM. It prints a line with MACMarker per NIC, then Marker and its uptime.
func Tiny(ctx context.Context, dir string) (Guest, error) {
	g := Guest{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.gz")}
	if _, err := os.Stat(g.Initrd); err == nil {
		return g, nil
	}
	return g, tiny(ctx, dir)
}

// tiny runs the script, for a guest with an agent if one is named.
func tiny(ctx context.Context, dir string, agent ...string) error {
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-s", kernelDir, dir}, agent...)...)
	cmd.Stdin = strings.NewReader(tinyScript)
	cmd.Env = cleanEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tiny guest: %w: %s", err, out)
	}
	return nil
}

// goCommand is the Go that tests run with, for programs without cgo. It has the caller's
// environment: caches, proxies, and where Go is.
func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// cleanEnv is what the distribution's programs run in: its own Python and locale, and
// nothing of the caller's.
func cleanEnv() []string {
	return []string{"PATH=" + strings.Join(systemPath, ":"), "LC_ALL=C.UTF-8", "HOME=/root"}
}

var systemPath = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// program finds one of the distribution's, which another one of that name, earlier in
// the caller's PATH, must not replace.
func program(name string) string {
	for _, dir := range systemPath {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}

// command runs in a network namespace by its ip-netns(8) name; empty: in this one.
func command(ctx context.Context, netns, name string, args ...string) *exec.Cmd {
	if netns != "" {
		name, args = "ip", append([]string{"netns", "exec", netns, name}, args...)
	}
	cmd := exec.CommandContext(ctx, program(name), args...)
	cmd.Env = cleanEnv()
	return cmd
}

func run(ctx context.Context, netns, name string, args ...string) error {
	if out, err := command(ctx, netns, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// daemon is a process of ours and its children, which are a process group.
type daemon struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	stop   sync.Once
}

// start runs a daemon whose output goes to a file.
func start(cmd *exec.Cmd, dir, log string) (*daemon, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: 0}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, log: log, exited: make(chan struct{})}
	go func() { // ends with the process; Stop waits for it
		_ = cmd.Wait()
		close(d.exited)
	}()
	return d, nil
}

// alive returns an error with the end of the log if the process has ended.
func (d *daemon) alive() error {
	select {
	case <-d.exited:
		return fmt.Errorf("%s: ended: %s\n%s", filepath.Base(d.cmd.Path), d.cmd.ProcessState, tail(d.log, 2000))
	default:
		return nil
	}
}

// end stops the process group, politely first, and waits for the process. It may be
// repeated.
func (d *daemon) end(patience time.Duration) {
	d.stop.Do(func() {
		// Until it is waited for, its number is nobody else's.
		for _, step := range []struct {
			signal syscall.Signal
			wait   time.Duration
		}{{syscall.SIGTERM, patience}, {syscall.SIGKILL, time.Minute}} {
			select {
			case <-d.exited:
				// What it started may have outlived it in the group.
			default:
			}
			_ = syscall.Kill(-d.cmd.Process.Pid, step.signal)
			select {
			case <-d.exited:
				_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
				return
			case <-time.After(step.wait):
			}
		}
	})
}

func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-n):])
}

// await polls until ok or an error, or ctx ends.
func await(ctx context.Context, what string, ok func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := ok()
		if done {
			return nil
		}
		if errors.Is(err, errEnded) {
			return err
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// errEnded says that waiting is in vain.
var errEnded = errors.New("process ended")
