package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a condition is looked at again.
const poll = 5 * time.Millisecond

// process is one that runs in a host.
type process struct {
	pid int
	// name is what /proc/PID/comm says.
	name string
}

// rank orders the ends of processes: a power cut takes all at once, so no agent (0)
// may see what it depends on (1) go.
func (p process) rank() int {
	if p.name == "libvirtd" || p.name == "sleep" || strings.HasPrefix(p.name, "qemu") {
		return 1
	}
	return 0
}

// namespaceOf identifies the namespace behind /proc/PID/ns/… or /run/netns/….
func namespaceOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("namespace %s: %w", path, err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

// inside reports whether a process is in one of the namespaces. One that has ended
// is in none, whether or not anybody has waited for it.
func inside(pid int, namespaces map[string]bool) bool {
	in, gone := taskInside(fmt.Sprintf("/proc/%d", pid), namespaces)
	if !gone {
		return in
	}
	// The first thread may have ended before the others, which hold what it held.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	return err == nil && slices.ContainsFunc(tasks, func(task string) bool {
		in, _ := taskInside(task, namespaces)
		return in
	})
}

func taskInside(task string, namespaces map[string]bool) (in, gone bool) {
	for _, kind := range []string{"net", "mnt"} {
		ns, err := namespaceOf(task + "/ns/" + kind)
		if err != nil {
			return false, true
		}
		if namespaces[ns] {
			return true, false
		}
	}
	return false, false
}

// processes returns who is in one of the namespaces, but for the caller.
func processes(namespaces map[string]bool) ([]process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || !inside(pid, namespaces) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue // it has ended
		}
		found = append(found, process{pid: pid, name: strings.TrimSpace(string(comm))})
	}
	return found, nil
}

// signal reaches the process only while it is in one of the namespaces: its number
// may be somebody else's by now.
func signal(pid int, sig syscall.Signal, namespaces map[string]bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ignoreEnded(err)
	}
	defer unix.Close(fd) //nolint:errcheck // only a reference
	if !inside(pid, namespaces) {
		return nil
	}
	return ignoreEnded(unix.PidfdSendSignal(fd, sig, nil, 0))
}

func ignoreEnded(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// stopAll stops what runs in the namespaces, agents first, until none is left that
// does. It returns the process IDs of those that did not stand still before.
func stopAll(namespaces map[string]bool) ([]int, error) {
	if inside(os.Getpid(), namespaces) || inside(1, namespaces) {
		return nil, errors.New("stop: the namespaces are this machine's own")
	}
	var stopped []int
	seen := map[int]bool{}
	for news := true; news; {
		all, err := processes(namespaces)
		if err != nil {
			return stopped, err
		}
		all = slices.DeleteFunc(all, func(p process) bool { return seen[p.pid] })
		slices.SortStableFunc(all, func(a, b process) int { return a.rank() - b.rank() })
		for _, p := range all {
			seen[p.pid] = true
			if stands(p.pid) {
				continue
			}
			if err := signal(p.pid, unix.SIGSTOP, namespaces); err != nil {
				return stopped, fmt.Errorf("process %d (%s): stop: %w", p.pid, p.name, err)
			}
			stopped = append(stopped, p.pid)
		}
		news = len(all) > 0
	}
	return stopped, nil
}

// stands reports whether a process was stopped by a signal.
func stands(pid int) bool { return stateOf(pid) == 'T' }

// stateOf is the state of a process or thread; 0: there is none.
func stateOf(pid int) byte {
	stat, err := statOf(pid)
	if err != nil || len(stat) == 0 {
		return 0
	}
	return stat[0][0]
}

// statOf returns what proc_pid_stat(5) says of a process or thread, from its state and
// its parent on.
func statOf(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name, in parentheses, may have any character in it.
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])), nil
}

// goOn undoes a stop.
func goOn(pid int, namespaces map[string]bool) error {
	if err := signal(pid, unix.SIGCONT, namespaces); err != nil {
		return fmt.Errorf("process %d: go on: %w", pid, err)
	}
	return nil
}

// killAll ends everything in the namespaces and returns when it is gone.
func killAll(ctx context.Context, namespaces map[string]bool) error {
	if inside(os.Getpid(), namespaces) || inside(1, namespaces) {
		return errors.New("kill: the namespaces are this machine's own")
	}
	return await(ctx, func() (bool, error) {
		all, err := processes(namespaces)
		if err != nil || len(all) == 0 {
			return true, err
		}
		for _, p := range all {
			if err := signal(p.pid, unix.SIGKILL, namespaces); err != nil {
				return false, fmt.Errorf("process %d (%s): kill: %w", p.pid, p.name, err)
			}
		}
		return false, nil
	})
}

// await polls until ok is true or an error, or ctx ends.
func await(ctx context.Context, ok func() (bool, error)) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
