package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// leaveLab has this program make a lab in the directory that it names, and wait.
const leaveLab = "TENKS_TEST_LEAVE_LAB"

// leave makes a lab with a host and processes in it, says so, and waits to be killed.
func leave(dir string) int {
	ctx := context.Background()
	l, err := New(ctx, dir)
	if err == nil {
		var h *Host
		if h, err = l.AddHost(ctx, "hv1"); err == nil {
			err = errors.Join(h.Command(ctx, "sleep", "1000").Start(), exec.CommandContext(ctx, "ip", "netns", "exec", l.Switch(), "sleep", "1000").Start())
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("made", l.prefix)
	select {}
}

func TestOnlyTheDirectoryOfALabIsSweptAway(t *testing.T) {
	for name, c := range map[string]struct {
		made, record string
		swept        bool
	}{
		"as it is":       {"lab", "lab", true},
		"with a space":   {"my labs/1", "my labs/1", true},
		"another's":      {"lab", "other", false},
		"cut off":        {"lab/1", "lab", false},
		"none":           {"lab", "", false},
		"a relative one": {"lab", "../lab", false},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir, beside := filepath.Join(top, c.made), filepath.Join(top, "my", "own")
			for _, d := range []string{dir, beside} {
				if err := os.MkdirAll(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			record := c.record
			if record != "" && !strings.HasPrefix(record, "..") {
				record = filepath.Join(top, record)
			}
			file := filepath.Join(top, prefixOf(dir))
			// No process has that number (proc_sys_kernel(5), pid_max).
			if err := os.WriteFile(file, fmt.Appendf(nil, "%d 1 %s", 1<<23, record), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := sweep(t.Context(), file); (err == nil) != c.swept {
				t.Errorf("sweep: %v", err)
			}
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) != c.swept {
				t.Errorf("the lab: %v", err)
			}
			if _, err := os.Stat(beside); err != nil {
				t.Errorf("somebody's own files: %v", err)
			}
		})
	}
}

func TestIntegrationALabOfAProcessThatIsKilledIsSweptAway(t *testing.T) {
	Require(t)
	dir := filepath.Join(t.TempDir(), "lab")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), leaveLab+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	prefix, made := strings.CutPrefix(strings.TrimSpace(said), "made ")
	if err != nil || !made {
		t.Fatalf("it said %q, %v", said, err)
	}
	// A lab whose process runs is left alone.
	if dirs, err := Sweep(t.Context()); err != nil || slices.Contains(dirs, dir) {
		t.Errorf("swept %v, %v, although its process runs", dirs, err)
	}
	if names, err := filepath.Glob(netnsPath(prefix + "*")); err != nil || len(names) != 2 {
		t.Fatalf("before: namespaces %v, %v", names, err)
	}
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	ctx, cancel := context.WithTimeout(t.Context(), sweepTimeout)
	defer cancel()
	err = await(ctx, func() (bool, error) {
		_, err := os.Stat(filepath.Join(owners, prefix))
		return errors.Is(err, fs.ErrNotExist), nil
	})
	if err != nil {
		t.Fatalf("the record of the lab is left: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	for _, trace := range traces(t) {
		if strings.Contains(trace, prefix) || strings.Contains(trace, dir) && !strings.Contains(trace, leaveLab) {
			t.Errorf("left on this machine: %s", trace)
		}
	}
}
