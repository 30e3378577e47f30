package hostcheck

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"tenks/cmd/internal/api"
)

// kvm is the kernel's device for hardware virtualisation, and what libvirt runs
// QEMU as.
type kvm struct {
	device string // /dev/kvm
	info   string // /proc/cpuinfo
	config string // libvirt's qemu.conf
	group  string // who udev gives the device to
	lookup func(name string) (uid int, gids []int, err error)
}

var hostKVM = kvm{device: "/dev/kvm", info: "/proc/cpuinfo", config: "/etc/libvirt/qemu.conf", group: "kvm", lookup: lookupUser}

// check says whether guests run with KVM or are emulated. A device node alone does
// not say so: the processor must offer it, too.
func (k kvm) check() api.Check {
	if name, shut := k.shut(); shut {
		return missing("kvm", fmt.Sprintf("QEMU's user %s may not open %s: libvirt then starts QEMU anew for every call, seconds each", name, k.device), setupFix)
	}
	info, err := os.ReadFile(k.info)
	if err != nil {
		return missing("kvm", err.Error(), "mount /proc")
	}
	flags := strings.Contains(string(info), " vmx") || strings.Contains(string(info), " svm")
	if _, err := os.Stat(k.device); flags && err == nil {
		return ok("kvm", "guests run with KVM")
	}
	return api.Check{Name: "kvm", State: "warning", Detail: "no hardware virtualisation: guests are emulated (TCG), and slow",
		Fix: "switch it on in the host's firmware, or allow nested virtualisation"}
}

// shut says that the device is there and QEMU's user, whose name it returns, may not
// open it. libvirt looks at QEMU with more rights than that user has, finds KVM, and
// takes what it found for outdated at the next call, since the user cannot open the
// device (libvirt's virQEMUCapsIsValid): it looks again, for seconds, for ever.
func (k kvm) shut() (string, bool) {
	st, err := os.Stat(k.device)
	if err != nil {
		return "", false
	}
	name := k.qemuUser()
	uid, gids, err := k.lookup(name)
	if err != nil {
		return "", false // libvirt is not installed
	}
	return name, !mayOpen(st, uid, gids)
}

// open gives the device to the group that udev gives it to, where there is no udev.
func (k kvm) open() error {
	g, err := user.LookupGroup(k.group)
	if err != nil {
		return fmt.Errorf("host setup: %s: %w", k.device, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("host setup: group %s: %w", k.group, err)
	}
	if err := errors.Join(os.Chown(k.device, -1, gid), os.Chmod(k.device, 0o660)); err != nil {
		return fmt.Errorf("host setup: %s: %w", k.device, err)
	}
	if name, shut := k.shut(); shut {
		return fmt.Errorf("host setup: QEMU's user %s is not in group %s and may not open %s: usermod -aG %s %s", name, k.group, k.device, k.group, name)
	}
	return nil
}

// mayOpen says whether a user may read and write a file, by its mode.
func mayOpen(st os.FileInfo, uid int, gids []int) bool {
	sys, known := st.Sys().(*syscall.Stat_t)
	if !known || uid == 0 {
		return true
	}
	const rw = 0o6
	mode := st.Mode().Perm()
	if int(sys.Uid) == uid {
		return mode>>6&rw == rw
	}
	for _, gid := range gids {
		if int(sys.Gid) == gid {
			return mode>>3&rw == rw
		}
	}
	return mode&rw == rw
}

var qemuConfUser = regexp.MustCompile(`(?m)^\s*user\s*=\s*"\+?([^"]+)"`)

// qemuUser is who libvirt runs QEMU as: what its configuration says, or what the
// distribution built in. It may be a number.
func (k kvm) qemuUser() string {
	if text, err := os.ReadFile(k.config); err == nil {
		if m := qemuConfUser.FindSubmatch(text); m != nil {
			return string(m[1])
		}
	}
	for _, name := range []string{"libvirt-qemu", "qemu"} {
		if _, _, err := k.lookup(name); err == nil {
			return name
		}
	}
	return "qemu"
}

// lookupUser finds a user by name or number, with all of its groups.
func lookupUser(name string) (int, []int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return 0, nil, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return 0, nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return 0, nil, err
	}
	var gids []int
	for _, id := range ids {
		gid, err := strconv.Atoi(id)
		if err != nil {
			return 0, nil, err
		}
		gids = append(gids, gid)
	}
	return uid, gids, nil
}
