package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// libvirtdTimeout bounds how long libvirtd may take to answer.
const libvirtdTimeout = 60 * time.Second

// qemuConf makes libvirt do without what a namespace lacks: users of its own, cgroups,
// udev, a log daemon.
const qemuConf = `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
`

// libvirtdConf has a host_uuid because all hosts share this machine's.
const libvirtdConf = `auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
host_uuid = %q
`

func (h *Host) installLibvirt() error {
	for _, dir := range []string{"/etc/libvirt/qemu", "/var/log/libvirt/qemu", "/var/cache/libvirt",
		"/var/lib/libvirt/qemu", "/var/lib/libvirt/images", "/var/lib/libvirt/boot", "/var/lib/libvirt/dnsmasq"} {
		if err := os.MkdirAll(h.Path(dir), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(h.Path("/etc/libvirt/qemu.conf"), []byte(qemuConf), 0o644),
		os.WriteFile(h.Path("/etc/libvirt/libvirtd.conf"), fmt.Appendf(nil, libvirtdConf, newUUID()), 0o644))
}

// StartLibvirtd starts the host's libvirtd and returns once it answers. One that runs
// already is left alone.
func (h *Host) StartLibvirtd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, libvirtdTimeout)
	defer cancel()
	if h.Libvirtd() != 0 {
		return nil
	}
	cmd := h.Command(context.WithoutCancel(ctx), "libvirtd", "--pid-file", "/run/libvirt/libvirtd.pid")
	c, err := start(cmd, filepath.Join(h.Dir(), "log", "libvirtd.log"))
	if err != nil {
		return fmt.Errorf("host %q: start libvirtd: %w", h.name, err)
	}
	h.mu.Lock()
	h.libvirtd = c
	h.mu.Unlock()
	var last error
	err = await(ctx, func() (bool, error) {
		if c.ended() {
			return true, fmt.Errorf("it ended: %s", c.lastWords())
		}
		last = h.Virsh(ctx, "connect", "qemu:///system")
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("host %q: start libvirtd: %w", h.name, err), last)
	}
	return nil
}

// Virsh runs virsh(1) in the host, on its own libvirtd.
func (h *Host) Virsh(ctx context.Context, args ...string) error {
	out, err := h.Command(ctx, "virsh", append([]string{"-q"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("host %q: virsh %v: %w: %s", h.name, args, err, out)
	}
	return nil
}

// Libvirtd is the process ID of the host's libvirtd; 0: it does not run.
func (h *Host) Libvirtd() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.libvirtd == nil || h.libvirtd.ended() {
		return 0
	}
	return h.libvirtd.pid()
}

// SignalLibvirtd sends libvirtd a signal: SIGSTOP makes it hang, SIGCONT go on.
func (h *Host) SignalLibvirtd(sig syscall.Signal) error {
	pid := h.Libvirtd()
	if pid == 0 {
		return fmt.Errorf("host %q: signal libvirtd: it does not run", h.name)
	}
	h.mu.Lock()
	namespaces := h.namespaces
	h.mu.Unlock()
	return signal(pid, sig, namespaces)
}

// StopLibvirtd asks libvirtd to end and returns when it has. Domains go on.
func (h *Host) StopLibvirtd(ctx context.Context) error { return h.endLibvirtd(ctx, syscall.SIGTERM) }

// KillLibvirtd ends libvirtd at once. Domains go on.
func (h *Host) KillLibvirtd(ctx context.Context) error { return h.endLibvirtd(ctx, syscall.SIGKILL) }

func (h *Host) endLibvirtd(ctx context.Context, sig syscall.Signal) error {
	h.mu.Lock()
	c := h.libvirtd
	h.mu.Unlock()
	if c == nil || c.ended() {
		return nil
	}
	if err := h.SignalLibvirtd(sig); err != nil {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("host %q: end libvirtd: %w", h.name, ctx.Err())
	}
}
