package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// owners has a file per lab, named by its prefix: who made it, and its directory.
	owners = "/run/tenks-lab"
	// sweepTimeout bounds what a sweep waits for processes to go.
	sweepTimeout = time.Minute
)

// owned records that this process made the lab: what is left of it if this process is
// killed is swept away.
func (l *Lab) owned() error {
	start, err := startOf(os.Getpid())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(owners, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(owners, l.prefix), fmt.Appendf(nil, "%d %s %s", os.Getpid(), start, l.dir), 0o600)
}

// disowned is for a lab of which nothing is left.
func (l *Lab) disowned() error {
	if err := os.Remove(filepath.Join(owners, l.prefix)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// startOf tells a process from a later one of the same number (proc_pid_stat(5), field 22).
func startOf(pid int) (string, error) {
	stat, err := statOf(pid)
	if err != nil {
		return "", err
	}
	const field = 22 - 3 // statOf begins with the third
	if len(stat) <= field || strings.HasPrefix(stat[0], "Z") {
		return "", fs.ErrNotExist
	}
	return stat[field], nil
}

// Sweep ends and removes what is left of labs whose process was killed before it closed
// them: a test that ran out of time, or was interrupted. It returns their directories.
// Labs of processes that run are left alone.
func Sweep(ctx context.Context) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(owners, "lab-*"))
	if err != nil {
		return nil, err
	}
	var dirs []string
	var errs error
	for _, file := range files {
		dir, err := sweep(ctx, file)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("what is left of lab %s: %w", filepath.Base(file), err))
		} else if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs, errs
}

// sweep removes one lab; without a directory: it is not to be.
func sweep(ctx context.Context, file string) (dir string, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // closed meanwhile
	}
	if err != nil {
		return "", err
	}
	record := strings.SplitN(string(b), " ", 3) // there may be spaces in a directory's name
	if len(record) != 3 || prefixOf(record[2]) != filepath.Base(file) {
		return "", fmt.Errorf("%s: %q is no record of a lab", file, b)
	}
	pid, err := strconv.Atoi(record[0])
	if err != nil {
		return "", fmt.Errorf("%s: %q is no record of a lab", file, b)
	}
	dir = record[2]
	if now, err := startOf(pid); err == nil && now == record[1] {
		return "", nil
	}
	names, err := filepath.Glob(netnsPath(filepath.Base(file) + "*"))
	if err != nil {
		return "", err
	}
	if err := endAll(ctx, names); err != nil {
		return "", err
	}
	for _, path := range names {
		if err := run(ctx, "ip", "netns", "del", filepath.Base(path)); err != nil {
			return "", err
		}
	}
	return dir, errors.Join(os.RemoveAll(dir), os.Remove(file))
}

// endAll ends what runs in network namespaces, and in the mount namespaces of what does.
func endAll(ctx context.Context, paths []string) error {
	namespaces := map[string]bool{}
	for _, path := range paths {
		ns, err := namespaceOf(path)
		if err != nil {
			return err
		}
		namespaces[ns] = true
	}
	if len(namespaces) == 0 {
		return nil
	}
	if _, err := stopAll(namespaces); err != nil {
		return err
	}
	all, err := processes(namespaces)
	if err != nil {
		return err
	}
	own, err := namespaceOf("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	// Some of a host's processes are in its mount namespace only. The switch has none: what
	// runs there has this machine's, which is nobody's to end.
	for _, p := range all {
		mnt, err := namespaceOf(fmt.Sprintf("/proc/%d/ns/mnt", p.pid))
		if err == nil && mnt != own && !inside(1, map[string]bool{mnt: true}) {
			namespaces[mnt] = true
		}
	}
	return killAll(ctx, namespaces)
}

// sweeperEnv marks a process that waits for its parent's end, to sweep.
const sweeperEnv = "TENKS_LAB_SWEEPER"

// Swept runs f, and has what is left of its labs swept away also if this process is killed:
// a child of it, which no Ctrl-C reaches, sees its end. To be called by main, or TestMain,
// before anything else: the child is this program again, and done here. also gets the
// directory of each lab that was swept, after it was removed.
func Swept(f func() int, also func(dir string)) int {
	if os.Getenv(sweeperEnv) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent's end
		return sweepNow(also)
	}
	sweepNow(also) // of those who had no child, or whose child was killed too
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	child := exec.Command(exe) //nolint:noctx // ends when this process does
	child.Env = append(os.Environ(), sweeperEnv+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	alive, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab: sweeper:", err)
		return 1
	}
	rc := f()
	_ = alive.Close() // it ends for that
	_ = child.Wait()  // what it could not remove is seen by the next
	return rc
}

func sweepNow(also func(string)) int {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	dirs, err := Sweep(ctx)
	for _, dir := range dirs {
		also(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}
