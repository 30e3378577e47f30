//go:build cgo && libvirt_dlopen

package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/hostops/driver/drivertest"
	"tenks/hostops/libvirt"
	"tenks/hostops/libvirt/libvirttest"
	"tenks/raftfsm/state"
)

// asDriver is the argument that makes the test's program the libvirt driver's process.
const asDriver = "be-a-driver"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asDriver {
		driver.Serve(libvirt.Open)
		return
	}
	os.Exit(libvirttest.Main(m))
}

// nodes are how many have links.
const nodes = 6

func node(i int) driver.Spec {
	return driver.Spec{UUID: fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i), Name: fmt.Sprintf("dt%d", i), Epoch: 7,
		Machine: state.Machine{Driver: "libvirt", MemoryMB: 64, VCPUs: 1, BootMode: state.BootBIOS,
			Volumes: []state.Volume{{CapacityBytes: 1 << 30}}},
		Ports: []driver.Port{{MAC: fmt.Sprintf("52:54:00:dd:00:%02x", i), Physnet: "p", Link: fmt.Sprintf("dt%d-tap", i)}}}
}

// host starts a libvirtd, with links for its nodes.
func host(t *testing.T) (*libvirttest.Server, driver.Config) {
	t.Helper()
	srv := libvirttest.Start(t)
	for i := range nodes {
		libvirttest.Veth(t, node(i).Ports[0].Link, fmt.Sprintf("dt%d-br", i))
	}
	c := driver.Config{Mesh: "mesh-dt-0123", DataDir: filepath.Join(srv.Dir, "data"), ConsoleDir: filepath.Join(srv.Dir, "console"),
		Options: map[string]string{"uri": srv.URI, "domain_type": "qemu", "pool_path": filepath.Join(srv.Dir, "pool")}}
	for _, dir := range []string{c.DataDir, c.ConsoleDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return srv, c
}

// supervise runs the driver in a process of its own until the test ends.
func supervise(t *testing.T, c driver.Config) *driver.Supervisor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := driver.Supervise(driver.SupervisorConfig{Name: "libvirt", Path: self, Args: []string{asDriver}, Config: c,
		Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1) // one result
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	eventually(t, "the driver is healthy", func() bool { return s.Healthy() == nil })
	return s
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute, not yet: %s", what)
		}
		<-tick.C
	}
}

// conform runs the suite on one libvirtd: a new one takes seconds to look at QEMU.
func conform(t *testing.T, open func(*testing.T, driver.Config) driver.Driver) {
	_, c := host(t)
	drivertest.Conform(t, func(t *testing.T) drivertest.Setup {
		d := open(t, c)
		t.Cleanup(func() { removeAll(t, d) })
		return drivertest.Setup{Driver: d, Node: node, Patience: 30 * time.Second}
	})
}

// removeAll leaves the host as it was.
func removeAll(t *testing.T, d driver.Driver) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	all, err := d.Instances(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, i := range all {
		if err := d.Remove(ctx, i.UUID); err != nil {
			t.Error(err)
		}
	}
}

func TestIntegrationLibvirtConforms(t *testing.T) {
	conform(t, func(t *testing.T, c driver.Config) driver.Driver {
		d, err := libvirt.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if closer, ok := d.(interface{ Close() }); ok {
			t.Cleanup(closer.Close)
		}
		return d
	})
}

func TestIntegrationLibvirtConformsOverTheProcessBoundary(t *testing.T) {
	conform(t, func(t *testing.T, c driver.Config) driver.Driver { return supervise(t, c) })
}

// children returns the processes whose parent is this one and that run this program.
func children(t *testing.T) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, file := range stats {
		dir := filepath.Dir(file)
		stat, _ := os.ReadFile(file) // it may have ended
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) && strings.Contains(string(cmdline), asDriver) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pid)
		}
	}
	return out
}

func TestIntegrationLibvirtGuestsOutliveTheDriverProcess(t *testing.T) {
	srv, c := host(t)
	s := supervise(t, c)
	spec := node(0)
	if err := s.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := s.Power(t.Context(), spec.UUID, driver.PowerRequest{Action: state.ActionOn}); err != nil {
		t.Fatal(err)
	}
	id := srv.Virsh(t, "domid", spec.Name)
	before := children(t)
	if len(before) != 1 {
		t.Fatalf("got driver processes %v, want one", before)
	}
	began := time.Now()
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another driver process answers", func() bool {
		now := children(t)
		all, err := s.Instances(t.Context())
		return len(now) == 1 && now[0] != before[0] && err == nil && len(all) == 1 && all[0].Power == state.PowerOn
	})
	t.Logf("driver killed, and answering again after %s", time.Since(began).Round(time.Millisecond))
	if now := srv.Virsh(t, "domid", spec.Name); now != id {
		t.Errorf("domain ID: got %s, want %s as before", now, id)
	}
}

func TestIntegrationLibvirtdThatHangsIsBusyAndRecovers(t *testing.T) {
	srv, c := host(t)
	s := supervise(t, c)
	spec := node(0)
	if err := s.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	before := children(t)
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "the hang is noticed", func() bool { return s.Healthy() != nil })
	t.Logf("noticed after %s: %v", time.Since(began).Round(time.Millisecond), s.Healthy())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := s.Power(ctx, spec.UUID, driver.PowerRequest{Action: state.ActionOn}); !errors.Is(err, state.ErrBusy) {
		t.Errorf("power: got %v, want an error that is %q", err, state.ErrBusy)
	}
	eventually(t, "ten seconds have passed", func() bool { return time.Since(began) > 10*time.Second })
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	resumed := time.Now()
	eventually(t, "the driver is healthy", func() bool { return s.Healthy() == nil })
	t.Logf("answering again %s after it went on", time.Since(resumed).Round(time.Millisecond))
	if err := s.Power(t.Context(), spec.UUID, driver.PowerRequest{Action: state.ActionOn}); err != nil {
		t.Errorf("power: got %v after it went on", err)
	}
	if now := children(t); len(now) != 1 || now[0] != before[0] {
		t.Errorf("driver processes: got %v, want %v: a hung libvirtd is no reason to start it again", now, before)
	}
}
