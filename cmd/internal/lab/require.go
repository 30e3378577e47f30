package lab

import (
	"fmt"
	"os"
	"os/exec"
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
	for _, program := range []string{"ip", "nsenter", "unshare", "mount", "hostname", "libvirtd", "virsh", "qemu-system-x86_64"} {
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
