package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// haltTime bounds what a process takes to stand still: one whose disk hangs does not.
	haltTime = 5 * time.Second
	// haltPoll is between two looks at a thread, which stands after some 20 µs.
	haltPoll = 50 * time.Microsecond
)

// CLD_TRAPPED and CLD_STOPPED (sigaction(2)).
const (
	cldTrapped = 4
	cldStopped = 5
)

// halted calls f while a process stands still; what stood still before does so after it.
// Errors: ESRCH, it has ended.
//
// There are two ways. A parent that shells have, with jobs, would take a SIGSTOP for the
// end of a command: it does not see a trace. But this process sees the traces of its own
// children: os/exec would take them for their ends.
func halted(pid int, f func() error) error {
	stat, err := statOf(pid)
	if err != nil {
		return unix.ESRCH
	}
	if len(stat) > 1 && stat[1] == strconv.Itoa(os.Getpid()) {
		return haltedChild(pid, f)
	}
	return haltedStranger(pid, f)
}

// haltedChild is halted for a child of this process.
func haltedChild(pid int, f func() error) (err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // only a reference
	if !stands(pid) {
		if err := unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0); err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, ignoreEnded(unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0)))
		}()
	}
	deadline := time.Now().Add(haltTime)
	for {
		tids, err := threadsOf(pid)
		if err != nil {
			return err
		}
		running := false
		for _, tid := range tids {
			running = running || strings.IndexByte("TtZX\x00", stateOf(tid)) < 0
		}
		switch {
		case stateOf(pid) == 'Z' || len(tids) == 0:
			return unix.ESRCH
		case !running:
			return f()
		case time.Now().After(deadline):
			return fmt.Errorf("it does not stand still after %s", haltTime)
		}
		wait(nil, haltPoll)
	}
}

// haltedStranger is halted for any other process, as a debugger does it (PTRACE_SEIZE,
// ptrace(2)).
func haltedStranger(pid int, f func() error) error {
	ended := make(chan error, 1)
	go func() { // ends with what it sends
		// Only the thread that traces may let go. Where it cannot, because what it traced
		// has been killed, it ends with this goroutine, and the trace with it.
		runtime.LockOSThread()
		t := trace{}
		err := t.stop(pid)
		if err == nil {
			err = f()
		}
		if t.release() {
			runtime.UnlockOSThread()
		}
		ended <- err
	}()
	return <-ended
}

// trace has the threads that stand still; false: those that have ended.
type trace map[int]bool

// stop returns when all threads stand. Those that still run may make more.
func (t trace) stop(pid int) error {
	deadline := time.Now().Add(haltTime)
	for seen := -1; seen < len(t); {
		seen = len(t)
		tids, err := threadsOf(pid)
		if err != nil {
			return err
		}
		for _, tid := range tids {
			if _, known := t[tid]; known {
				continue
			}
			if t[tid], err = seize(tid); err != nil {
				return fmt.Errorf("thread %d: trace: %w", tid, err)
			}
		}
		for tid, alive := range t {
			if !alive {
				continue
			}
			if t[tid], err = awaitTrap(tid, deadline); err != nil {
				return fmt.Errorf("thread %d: %w", tid, err)
			}
		}
	}
	for _, alive := range t {
		if alive {
			return nil
		}
	}
	return unix.ESRCH
}

// seize tells a thread to stand still; false: it has ended.
func seize(tid int) (alive bool, err error) {
	err = unix.PtraceSeize(tid)
	if err == nil {
		err = unix.PtraceInterrupt(tid)
	}
	if err != nil && strings.IndexByte("ZX\x00", stateOf(tid)) >= 0 {
		return false, nil
	}
	return err == nil, err
}

// awaitTrap waits until a thread stands; false: it has ended. Whoever waits for it next
// is told so, too.
func awaitTrap(tid int, deadline time.Time) (alive bool, err error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, tid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|unix.WNOHANG|unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return false, nil
		case err != nil:
			return false, err
		case info.Signo != 0:
			return info.Code == cldTrapped || info.Code == cldStopped, nil
		case time.Now().After(deadline):
			return true, fmt.Errorf("it does not stand still after %s", haltTime)
		}
		wait(nil, haltPoll)
	}
}

// release lets the threads go on; false: one of them was traced and could not be told.
func (t trace) release() bool {
	all := true
	for tid := range t {
		all = unix.PtraceDetach(tid) == nil && all
	}
	return all
}

// threadsOf returns the threads of a process.
func threadsOf(pid int) ([]int, error) {
	dirs, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, dir := range dirs {
		tid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, nil
}

// midway reports whether a thread of a process that stands still is in some code: after
// its begin, before its end.
func midway(pid int, begin, end uint64) (bool, error) {
	tids, err := threadsOf(pid)
	if err != nil {
		return false, err
	}
	for _, tid := range tids {
		// proc_pid_syscall(5): the last field is the program counter.
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(text))
		pc, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
		if err != nil {
			return false, fmt.Errorf("thread %d: program counter: %w", tid, err)
		}
		if pc > begin && pc < end {
			return true, nil
		}
	}
	return false, nil
}
