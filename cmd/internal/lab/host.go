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

// Host is one machine of a lab. It is safe for concurrent use, but for Kill, Boot,
// Reboot and what makes and undoes faults, which are called one at a time.
type Host struct {
	lab     *Lab
	name    string
	number  int
	diskMiB int

	mu sync.Mutex // guards what follows
	// address is that of eth0, now and after the next boot.
	address string
	// unplugged and delay are about eth0's cable, and outlive a boot as it does.
	unplugged bool
	delay     time.Duration
	relay     *relay
	// ahead is what the clock is ahead by; it outlives a boot. clock shifts that of what is
	// started; nil: off, or nothing to do.
	ahead time.Duration
	clock *clock
	// paused are the processes that Pause stopped.
	paused []int
	slow   *slowDisk
	// init holds the namespaces; nil: off.
	init     *child
	libvirtd *child
	udev     *udev
	// namespaces are the network and mount namespace of this boot; pins hold them: the
	// numbers of those that have gone are used again, soon by another host.
	namespaces map[string]bool
	pins       []*os.File
}

// Name is the host's name in the lab and its host name.
func (h *Host) Name() string { return h.name }

// Address is the address of eth0, in a /24: 10.77.0.<n>, or what Readdress made it.
func (h *Host) Address() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.address
}

// Dir is the host's directory: "disk" with what a reboot keeps, under its path in the
// host, "run" as its /run, "log", and "init", a file with the process ID of what holds
// the namespaces.
func (h *Host) Dir() string { return filepath.Join(h.lab.dir, h.name) }

// Path is where a file of the host is on this machine, for paths under /run and those
// that a reboot keeps: /var/{lib,log,cache}/libvirt, /etc/libvirt, /var/lib/tenks,
// /etc/tenks. For those the path is another after each boot if the disk is a file
// system of its own, and leads nowhere while the host is off.
func (h *Host) Path(inside string) string {
	if rest, ok := strings.CutPrefix(inside, "/run/"); ok {
		return filepath.Join(h.Dir(), "run", rest)
	}
	if init := h.started(); h.diskMiB > 0 && init != nil {
		return filepath.Join(rootOf(init), inside)
	}
	return filepath.Join(h.Dir(), "disk", inside)
}

// rootOf is a process's root directory, with what is mounted there for it.
func rootOf(c *child) string { return fmt.Sprintf("/proc/%d/root", c.pid()) }

// Netns is the ip-netns(8) name of the host's network namespace.
func (h *Host) Netns() string { return h.lab.prefix + "-" + h.name }

// install makes the disk.
func (h *Host) install(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(h.Dir(), "log"), 0o755); err != nil {
		return err
	}
	for _, dir := range []string{"/var/lib/tenks", "/etc/tenks"} {
		if err := os.MkdirAll(h.Path(dir), 0o755); err != nil {
			return err
		}
	}
	if err := h.installLibvirt(); err != nil {
		return err
	}
	return h.makeImage(ctx)
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
	if err == nil {
		err = h.startUdev()
	}
	if err == nil && h.isAhead() != 0 {
		err = h.shiftClock(h.isAhead())
	}
	if err == nil {
		err = os.WriteFile(h.pidFile(), fmt.Appendln(nil, h.started().pid()), 0o644)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("host %q: boot: %w", h.name, err), h.Kill(context.WithoutCancel(ctx)))
	}
	return nil
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
	cmd.Env = append(os.Environ(), "LAB_NAME="+h.name, "LAB_DISK="+filepath.Join(h.Dir(), "disk"), "LAB_IMAGE="+h.image(),
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
	var pins []*os.File
	for _, kind := range []string{"net", "mnt"} {
		pin, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return errors.Join(err, closeAll(pins...))
		}
		pins = append(pins, pin)
		ns, err := namespaceOf(fmt.Sprintf("/proc/self/fd/%d", pin.Fd()))
		if err != nil {
			return errors.Join(err, closeAll(pins...))
		}
		namespaces[ns] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.namespaces, h.pins = namespaces, pins
	return nil
}

func (h *Host) startUdev() error {
	u, err := startUdev(h, rootOf(h.started())+"/dev", filepath.Join(h.Dir(), "log", "udev.log"))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.udev = u
	return nil
}

// started returns init while the host is on.
func (h *Host) started() *child {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.init
}

// isAhead returns what the clock is ahead by.
func (h *Host) isAhead() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ahead
}

// inside returns the namespaces of this boot; nil: off.
func (h *Host) inside() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.namespaces
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
	return inNetns(h.Netns(), f)
}

// inNetns calls f on a thread in a network namespace.
func inNetns(name string, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- visitNetns(name, f) }() // ends before inNetns does
	return <-ended
}

// visitNetns leaves the namespace again: not every thread ends with its goroutine, and
// the process's first one never does.
func visitNetns(name string, f func() error) error {
	runtime.LockOSThread() // stays locked, and with it unused, if it cannot go back
	home, err := netns.Get()
	if err != nil {
		return err
	}
	ns, err := netns.GetFromName(name)
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
// or say anything, and the namespaces go. What was not synced is lost if the disk is a
// file system of its own. On a host that is off it does nothing.
func (h *Host) Kill(ctx context.Context) error {
	h.mu.Lock()
	namespaces, pins, init, libvirtd, udev, relay := h.namespaces, h.pins, h.init, h.libvirtd, h.udev, h.relay
	h.mu.Unlock()
	h.stopSlowing()
	h.stopClock()
	if namespaces != nil {
		if err := h.cutPower(ctx, namespaces); err != nil {
			return fmt.Errorf("host %q: kill: %w", h.name, err)
		}
	}
	for _, c := range []*child{init, libvirtd} {
		if c != nil {
			c.kill()
		}
	}
	udev.close()
	relay.close()
	_ = closeAll(pins...) // only references
	h.mu.Lock()
	h.namespaces, h.pins, h.init, h.libvirtd, h.udev, h.relay, h.paused = nil, nil, nil, nil, nil, nil, nil
	h.mu.Unlock()
	_ = os.Remove(h.pidFile()) // not there if the boot came to nothing
	if err := errors.Join(h.unwire(ctx), h.lab.faults.set(ctx, h.lab, h.silence(0))); err != nil {
		return fmt.Errorf("host %q: kill: %w", h.name, err)
	}
	return h.awaitImage(ctx)
}

// cutPower stops all, and takes the disk away, before it ends anything: nobody has
// time to notice that something else is gone.
func (h *Host) cutPower(ctx context.Context, namespaces map[string]bool) error {
	if _, err := stopAll(namespaces); err != nil {
		return err
	}
	if err := h.cutDisk(); err != nil {
		return err
	}
	return killAll(ctx, namespaces)
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

// newUUID returns a random UUID (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
