// Package service is the agent as a service of systemd: its unit, and what the agent
// tells systemd of itself. A Manager runs systemctl and waits for it; a Notifier writes
// to a socket. Neither starts anything that goes on.
package service

import (
	"context"
	_ "embed" // tenks.service
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed tenks.service
var unit string

// Unit is the unit's name.
const Unit = "tenks.service"

// DataDir is the data directory of the agent that the unit runs.
const DataDir = "/var/lib/tenks"

// program is what the unit runs as it is packaged.
const program = "/usr/local/bin/tenks"

// Manager installs and runs the unit.
type Manager struct {
	// Root is where the host's files are: / but for tests.
	Root string
	// DataDir is the data directory of the agent that the unit runs.
	DataDir string
}

// Host is the Manager of this host.
func Host() Manager { return Manager{Root: "/", DataDir: DataDir} }

// For reports whether systemd is to run the agent of a data directory: where it runs the
// host (sd_booted(3)), and the directory is the unit's. Other agents are for trying
// things out.
func (m Manager) For(dataDir string) bool {
	if dataDir != m.DataDir {
		return false
	}
	info, err := os.Stat(filepath.Join(m.Root, "run/systemd/system"))
	return err == nil && info.IsDir()
}

// path is where an administrator's units are; a package's are elsewhere.
func (m Manager) path() string { return filepath.Join(m.Root, "etc/systemd/system", Unit) }

func (m Manager) packaged() bool {
	for _, dir := range []string{"usr/lib/systemd/system", "lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(m.Root, dir, Unit)); err == nil {
			return true
		}
	}
	return false
}

// text is the unit for a program.
func (m Manager) text(path string) (string, error) {
	if !filepath.IsAbs(path) || strings.ContainsAny(path, "\"\\\n'") {
		return "", fmt.Errorf("unit %s: program %q: not an absolute path without quotes", Unit, path)
	}
	path = strings.NewReplacer("%", "%%", "$", "$$").Replace(path)
	if strings.Contains(path, " ") {
		path = `"` + path + `"`
	}
	return strings.Replace(unit, "ExecStart="+program+" ", "ExecStart="+path+" ", 1), nil
}

// Start installs the unit for a program, unless a package brought one, and starts it,
// now and at each boot. It waits until the agent is ready, and may be repeated.
func (m Manager) Start(ctx context.Context, path string) error {
	if err := m.install(ctx, path); err != nil {
		return err
	}
	return systemctl(ctx, "enable", "--now", Unit)
}

func (m Manager) install(ctx context.Context, path string) error {
	if m.packaged() {
		return nil
	}
	text, err := m.text(path)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(m.path()); err == nil && string(old) == text {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(m.path()), 0o755); err != nil {
		return fmt.Errorf("unit %s: %w", Unit, err)
	}
	if err := os.WriteFile(m.path(), []byte(text), 0o644); err != nil { //nolint:gosec // units are for all to read
		return fmt.Errorf("unit %s: %w", Unit, err)
	}
	return systemctl(ctx, "daemon-reload")
}

// installed reports whether there is a unit.
func (m Manager) installed() bool {
	_, err := os.Stat(m.path())
	return err == nil || m.packaged()
}

// Stop stops the agent until it is started, or the host is. It waits. What is not there
// is no error.
func (m Manager) Stop(ctx context.Context) error {
	if !m.installed() {
		return nil
	}
	return systemctl(ctx, "stop", Unit)
}

// Remove stops the agent for good, and removes the unit unless a package brought it.
// What is not there is no error.
func (m Manager) Remove(ctx context.Context) error {
	if !m.installed() {
		return nil
	}
	if err := systemctl(ctx, "disable", "--now", Unit); err != nil {
		return err
	}
	if err := os.Remove(m.path()); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("unit %s: %w", Unit, err)
	}
	return systemctl(ctx, "daemon-reload")
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s(see journalctl -u tenks)", strings.Join(args, " "), err, out)
	}
	return nil
}
