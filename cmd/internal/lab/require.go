package lab

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// TB is what Require needs of a testing.TB.
type TB interface {
	Helper()
	Skip(args ...any)
}

// Require skips a test, with the reason, where a lab cannot be.
func Require(tb TB) {
	tb.Helper()
	if reason := Missing(); reason != "" {
		tb.Skip("no lab: " + reason)
	}
}

// Missing says what this machine lacks for a lab; empty: nothing.
func Missing() string {
	if os.Geteuid() != 0 {
		return "needs root: namespaces, mounts"
	}
	for _, program := range []string{"ip", "nsenter", "unshare", "mount", "hostname", "stat", "mknod", "libvirtd", "virsh", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("no %s on this machine", program)
		}
	}
	for _, dir := range []string{"/etc/libvirt", "/var/lib", "/var/cache", "/var/log"} {
		if _, err := os.Stat(dir); err != nil {
			return err.Error()
		}
	}
	if out, err := exec.Command("unshare", "--net", "--mount", "--uts", "true").CombinedOutput(); err != nil { //nolint:noctx // ends at once
		return fmt.Sprintf("no namespaces: %v: %s", err, out)
	}
	return ""
}

// RequireFaults skips a test where the switch cannot lose frames: Partition, Lose,
// Isolate, Pause.
func RequireFaults(tb TB) {
	tb.Helper()
	Require(tb)
	if _, err := exec.LookPath("nft"); err != nil {
		tb.Skip("no faults between hosts: no nft on this machine")
	}
	if out, err := exec.Command("unshare", "--net", "nft", rules(map[fault]int{{lossy, 1, 2}: 1})).CombinedOutput(); err != nil { //nolint:noctx // ends at once
		tb.Skip(fmt.Sprintf("no faults between hosts: nft: %v: %s", err, out))
	}
}

// RequireDisks skips a test where hosts cannot have disks of their own (Spec.DiskMiB).
func RequireDisks(tb TB) {
	tb.Helper()
	Require(tb)
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		tb.Skip("no disks for hosts: no mkfs.ext4 on this machine")
	}
	for _, path := range []string{"/dev/loop-control", "/sys/fs/ext4"} {
		if _, err := os.Stat(path); err != nil {
			tb.Skip("no disks for hosts: " + err.Error())
		}
	}
}

// RequireClocks skips a test where the clocks of hosts cannot be shifted.
func RequireClocks(tb TB) {
	tb.Helper()
	Require(tb)
	own, err := readVDSO("self")
	if err == nil {
		_, err = planShift(own.image, time.Second)
	}
	if err == nil {
		var e *execs
		if e, err = listenExecs(); err == nil {
			err = e.close()
		}
	}
	if err != nil {
		tb.Skip("no wrong clocks: " + err.Error())
	}
}
