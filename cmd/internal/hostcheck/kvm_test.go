package hostcheck

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testKVM has a device of this process' user and group with a mode, and users with
// numbers of their own.
func testKVM(t *testing.T, mode os.FileMode, qemuConf string) kvm {
	t.Helper()
	dir := t.TempDir()
	k := kvm{device: filepath.Join(dir, "kvm"), info: filepath.Join(dir, "cpuinfo"), config: filepath.Join(dir, "qemu.conf")}
	for path, text := range map[string]string{k.device: "", k.info: "flags : fpu vmx\n", k.config: qemuConf} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(k.device, mode); err != nil {
		t.Fatal(err)
	}
	k.lookup = func(name string) (int, []int, error) {
		switch name {
		case "root", "0":
			return 0, []int{0}, nil
		case "libvirt-qemu":
			return 64055, []int{64055, os.Getgid()}, nil
		case "stranger":
			return 4242, []int{4242}, nil
		}
		return 0, nil, errors.New("no such user")
	}
	return k
}

func TestKVMIsShutWhenQEMUsUserMayNotOpenIt(t *testing.T) {
	for name, c := range map[string]struct {
		mode os.FileMode
		conf string
		shut string
	}{
		"only its owner":               {0o600, "", "libvirt-qemu"},
		"its group":                    {0o660, "", ""},
		"its group may only read":      {0o640, "", "libvirt-qemu"},
		"everybody":                    {0o666, "", ""},
		"everybody but its group":      {0o606, "", "libvirt-qemu"},
		"QEMU runs as root":            {0o600, "# user = \"stranger\"\nuser = \"root\"\n", ""},
		"QEMU runs as root, by number": {0o600, "user = \"+0\"\n", ""},
		"QEMU runs as somebody else":   {0o660, "  user=\"stranger\"\n", "stranger"},
		"a user that is not there":     {0o600, "user = \"nobody-at-all\"\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := testKVM(t, c.mode, c.conf).check()
			if c.shut == "" {
				if got.State != "ok" {
					t.Errorf("got %+v, want ok", got)
				}
				return
			}
			if got.State != "error" || got.Fix != setupFix || !strings.Contains(got.Detail, "QEMU's user "+c.shut+" may not open") {
				t.Errorf("got %+v, want an error about %s", got, c.shut)
			}
		})
	}
}

func TestKVMThatIsNotThereIsNotShut(t *testing.T) {
	k := testKVM(t, 0o600, "")
	if err := os.Remove(k.device); err != nil {
		t.Fatal(err)
	}
	if got := k.check(); got.State != "warning" || got.Fix == setupFix {
		t.Errorf("got %+v, want a warning that set-up cannot mend", got)
	}
}

func TestOpeningKVMGivesItToItsGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	k := testKVM(t, 0o600, "")
	k.group = "root"
	if err := os.Chown(k.device, 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := k.open(); err != nil {
		t.Fatal(err)
	}
	if got := k.check(); got.State != "ok" {
		t.Errorf("after it was opened: %+v", got)
	}
	k = testKVM(t, 0o600, "user = \"stranger\"\n")
	k.group = "root"
	if err := k.open(); err == nil || !strings.Contains(err.Error(), "usermod -aG root stranger") {
		t.Errorf("a user outside the group: %v", err)
	}
}
