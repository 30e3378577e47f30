package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tellClocks is in the environment of a test program that is a process with a clock: how
// many threads look at it all the time.
const tellClocks = "LAB_TELL_CLOCKS"

// clocks are how far ahead of the kernel's a process's clocks are.
type clocks struct {
	// Wall is time.Now, Day gettimeofday(2); Monotonic is what time.Since says of the
	// time since the process began.
	Wall, Day, Monotonic time.Duration
	// Backwards is how often one of the threads that always look saw time.Since go back.
	Backwards int64
	// PID is the process's ID.
	PID int
}

// kernelTime asks the kernel, by a system call.
func kernelTime(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// between is what f says the time is, less what the kernel does.
func between(id int32, f func() time.Duration) time.Duration {
	for {
		before, got, after := kernelTime(id), f(), kernelTime(id)
		if after-before < near { // it was not interrupted
			return got - before
		}
	}
}

// near is how exact clocks are.
const near = time.Millisecond

// showClocks writes a line of JSON for each line that it reads. Some threads look at
// the clock all the time meanwhile.
func showClocks(in io.Reader, out io.Writer, lookers int) {
	began, kernelBegan := time.Now(), kernelTime(unix.CLOCK_MONOTONIC)
	var backwards atomic.Int64
	for range lookers {
		go func() { // ends with the process
			last := time.Since(began)
			for {
				now := time.Since(began)
				if now < last {
					backwards.Add(1)
				}
				last = now
			}
		}()
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		c := clocks{
			Wall: between(unix.CLOCK_REALTIME, func() time.Duration { return time.Duration(time.Now().UnixNano()) }),
			Day: between(unix.CLOCK_REALTIME, func() time.Duration {
				var t unix.Timeval
				_ = unix.Gettimeofday(&t) // fails for a bad address only
				return time.Duration(t.Nano())
			}),
			Monotonic: between(unix.CLOCK_MONOTONIC, func() time.Duration { return time.Since(began) }) + kernelBegan,
			Backwards: backwards.Load(),
			PID:       os.Getpid(),
		}
		if err := json.NewEncoder(out).Encode(c); err != nil {
			return
		}
	}
}

// clockProcess is a process that says what time it is.
type clockProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// withClock starts cmd, the test program, as such a process.
func withClock(t *testing.T, cmd *exec.Cmd, lookers int) *clockProcess {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", tellClocks, lookers))
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &clockProcess{t, cmd, in, bufio.NewReader(out)}
}

func (p *clockProcess) clocks() (c clocks) {
	p.t.Helper()
	_, err := io.WriteString(p.in, "\n")
	must(p.t, err)
	line, err := p.out.ReadBytes('\n')
	must(p.t, err)
	must(p.t, json.Unmarshal(line, &c))
	return c
}

// ahead fails unless the wall clock is ahead by a time, and the monotonic one is not.
func (p *clockProcess) ahead(want time.Duration) {
	p.t.Helper()
	c := p.clocks()
	if (c.Wall-want).Abs() > near || (c.Day-want).Abs() > near || c.Monotonic.Abs() > 50*near || c.Backwards > 0 {
		p.t.Errorf("clocks: %+v, want a wall clock %s ahead", c, want)
	}
}

func (p *clockProcess) pid() int {
	p.t.Helper()
	return p.clocks().PID
}

// becomes waits until the wall clock is ahead by a time.
func (p *clockProcess) becomes(by time.Duration) {
	p.t.Helper()
	began := time.Now()
	eventually(p.t, "a clock to be "+by.String()+" ahead", func() bool { return (p.clocks().Wall - by).Abs() < near })
	p.t.Logf("%s ahead after %s", by, time.Since(began).Round(time.Microsecond))
	p.ahead(by)
}

// childAndStranger are two such processes: a child of this one, and a child of a shell.
func childAndStranger(t *testing.T, lookers int) map[string]*clockProcess {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("a clock is shifted on amd64 only")
	}
	return map[string]*clockProcess{
		"child":    withClock(t, exec.CommandContext(t.Context(), os.Args[0]), lookers),
		"stranger": withClock(t, exec.CommandContext(t.Context(), "sh", "-c", `exec 3<&0; "$0" <&3 & wait`, os.Args[0]), lookers),
	}
}

func TestAProcessSeesAWallClockThatIsShiftedAndNoOther(t *testing.T) {
	for name, p := range childAndStranger(t, 0) {
		t.Run(name, func(t *testing.T) {
			p.ahead(0)
			for _, by := range []time.Duration{time.Hour, -time.Hour, 0, 0, -500 * 24 * time.Hour, 700 * time.Millisecond, 2500 * time.Millisecond, -3 * time.Second, 0} {
				must(t, ShiftProcessClock(p.pid(), by))
				p.ahead(by)
			}
		})
	}
}

func TestAClockIsShiftedWhileThreadsLookAtIt(t *testing.T) {
	for name, p := range childAndStranger(t, 4) {
		t.Run(name, func(t *testing.T) {
			for i := range 50 {
				must(t, ShiftProcessClock(p.pid(), time.Duration(i%3-1)*time.Hour))
			}
			p.ahead(time.Duration(49%3-1) * time.Hour)
		})
	}
}

func TestAProcessThatStandsStillDoesSoAfterItsClockIsShifted(t *testing.T) {
	for name, p := range childAndStranger(t, 0) {
		t.Run(name, func(t *testing.T) {
			p.ahead(0)
			pid := p.pid()
			must(t, syscall.Kill(pid, syscall.SIGSTOP))
			eventually(t, "it stands", func() bool { return stands(pid) })
			must(t, ShiftProcessClock(pid, time.Hour))
			eventually(t, "it stands again", func() bool { return stands(pid) })
			must(t, syscall.Kill(pid, syscall.SIGCONT))
			p.ahead(time.Hour)
		})
	}
}

func TestAProcessThatCannotBeShifted(t *testing.T) {
	p := childAndStranger(t, 0)["child"]
	pid := p.pid()
	if err := ShiftProcessClock(pid, 100*365*24*time.Hour); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a hundred years: got %v", err)
	}
	must(t, p.cmd.Process.Kill())
	if err := ShiftProcessClock(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a process that has ended: got %v, want %v", err, unix.ESRCH)
	}
	_ = p.cmd.Wait() // killed
	if err := ShiftProcessClock(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a process that has gone: got %v, want %v", err, unix.ESRCH)
	}
}

func TestIntegrationLabShiftsTheClockOfAHost(t *testing.T) {
	RequireClocks(t)
	l := newLab(t)
	hosts, err := l.Add(t.Context(), Spec{Name: "a"}, Spec{Name: "b"})
	must(t, err)
	a, b := hosts[0], hosts[1]
	must(t, a.StartLibvirtd(t.Context()))
	here := withClock(t, exec.CommandContext(t.Context(), os.Args[0]), 0)
	inA, inB := withClock(t, a.Command(t.Context(), os.Args[0]), 0), withClock(t, b.Command(t.Context(), os.Args[0]), 0)
	inA.ahead(0)

	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		must(t, a.ShiftClock(by))
		inA.ahead(by)
		later := withClock(t, a.Command(t.Context(), os.Args[0]), 0)
		later.becomes(by)
		if _, err := exec.LookPath("perl"); err == nil {
			// time(2), of a program in C that is shifted while it waits.
			eventually(t, "perl's clock is shifted", func() bool {
				text := output(t, a, "perl", "-e", "select undef, undef, undef, 0.1; print time")
				seconds, err := strconv.ParseInt(text, 10, 64)
				return err == nil && time.Unix(seconds, 0).Sub(time.Now().Add(by)).Abs() < 2*time.Second
			})
		}
		must(t, a.Virsh(t.Context(), "list"))
	}
	inB.ahead(0)
	here.ahead(0)

	must(t, a.Kill(t.Context()))
	must(t, a.Boot(t.Context()))
	inA = withClock(t, a.Command(t.Context(), os.Args[0]), 0)
	inA.becomes(-time.Hour)
	must(t, l.HealAll(t.Context()))
	inA.ahead(0)
	withClock(t, a.Command(t.Context(), os.Args[0]), 0).ahead(0)
	must(t, a.Kill(t.Context()))
	if err := a.ShiftClock(time.Hour); !errors.Is(err, ErrOff) {
		t.Errorf("a host that is off: got %v, want %v", err, ErrOff)
	}
}
