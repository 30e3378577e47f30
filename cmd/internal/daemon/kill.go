package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killTime is how long a killed process may take to be gone.
const killTime = 3 * time.Second

// killGuest ends the QEMU process of a node where its driver cannot; false: there is none.
func killGuest(uuid string) (bool, error) {
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return false, err
	}
	killed := false
	for _, dir := range pids {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !isGuest(pid, uuid) {
			continue
		}
		if err := killSurely(pid, uuid); err != nil {
			return killed, fmt.Errorf("process %d: %w", pid, err)
		}
		killed = true
	}
	return killed, nil
}

// isGuest reports whether a process is the QEMU of a node, as libvirt starts it.
func isGuest(pid int, uuid string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false // it has ended
	}
	args := bytes.Split(b, []byte{0})
	if !strings.Contains(filepath.Base(string(args[0])), "qemu") {
		return false
	}
	for i, a := range args[:len(args)-1] {
		if string(a) == "-uuid" && string(args[i+1]) == uuid {
			return true
		}
	}
	return false
}

// killSurely kills a process and waits until it is gone. What has its ID by now may be
// another.
func killSurely(pid int, uuid string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if !isGuest(pid, uuid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	deadline := time.Now().Add(killTime)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(time.Until(deadline).Milliseconds(), 0))) //nolint:gosec // descriptors are small
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case time.Now().After(deadline):
			return errors.New("killed and still there")
		}
	}
}
