package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A host as the distribution's packages leave it: QEMU runs as a user of its own, and
// without udev nobody has given it /dev/kvm. README's first command takes it from
// there.
func TestIntegrationSetupOnAFreshMachineEndsWithARunningCluster(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("setup.sh builds with make, which is not here")
	}
	h := newBareHost(t)
	// What a lab host cannot have is its own cgroups.
	if err := os.WriteFile(h.Path("/etc/libvirt/qemu.conf"), []byte("cgroup_controllers = [ ]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	kvm := h.shutKVM()
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	out := h.run(filepath.Join(repo, "setup.sh"))
	t.Logf("setup.sh:\n%s", out)
	if kvm && !strings.Contains(out, "giving /dev/kvm to group kvm") {
		t.Errorf("setup.sh does not open /dev/kvm for QEMU's user")
	}
	line := regexp.MustCompile(`ipmitool (-I lanplus .*) power on`).FindStringSubmatch(out)
	if line == nil || !strings.Contains(out, "2/2 ready") {
		t.Fatal("setup.sh does not end with two nodes and an ipmitool line")
	}
	args := strings.Fields(line[1])
	t.Logf("%s", h.run("ipmitool", append(args, "power", "on")...))
	if got := h.run("ipmitool", append(args, "power", "status")...); got != "Chassis Power is on\n" {
		t.Errorf("power status: %q", got)
	}
	console := h.Path(dataDir + "/console/tk0.log")
	h.wait(60*time.Second, "the firmware to write to the serial console", func() bool { return size(console) > 0 })
	if user := h.run("sh", "-c", "ps -o user= -p $(cat /run/libvirt/qemu/tk0.pid)"); !strings.HasPrefix(user, "libvirt") {
		t.Errorf("QEMU runs as %q, not as its own user: this test shows nothing", user)
	}

	h.asUEFI()
	t.Logf("tenks down:\n%s", h.tenks("down"))
	if d := h.domains(); len(d) > 0 {
		t.Errorf("down leaves %v", d)
	}
}

// asUEFI starts a UEFI node, whose NVRAM and console QEMU's user must be able to
// write.
func (h *host) asUEFI() {
	h.t.Helper()
	file := strings.NewReplacer("cluster: demo", "cluster: efi", "boot_mode: bios", "boot_mode: uefi",
		"[physnet1, physnet2]", "[lab]", "count: 1", "count: 1, node_name_prefix: efi").Replace(demo(1))
	h.t.Logf("%s", h.tenks("apply", "-f", h.write("efi.yml", file), "--wait=2m"))
	h.tenks("node", "power", "on", "efi0")
	console := h.Path(dataDir + "/console/efi0.log")
	h.wait(90*time.Second, "UEFI firmware to write to the serial console", func() bool { return size(console) > 0 })
	h.tenks("destroy", "efi", "--wait=2m")
}

// shutKVM gives the host a /dev/kvm of its own that only root may open; false: this
// machine has none.
func (h *host) shutKVM() bool {
	h.t.Helper()
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return false
	}
	h.run("sh", "-c", "set -e; mkdir /run/own; cp -a /dev/kvm /run/own/kvm; chown root:root /run/own/kvm; chmod 0600 /run/own/kvm; mount --bind /run/own/kvm /dev/kvm")
	return true
}
