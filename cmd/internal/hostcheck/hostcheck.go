// Package hostcheck says what this host lacks for being a hypervisor, and installs
// it. Run only looks; Setup may be repeated and changes nothing where nothing is
// missing. What Setup starts (libvirtd, where no systemd does) goes on after it.
package hostcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tenks/cmd/internal/api"
)

const setupFix = "tenks host setup"

// Run looks at this host.
func Run(ctx context.Context, o OVS) []api.Check {
	checks := base(ctx)
	if o.DB != "" {
		checks = append(checks, o.check(ctx))
	}
	return checks
}

// base is what every hypervisor needs.
func base(ctx context.Context) []api.Check {
	return []api.Check{
		root(), hostKVM.check(),
		program("qemu", "qemu-system-x86_64", "/usr/libexec/qemu-kvm"),
		library(), libvirtd(ctx), firmware(), secureFirmware(), tpm(), kernel(), devices(),
		optional(program("ipmitool", "ipmitool")),
	}
}

// guests are the checks of what only guests of libvirt need.
var guests = []string{"kvm", "qemu", "libvirt library", "libvirtd", "uefi firmware", "secure boot", "tpm"}

// WithoutGuests returns the checks that concern a host without the libvirt driver.
func WithoutGuests(checks []api.Check) []api.Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c api.Check) bool { return slices.Contains(guests, c.Name) })
}

func ok(name, detail string) api.Check { return api.Check{Name: name, State: "ok", Detail: detail} }

func missing(name, detail, fix string) api.Check {
	return api.Check{Name: name, State: "error", Detail: detail, Fix: fix}
}

// optional turns an error into a warning.
func optional(c api.Check) api.Check {
	if c.State == "error" {
		c.State = "warning"
	}
	return c
}

func root() api.Check {
	if os.Geteuid() != 0 {
		return missing("root", "not root", "run it as root, or with sudo")
	}
	return ok("root", "yes")
}

func program(name string, candidates ...string) api.Check {
	for _, c := range candidates {
		if path, err := exec.LookPath(c); err == nil {
			return ok(name, path)
		}
	}
	return missing(name, candidates[0]+" is not installed", setupFix)
}

// library looks for libvirt's library where the dynamic linker does.
func library() api.Check {
	for _, pattern := range []string{"/usr/lib*/libvirt.so.0", "/usr/lib/*-linux-gnu/libvirt.so.0", "/usr/local/lib/libvirt.so.0"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return ok("libvirt library", found[0])
		}
	}
	return missing("libvirt library", "libvirt.so.0 is not installed: the libvirt driver cannot start", setupFix)
}

// sockets are where libvirt's daemon listens: the one for all drivers, and the one
// for QEMU alone.
var sockets = []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"}

func libvirtd(ctx context.Context) api.Check {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, path := range sockets {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			_ = conn.Close()
			return ok("libvirtd", path)
		}
	}
	return missing("libvirtd", "nothing listens at "+strings.Join(sockets, " or "), setupFix)
}

func firmware() api.Check {
	for _, path := range []string{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd",
		"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-code.bin"} {
		if _, err := os.Stat(path); err == nil {
			return ok("uefi firmware", path)
		}
	}
	return optional(missing("uefi firmware", "OVMF is not installed: nodes with boot_mode uefi cannot start", setupFix))
}

// secureFirmware looks for keys of Secure Boot; the firmware comes with them.
func secureFirmware() api.Check {
	for _, path := range []string{"/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd",
		"/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin", "/usr/share/OVMF/OVMF_VARS.ms.fd"} {
		if _, err := os.Stat(path); err == nil {
			return ok("secure boot", path)
		}
	}
	return optional(missing("secure boot", "no OVMF with keys is installed: nodes with secure_boot cannot start", setupFix))
}

func tpm() api.Check {
	c := program("tpm", "swtpm")
	if c.State != "ok" {
		c.Detail += ": nodes with a tpm cannot start"
		return optional(c)
	}
	if c := program("tpm", "swtpm_setup"); c.State != "ok" {
		c.Detail += ": nodes with a tpm cannot start"
		return optional(c)
	}
	return c
}

func kernel() api.Check {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return missing("kernel", "/dev/net/tun is missing", "modprobe tun")
	}
	return ok("kernel", "tun")
}

// devices looks whether device nodes appear in /dev by themselves: a guest's NIC is a
// macvtap device, which libvirt opens as /dev/tapN. A container's own /dev is a plain
// tmpfs where nothing appears.
func devices() api.Check {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return missing("devices", err.Error(), "mount /proc")
	}
	if devtmpfs(string(mounts)) {
		return ok("devices", "/dev is the kernel's")
	}
	if _, err := os.Stat("/run/udev/control"); err == nil {
		return ok("devices", "/dev is udev's")
	}
	return missing("devices", "no device appears in /dev by itself: guests with NICs cannot start",
		"give a container the host's /dev, as by docker run --privileged -v /dev:/dev")
}

// devtmpfs says whether the kernel makes the nodes of /dev, by a mount table as of
// proc(5); of several mounts on /dev the last one shows.
func devtmpfs(mounts string) bool {
	kind := ""
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "/dev" {
			kind = f[2]
		}
	}
	return kind == "devtmpfs"
}

// manager is a package manager and what to ask it for.
type manager struct {
	name     string
	install  []string
	packages []string
	// refresh brings the list of packages up to date; it is run when install fails.
	refresh []string
}

var managers = []manager{
	{"apt-get", []string{"install", "-y", "--no-install-recommends"},
		[]string{"libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "qemu-utils", "ovmf", "swtpm", "swtpm-tools", "seabios", "ipxe-qemu", "ipmitool", "iproute2"},
		[]string{"update"}},
	{"dnf", []string{"install", "-y"},
		[]string{"libvirt-daemon-kvm", "libvirt-client", "qemu-kvm", "qemu-img", "edk2-ovmf", "swtpm", "swtpm-tools", "ipmitool", "iproute"}, []string{"makecache"}},
	{"zypper", []string{"--non-interactive", "install"},
		[]string{"libvirt-daemon-qemu", "libvirt-client", "qemu-x86", "qemu-tools", "qemu-ovmf-x86_64", "swtpm", "ipmitool", "iproute2"}, []string{"refresh"}},
}

// Setup installs what Run finds missing, and starts libvirtd and Open vSwitch. It calls say before
// each step that takes time.
func Setup(ctx context.Context, o OVS, say func(string)) error {
	if os.Geteuid() != 0 {
		return errors.New("host setup: it installs packages: run it as root, or with sudo")
	}
	if installable(base(ctx)) {
		m, err := findManager()
		if err != nil {
			return err
		}
		say("installing " + strings.Join(m.packages, " ") + " with " + m.name)
		if err := m.run(ctx); err != nil {
			return err
		}
	}
	if _, shut := hostKVM.shut(); shut {
		say("giving " + hostKVM.device + " to group " + hostKVM.group)
		if err := hostKVM.open(); err != nil {
			return err
		}
	}
	if libvirtd(ctx).State != "ok" {
		say("starting libvirtd")
		if err := startLibvirtd(ctx); err != nil {
			return err
		}
	}
	return o.setup(ctx, say)
}

// installable reports whether a package is missing, as opposed to a daemon that
// does not run or a device that is shut.
func installable(checks []api.Check) bool {
	for _, c := range checks {
		if c.Fix == setupFix && c.Name != "libvirtd" && c.Name != "kvm" {
			return true
		}
	}
	_, err := exec.LookPath("libvirtd")
	_, errQemu := exec.LookPath("virtqemud")
	return err != nil && errQemu != nil
}

func findManager() (manager, error) {
	for _, m := range managers {
		if _, err := exec.LookPath(m.name); err == nil {
			return m, nil
		}
	}
	return manager{}, errors.New("host setup: no apt-get, dnf or zypper: install libvirt, QEMU and OVMF by hand, then tenks host check")
}

func (m manager) run(ctx context.Context) error {
	install := append(append([]string{}, m.install...), m.packages...)
	if _, err := m.command(ctx, install); err == nil {
		return nil
	}
	if out, err := m.command(ctx, m.refresh); err != nil {
		return fmt.Errorf("host setup: %s %s: %w: %s", m.name, strings.Join(m.refresh, " "), err, lastLines(out))
	}
	if out, err := m.command(ctx, install); err != nil {
		return fmt.Errorf("host setup: %s install: %w: %s", m.name, err, lastLines(out))
	}
	return nil
}

func (m manager) command(ctx context.Context, args []string) ([]byte, error) {
	c := exec.CommandContext(ctx, m.name, args...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return c.CombinedOutput()
}

func lastLines(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// startLibvirtd starts libvirt's daemon, by systemd where it runs the host.
func startLibvirtd(ctx context.Context) error {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		for _, unit := range []string{"libvirtd", "virtqemud"} {
			if exec.CommandContext(ctx, "systemctl", "enable", "--now", unit).Run() == nil {
				return waitLibvirtd(ctx)
			}
		}
		return errors.New("host setup: systemctl enable --now libvirtd failed: see systemctl status libvirtd")
	}
	for _, daemon := range []string{"virtlogd", "libvirtd"} {
		path, err := exec.LookPath(daemon)
		if err != nil {
			return fmt.Errorf("host setup: %w", err)
		}
		if out, err := exec.CommandContext(ctx, path, "-d").CombinedOutput(); err != nil && !strings.Contains(string(out), "already running") {
			return fmt.Errorf("host setup: %s -d: %w: %s", daemon, err, lastLines(out))
		}
	}
	return waitLibvirtd(ctx)
}

func waitLibvirtd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for libvirtd(ctx).State != "ok" {
		select {
		case <-ctx.Done():
			return errors.New("host setup: libvirtd was started and does not answer: see its log")
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}
