package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/lab"
)

// bin is the directory with tenks and, beside it, its libvirt driver.
var bin string

func TestMain(m *testing.M) {
	os.Exit(lab.Swept(func() int { return runTests(m) }, func(dir string) {
		if made := filepath.Dir(dir); strings.HasPrefix(filepath.Base(made), labDir) {
			_ = os.RemoveAll(made)
		}
	}))
}

func runTests(m *testing.M) int {
	if reason := lab.Missing(); reason != "" {
		return m.Run() // every test says why it is skipped
	}
	dir, err := os.MkdirTemp("", "tenks-bin")
	if err == nil {
		defer os.RemoveAll(dir)
		bin = dir
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// build makes the program that is tested from the source that it is tested with.
func build(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, b := range []struct{ cgo, tags, name string }{
		{"1", "libvirt_dlopen", "tenks-libvirt"},
		{"0", "", "tenks"},
		{"1", "libvirt_dlopen", "internal/e2e/bare"},
	} {
		c := exec.CommandContext(ctx, "go", "build", "-p", "2", "-tags", b.tags, "-o", filepath.Join(dir, filepath.Base(b.name)), "tenks/cmd/"+b.name)
		c.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", b.name, err, out)
		}
	}
	return nil
}
