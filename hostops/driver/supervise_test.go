package driver_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/hostops/driver/drivertest"
	"tenks/raftfsm/state"
)

// rig is a supervisor that runs until the test ends.
type rig struct {
	*driver.Supervisor
	t    *testing.T
	dir  string
	stop func()
}

func supervise(t *testing.T, change func(*driver.SupervisorConfig)) *rig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "driver-") //nolint:usetesting // short, so that the sockets fit into it
	if err != nil {
		t.Fatal(err)
	}
	c := driver.SupervisorConfig{Name: "fake", Path: self, Args: []string{asDriver}, Log: slog.New(slog.DiscardHandler),
		Config: driver.Config{Mesh: "m1", DataDir: dir, Options: map[string]string{"delay": "1ms"}}}
	if change != nil {
		change(&c)
	}
	r := &rig{t: t, Supervisor: driver.Supervise(c), dir: dir}
	r.Hurry(50*time.Millisecond, time.Second, 2*time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1) // one result
	go func() { ended <- r.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: got %v, want nil once it was told to end", err)
		}
		ended <- nil // for a second call
	}
	t.Cleanup(func() {
		r.stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return r
}

func healthy(t *testing.T) *rig {
	t.Helper()
	r := supervise(t, nil)
	r.becomesHealthy()
	return r
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("after 20s, not yet: %s", what)
		}
		<-tick.C
	}
}

func (r *rig) becomesHealthy() {
	r.t.Helper()
	eventually(r.t, "the driver is healthy", func() bool { return r.Healthy() == nil })
}

func (r *rig) pid() int {
	r.t.Helper()
	i, err := r.Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	pid, err := strconv.Atoi(i.Facts["pid"])
	if err != nil {
		r.t.Fatal(err)
	}
	return pid
}

// replaced is whether another process than pid answers.
func (r *rig) replaced(pid int) bool {
	i, err := r.Info(r.t.Context())
	return err == nil && i.Facts["pid"] != strconv.Itoa(pid) && r.Healthy() == nil
}

func (r *rig) signal(pid int, s syscall.Signal) {
	r.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		r.t.Fatalf("signal %s to %d: %v", s, pid, err)
	}
}

// gone is whether a process has ended, reaped or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

func TestConformOverTheProcessBoundary(t *testing.T) {
	drivertest.Conform(t, func(t *testing.T) drivertest.Setup {
		return drivertest.Setup{Driver: healthy(t), Node: node, GuestObeys: true}
	})
}

func TestAKilledDriverIsBackWithItsNodesAndTheWatchEnds(t *testing.T) {
	r := healthy(t)
	if err := r.Ensure(t.Context(), node(0)); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan error, 1) // one result
	go func() { ended <- r.Watch(t.Context(), func(driver.Event) { close(ready) }) }()
	<-ready
	pid, began := r.pid(), time.Now()
	r.signal(pid, syscall.SIGKILL)

	if err := <-ended; !errors.Is(err, state.ErrBusy) {
		t.Errorf("watch: got %v, want an error that is %q", err, state.ErrBusy)
	}
	eventually(t, "another process answers", func() bool { return r.replaced(pid) })
	t.Logf("killed, and answering again after %s", time.Since(began).Round(time.Millisecond))
	all, err := r.Instances(t.Context())
	if err != nil || len(all) != 1 || all[0].Digest != node(0).Digest() {
		t.Errorf("got instances %+v, %v; want the node that was made", all, err)
	}
}

func TestACallIsBusyWhenTheProcessDiesUnderIt(t *testing.T) {
	r := supervise(t, func(c *driver.SupervisorConfig) { c.Config.Options["delay"] = "1m" })
	r.becomesHealthy()
	ended := make(chan error, 1) // one result
	go func() { ended <- r.Ensure(t.Context(), node(0)) }()
	eventually(t, "the driver has the call", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "ensuring"))
		return err == nil
	})
	r.signal(r.pid(), syscall.SIGKILL)
	if err := <-ended; !errors.Is(err, state.ErrBusy) {
		t.Errorf("ensure: got %v, want an error that is %q", err, state.ErrBusy)
	}
}

func TestCallsFailAtOnceWhileTheDriverDoesNotRun(t *testing.T) {
	r := healthy(t)
	r.stop()
	began := time.Now()
	_, infoErr := r.Info(t.Context())
	_, instancesErr := r.Instances(t.Context())
	_, consoleErr := r.Console(t.Context(), node(0).UUID)
	for what, err := range map[string]error{
		"info": infoErr, "instances": instancesErr, "console": consoleErr,
		"ensure": r.Ensure(t.Context(), node(0)), "remove": r.Remove(t.Context(), node(0).UUID),
		"power": r.Power(t.Context(), node(0).UUID, driver.PowerRequest{Action: state.ActionOn}),
		"watch": r.Watch(t.Context(), func(driver.Event) {}),
	} {
		if !errors.Is(err, state.ErrBusy) {
			t.Errorf("%s: got %v, want an error that is %q", what, err, state.ErrBusy)
		}
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("took %s, want at once", took)
	}
	if err := r.Healthy(); err == nil || !strings.HasPrefix(err.Error(), "driver fake: not running for ") {
		t.Errorf("healthy: got %v, want that it does not run", err)
	}
}

func TestAHungProcessIsKilledAndStartedAgain(t *testing.T) {
	r := healthy(t)
	pid := r.pid()
	r.signal(pid, syscall.SIGSTOP)
	eventually(t, "the hang is noticed", func() bool { return r.Healthy() != nil })
	if _, err := r.Info(t.Context()); !errors.Is(err, state.ErrBusy) {
		t.Errorf("info: got %v, want an error that is %q", err, state.ErrBusy)
	}
	eventually(t, "the hung process is gone", func() bool { return gone(pid) })
	eventually(t, "another process answers", func() bool { return r.replaced(pid) })
}

func TestAHungProviderIsToldOfAndIsNoReasonToStartAgain(t *testing.T) {
	r := healthy(t)
	pid := r.pid()
	hang := filepath.Join(r.dir, "hang")
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "it is longer than a hung process would live", func() bool {
		return r.Healthy() != nil && time.Since(began) > 3*time.Second
	})
	if err := r.Healthy(); !regexp.MustCompile(`^driver fake: not answering for [3-9]s: `).MatchString(err.Error()) {
		t.Errorf("healthy: got %q, want for how long it has not answered", err)
	}
	if _, err := r.Instances(t.Context()); !errors.Is(err, state.ErrBusy) {
		t.Errorf("instances: got %v, want an error that is %q by the call's deadline", err, state.ErrBusy)
	}
	if _, err := r.Console(t.Context(), node(0).UUID); !errors.Is(err, state.ErrBusy) {
		t.Errorf("console: got %v, want an error that is %q by the call's deadline", err, state.ErrBusy)
	}
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	r.becomesHealthy()
	if got := r.pid(); got != pid {
		t.Errorf("process %d was replaced by %d", pid, got)
	}
}

func TestStopEndsEvenAHungProcessAndLeavesNoFile(t *testing.T) {
	r := healthy(t)
	pid := r.pid()
	r.signal(pid, syscall.SIGSTOP)
	r.stop()
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
	left, err := filepath.Glob(filepath.Join(r.dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(r.dir, ".*")) // the pattern is right
	if err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left behind: %q %q, %v", left, hidden, err)
	}
}

func TestTheDriverDiesWithAKilledAgent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.CommandContext(t.Context(), self, asAgent, t.TempDir())
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("driver %d is in process group %d (%v), want one of its own", pid, group, err)
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // it was killed
	eventually(t, "the driver is gone", func() bool { return gone(pid) })
}

func TestWhatKeepsADriverFromStartingIsSaid(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*driver.SupervisorConfig)
		want   string
	}{
		{"a program that is not there", func(c *driver.SupervisorConfig) { c.Path = "/nonexistent/tenks-x" }, "/nonexistent/tenks-x: no such file"},
		{"a program that is no driver", func(c *driver.SupervisorConfig) { c.Path, c.Args = "/bin/true", nil }, "start /bin/true: it does not speak the protocol of drivers"},
		{"a driver that refuses its options", func(c *driver.SupervisorConfig) { c.Config.Options["refuse"] = "uri: not usable" }, "configure: uri: not usable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := supervise(t, c.change)
			eventually(t, "it is said", func() bool {
				return strings.Contains(r.Healthy().Error(), c.want)
			})
			if _, err := r.Info(t.Context()); !errors.Is(err, state.ErrBusy) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("info: got %v, want it to be %q and to say %q", err, state.ErrBusy, c.want)
			}
		})
	}
}

func TestAProgramThatSaysNothingDoesNotHoldUpTheEnd(t *testing.T) {
	r := supervise(t, func(c *driver.SupervisorConfig) { c.Args = []string{asSilence} })
	r.stop()
}

func TestADriverRunByHandSaysHowItIsUsed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), self, asDriver).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the agent starts it") {
		t.Errorf("got %q, %v; want a line on its use, and a failure", out, err)
	}
}

func TestAConsoleIsAttachedOverTheProcessBoundary(t *testing.T) {
	r := healthy(t)
	if err := r.Ensure(t.Context(), node(0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Power(t.Context(), node(0).UUID, driver.PowerRequest{Action: state.ActionOn}); err != nil {
		t.Fatal(err)
	}
	c, err := r.Console(t.Context(), node(0).UUID)
	if err != nil {
		t.Fatal(err)
	}
	const text = "login: "
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Errorf("got %q, %v; want what was typed", b, err)
	}
	r.signal(r.pid(), syscall.SIGKILL)
	if n, err := c.Read(b); err != io.EOF { //nolint:errorlint // io.Reader's contract is the value itself
		t.Errorf("after the driver's end: got %d bytes, %v; want %v", n, err, io.EOF)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
