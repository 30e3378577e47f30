package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func hostWithDisk(t *testing.T) *Host {
	t.Helper()
	RequireDisks(t)
	hosts, err := newLab(t).Add(t.Context(), Spec{Name: "hv1", DiskMiB: 64})
	must(t, err)
	return hosts[0]
}

// write starts a program that writes to the host's disk.
func write(t *testing.T, h *Host) (ended <-chan error, cmd *exec.Cmd) {
	t.Helper()
	cmd = h.Command(context.WithoutCancel(t.Context()), "sh", "-c", "echo written >/var/lib/tenks/file")
	must(t, cmd.Start())
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	return end, cmd
}

// hangs reports whether a process waits in a way that no signal ends.
func hangs(cmd *exec.Cmd) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	return err == nil && strings.Contains(string(stat), ") D ")
}

func TestIntegrationLabHungDiskHoldsWritesUntilItIsThawed(t *testing.T) {
	h := hostWithDisk(t)
	must(t, os.WriteFile(h.Path("/var/lib/tenks/before"), []byte("kept"), 0o600))
	must(t, h.HangDisk())
	must(t, h.HangDisk())
	ended, cmd := write(t, h)
	eventually(t, "the write to hang", func() bool { return hangs(cmd) })
	if got := output(t, h, "cat", "/var/lib/tenks/before"); got != "kept" {
		t.Errorf("read from a hung disk: got %q", got)
	}
	// The machine's own disks, and /run, go on.
	output(t, h, "touch", "/run/file")
	select {
	case err := <-ended:
		t.Fatalf("a write to a hung disk ended: %v", err)
	default:
	}
	must(t, h.ThawDisk())
	must(t, <-ended)
	must(t, h.ThawDisk())
	if got := output(t, h, "cat", "/var/lib/tenks/file"); got != "written" {
		t.Errorf("what was written: got %q", got)
	}
}

func TestIntegrationLabPowerCutLosesWhatWasNotSynced(t *testing.T) {
	h := hostWithDisk(t)
	output(t, h, "sh", "-c", "cd /var/lib/tenks && echo kept >synced && sync synced && sync . && echo lost >other")
	must(t, h.Kill(t.Context()))
	if _, err := os.Stat(h.Path("/var/lib/tenks/synced")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the disk of a host that is off can be read (%v)", err)
	}
	must(t, h.Boot(t.Context()))
	if got := output(t, h, "sh", "-c", "cd /var/lib/tenks && echo *"); got != "synced" {
		t.Errorf("files after a power cut: got %q, want the one that was synced", got)
	}
	// All of the host's directories are on it.
	must(t, h.Reboot(t.Context()))
}

func TestIntegrationLabHostWithAHungDiskCanLoseItsPower(t *testing.T) {
	h := hostWithDisk(t)
	must(t, h.HangDisk())
	ended, cmd := write(t, h)
	eventually(t, "the write to hang", func() bool { return hangs(cmd) })
	must(t, h.Kill(t.Context()))
	if err := <-ended; err == nil {
		t.Error("the program that wrote was not killed")
	}
	must(t, h.Boot(t.Context()))
	if got := output(t, h, "ls", "/var/lib/tenks"); got != "" {
		t.Errorf("a write that hung until the power was cut left %q", got)
	}
}

func TestIntegrationLabSlowDiskTakesItsTime(t *testing.T) {
	h := hostWithDisk(t)
	const delay = 100 * time.Millisecond
	must(t, h.SlowDisk(delay))
	start := time.Now()
	for range 3 {
		output(t, h, "sh", "-c", "for i in 1 2 3 4 5 6; do echo >>/var/lib/tenks/file; sleep 0.01; done")
	}
	if took := time.Since(start); took < delay {
		t.Errorf("18 writes took %s, want at least %s", took, delay)
	}
	must(t, h.ThawDisk())
	output(t, h, "touch", "/var/lib/tenks/file")
	must(t, h.SlowDisk(delay))
	must(t, h.Kill(t.Context()))
}

func TestIntegrationLabDirectoryCannotHang(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	if err := h.HangDisk(); !errors.Is(err, ErrNoDisk) {
		t.Errorf("got %v, want %v", err, ErrNoDisk)
	}
	must(t, h.ThawDisk())
}
