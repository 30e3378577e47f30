package service_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tenks/cmd/internal/service"
)

// host is a directory that looks like a host that systemd runs, with a systemctl first
// in PATH that notes its calls.
type host struct {
	service.Manager
	t    *testing.T
	file string
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{Manager: service.Manager{Root: t.TempDir(), DataDir: service.DataDir}, t: t, file: filepath.Join(t.TempDir(), "calls")}
	h.make("run/systemd/system/x")
	h.systemctl(`echo "$*" >>"$CALLS"`)
	t.Setenv("CALLS", h.file)
	return h
}

// systemctl puts a program first in PATH.
func (h *host) systemctl(script string) {
	h.t.Helper()
	dir := h.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func (h *host) make(path string) {
	h.t.Helper()
	path = filepath.Join(h.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// calls are those since the last time.
func (h *host) calls() string {
	h.t.Helper()
	b, err := os.ReadFile(h.file)
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	_ = os.Remove(h.file)
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "; ")
}

func (h *host) unit() string {
	b, err := os.ReadFile(filepath.Join(h.Root, "etc/systemd/system/tenks.service"))
	if err != nil {
		return ""
	}
	return string(b)
}

func TestTheUnitIsInstalledStartedAndRemoved(t *testing.T) {
	h := newHost(t)
	ctx := t.Context()
	if err := h.Start(ctx, "/opt/te nks/50%"); err != nil {
		t.Fatal(err)
	}
	if got, want := h.calls(), "daemon-reload; enable --now tenks.service"; got != want {
		t.Errorf("start called %q, want %q", got, want)
	}
	if want := "\nExecStart=\"/opt/te nks/50%%\" agent --config /var/lib/tenks/agent.yml\n"; !strings.Contains(h.unit(), want) {
		t.Errorf("the unit lacks %q:\n%s", want, h.unit())
	}
	if err := h.Start(ctx, "/opt/te nks/50%"); err != nil {
		t.Fatal(err)
	}
	if got, want := h.calls(), "enable --now tenks.service"; got != want {
		t.Errorf("starting again called %q, want %q", got, want)
	}
	if err := h.Stop(ctx); err != nil || h.calls() != "stop tenks.service" {
		t.Errorf("stop: %v", err)
	}
	if err := h.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := h.calls(), "disable --now tenks.service; daemon-reload"; got != want || h.unit() != "" {
		t.Errorf("remove called %q, want %q; left %q", got, want, h.unit())
	}
	if err := h.Remove(ctx); err != nil || h.calls() != "" {
		t.Errorf("removing again: %v", err)
	}
	if err := h.Start(ctx, "bin/tenks"); err == nil {
		t.Error("a program without a whole path was accepted")
	}
}

func TestAPackagesUnitIsLeftAlone(t *testing.T) {
	h := newHost(t)
	h.make("usr/lib/systemd/system/tenks.service")
	if err := h.Start(t.Context(), "/usr/bin/tenks"); err != nil {
		t.Fatal(err)
	}
	if got, want := h.calls(), "enable --now tenks.service"; got != want || h.unit() != "" {
		t.Errorf("start called %q, want %q; wrote %q", got, want, h.unit())
	}
	if err := h.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := h.calls(), "disable --now tenks.service"; got != want {
		t.Errorf("remove called %q, want %q", got, want)
	}
}

func TestSystemdRunsOnlyTheAgentOfItsDirectory(t *testing.T) {
	h := newHost(t)
	bare := service.Manager{Root: t.TempDir(), DataDir: service.DataDir}
	for _, tt := range []struct {
		m    service.Manager
		dir  string
		want bool
	}{
		{h.Manager, service.DataDir, true},
		{h.Manager, "/tmp/try", false},
		{bare, service.DataDir, false},
	} {
		if got := tt.m.For(tt.dir); got != tt.want {
			t.Errorf("%+v for %s: %v, want %v", tt.m, tt.dir, got, tt.want)
		}
	}
}

func TestWhatSystemctlSaysIsSaid(t *testing.T) {
	h := newHost(t)
	h.systemctl("echo Job for tenks.service failed >&2; exit 1")
	if err := h.Start(t.Context(), "/usr/local/bin/tenks"); err == nil || !strings.Contains(err.Error(), "Job for tenks.service failed") {
		t.Errorf("start: %v", err)
	}
}

// TestSystemdUnderstandsTheUnit asks systemd's own check. It looks for the programs that
// a unit names, so that the unit is one of a program that is there.
func TestSystemdUnderstandsTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	h := newHost(t)
	if err := h.Start(t.Context(), "/bin/true"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.Root, "etc/systemd/system/tenks.service")
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), "tenks.service:") {
		t.Errorf("verify: %v: %s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", path).CombinedOutput()
	if err != nil {
		t.Skipf("systemd-analyze security --offline: %v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
}
