package lab

import (
	"context"
	"crypto/rand"
	_ "embed" // boot.sh
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netns"
)

//go:embed boot.sh
var bootScript string

// bootTimeout bounds a boot.
const bootTimeout = 20 * time.Second

// ErrOff says that a host is powered off.
var ErrOff = errors.New("host is powered off")

// Host is one machine of a lab. It is safe for concurrent use, but for Kill, Boot and
// Reboot, which are called one at a time.
type Host struct {
	lab    *Lab
	name   string
	number int

	mu sync.Mutex // guards what follows
	// init holds the namespaces; nil: off.
	init     *child
	libvirtd *child
	// namespaces are the network and mount namespace of this boot.
	namespaces map[string]bool
}

// Name is the host's name in the lab and its host name.
func (h *Host) Name() string { return h.name }

// Address is the address of eth0, 10.77.0.<n>, in a /24.
func (h *Host) Address() string { return fmt.Sprintf("%s.%d", network, h.number) }

// Dir is the host's directory: "disk" with what a reboot keeps, under its path in the
// host, "run" as its /run, and "log".
func (h *Host) Dir() string { return filepath.Join(h.lab.dir, h.name) }

// Path is where a file of the host is on this machine, for paths under /run and those
// that a reboot keeps: /var/{lib,log,cache}/libvirt, /etc/libvirt, /var/lib/tenks,
// /etc/tenks.
func (h *Host) Path(inside string) string {
	if rest, ok := strings.CutPrefix(inside, "/run/"); ok {
		return filepath.Join(h.Dir(), "run", rest)
	}
	return filepath.Join(h.Dir(), "disk", inside)
}

// Netns is the ip-netns(8) name of the host's network namespace.
func (h *Host) Netns() string { return h.lab.prefix + "-" + h.name }

func (h *Host) switchPort() string { return fmt.Sprintf("h%d", h.number) }

// install makes the disk.
func (h *Host) install() error {
	if err := os.MkdirAll(filepath.Join(h.Dir(), "log"), 0o755); err != nil {
		return err
	}
	for _, dir := range []string{"/var/lib/tenks", "/etc/tenks"} {
		if err := os.MkdirAll(h.Path(dir), 0o755); err != nil {
			return err
		}
	}
	return h.installLibvirt()
}

// Boot powers the host on: new namespaces, /run and boot ID, the disk as it was left.
func (h *Host) Boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if h.started() != nil {
		return fmt.Errorf("host %q: boot: it is on", h.name)
	}
	err := h.wire(ctx)
	if err == nil {
		err = h.startInit(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("host %q: boot: %w", h.name, err), h.Kill(context.WithoutCancel(ctx)))
	}
	return nil
}

// wire makes the network namespace and its cable to the switch.
func (h *Host) wire(ctx context.Context) error {
	if err := run(ctx, "ip", "netns", "add", h.Netns()); err != nil {
		return err
	}
	port, ns := h.switchPort(), h.Netns()
	if err := run(ctx, "ip", "-n", h.lab.Switch(), "-batch", "-",
		"link add name "+port+" type veth peer name eth0 netns "+ns,
		"link set "+port+" master lab up"); err != nil {
		return err
	}
	return run(ctx, "ip", "-n", ns, "-batch", "-",
		"link set lo up",
		"addr add "+h.Address()+"/24 dev eth0",
		"link set eth0 up")
}

func (h *Host) startInit(ctx context.Context) error {
	runDir, bootID, ready := filepath.Join(h.Dir(), "run"), filepath.Join(h.Dir(), "boot_id"), filepath.Join(h.Dir(), "ready")
	if err := errors.Join(os.RemoveAll(runDir), os.RemoveAll(ready)); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(runDir, 0o755), os.WriteFile(bootID, []byte(newUUID()+"\n"), 0o444)); err != nil {
		return err
	}
	cmd := exec.Command("nsenter", "--net="+netnsPath(h.Netns()), //nolint:noctx // it lives as long as the host
		"unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", bootScript)
	cmd.Env = append(os.Environ(), "LAB_NAME="+h.name, "LAB_DISK="+filepath.Join(h.Dir(), "disk"),
		"LAB_RUN="+runDir, "LAB_BOOT_ID="+bootID, "LAB_READY="+ready)
	init, err := start(cmd, filepath.Join(h.Dir(), "log", "boot.log"))
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.init = init
	h.mu.Unlock()
	err = await(ctx, func() (bool, error) {
		if init.ended() {
			return true, fmt.Errorf("init ended: %s", init.lastWords())
		}
		_, err := os.Stat(ready)
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	return h.findNamespaces(init.pid())
}

func (h *Host) findNamespaces(pid int) error {
	namespaces := map[string]bool{}
	for _, kind := range []string{"net", "mnt"} {
		ns, err := namespaceOf(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return err
		}
		namespaces[ns] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.namespaces = namespaces
	return nil
}

// started returns init while the host is on.
func (h *Host) started() *child {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.init
}

// Command prepares a program to run in the host, in its root directory; Cmd.Dir has no
// effect. The process is the program itself, so that killing it does. Its environment
// is the caller's, with LAB_HOST. On a host that is off, starting it fails.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	pid := 0
	if init := h.started(); init != nil {
		pid = init.pid()
	}
	enter := []string{"--target", fmt.Sprint(pid), "--net", "--mount", "--uts", "--", name}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = append(os.Environ(), "LAB_HOST="+h.Netns())
	if pid == 0 {
		cmd.Err = fmt.Errorf("host %q: %w", h.name, ErrOff)
	}
	return cmd
}

// InNetns calls f on a thread in the host's network namespace. What f opens stays in
// it; goroutines that f starts do not run in it.
func (h *Host) InNetns(f func() error) error {
	if h.started() == nil {
		return fmt.Errorf("host %q: %w", h.name, ErrOff)
	}
	ended := make(chan error, 1)
	go func() { ended <- h.inNetns(f) }() // ends before InNetns does
	return <-ended
}

// inNetns leaves the namespace again: not every thread ends with its goroutine, and
// the process's first one never does.
func (h *Host) inNetns(f func() error) error {
	runtime.LockOSThread() // stays locked, and with it unused, if it cannot go back
	home, err := netns.Get()
	if err != nil {
		return err
	}
	ns, err := netns.GetFromName(h.Netns())
	if err != nil {
		return errors.Join(err, home.Close())
	}
	if err := netns.Set(ns); err != nil {
		return errors.Join(err, ns.Close(), home.Close())
	}
	err = f()
	back := netns.Set(home)
	if back == nil {
		runtime.UnlockOSThread()
	}
	return errors.Join(err, back, ns.Close(), home.Close())
}

// Kill is a power cut: everything in the host's namespaces ends, with no time to write
// or say anything, and the namespaces go. On a host that is off it does nothing.
func (h *Host) Kill(ctx context.Context) error {
	h.mu.Lock()
	namespaces, init, libvirtd := h.namespaces, h.init, h.libvirtd
	h.mu.Unlock()
	if namespaces != nil {
		if err := killAll(ctx, namespaces); err != nil {
			return fmt.Errorf("host %q: kill: %w", h.name, err)
		}
	}
	for _, c := range []*child{init, libvirtd} {
		if c != nil {
			c.kill()
		}
	}
	h.mu.Lock()
	h.namespaces, h.init, h.libvirtd = nil, nil, nil
	h.mu.Unlock()
	// The kernel takes the cable away with the namespace, but not at once.
	_ = run(ctx, "ip", "-n", h.lab.Switch(), "link", "del", h.switchPort())
	return deleteNetns(ctx, h.Netns())
}

// Reboot is a power cut, a boot, and libvirtd started.
func (h *Host) Reboot(ctx context.Context) error {
	if err := h.Kill(ctx); err != nil {
		return err
	}
	if err := h.Boot(ctx); err != nil {
		return err
	}
	return h.StartLibvirtd(ctx)
}

// Unplug pulls the host's cable at the switch; Plug puts it back.
func (h *Host) Unplug(ctx context.Context) error {
	return run(ctx, "ip", "-n", h.lab.Switch(), "link", "set", h.switchPort(), "down")
}

// Plug is the inverse of Unplug.
func (h *Host) Plug(ctx context.Context) error {
	return run(ctx, "ip", "-n", h.lab.Switch(), "link", "set", h.switchPort(), "up")
}

// newUUID returns a random UUID (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
