package ipmi

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a program that runs on a pseudo-terminal of its own.
type terminal struct {
	t    *testing.T
	pty  *os.File
	done chan struct{} // closed when the program has ended
	err  error

	mu  sync.Mutex
	out bytes.Buffer
}

// onTerminal starts a program as from a shell. It is killed when the test ends.
func onTerminal(t *testing.T, name string, args ...string) *terminal {
	t.Helper()
	pty, tty, err := openPTY()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close() // the program has it
	term := &terminal{t: t, pty: pty, done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(term.read)
	wg.Go(func() {
		term.err = cmd.Wait()
		close(term.done)
	})
	t.Cleanup(func() {
		cancel()
		<-term.done
		_ = pty.Close()
		wg.Wait()
	})
	return term
}

func openPTY() (pty, tty *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	pty = os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		_ = pty.Close()
	}
	return pty, tty, err
}

func (x *terminal) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := x.pty.Read(buf)
		x.mu.Lock()
		x.out.Write(buf[:n])
		x.mu.Unlock()
		if err != nil { // EIO once the program has ended
			return
		}
	}
}

// text is all that was printed so far.
func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

func (x *terminal) typed(s string) {
	x.t.Helper()
	if _, err := x.pty.WriteString(s); err != nil {
		x.t.Fatalf("type %q: %v", s, err)
	}
}

// waitFor waits until the program has printed all of want.
func (x *terminal) waitFor(want string) {
	x.t.Helper()
	eventually(x.t, fmt.Sprintf("%.60q", want), func() bool {
		select {
		case <-x.done:
			if !strings.Contains(x.text(), want) {
				x.t.Fatalf("ended without %.60q: %v; printed %d bytes, at last %q", want, x.err, len(x.text()), x.last())
			}
		default:
		}
		return strings.Contains(x.text(), want)
	}, func() string { return fmt.Sprintf("printed %d bytes, at last %q", len(x.text()), x.last()) })
}

// last is the end of what was printed.
func (x *terminal) last() string {
	text := x.text()
	return text[max(0, len(text)-500):]
}

// waitEnd waits until the program has ended.
func (x *terminal) waitEnd() {
	x.t.Helper()
	select {
	case <-x.done:
	case <-time.After(patience):
		x.t.Fatalf("still running after %v; printed %q", patience, x.text())
	}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool, got func() string) {
	t.Helper()
	for deadline := time.Now().Add(3 * patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v; %s", what, 3*patience, got())
		}
		<-time.After(5 * time.Millisecond)
	}
}
