package cloudlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// systemPath is where the distribution's programs are: another python3, earlier in the caller's
// PATH, lacks OpenStack's modules.
var systemPath = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

func program(name string) string {
	for _, dir := range systemPath {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// command runs in the cloud's directory and network namespace.
func (c *Cloud) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if c.opts.Netns != "" {
		name, args = "ip", append([]string{"netns", "exec", c.opts.Netns, program(name)}, args...)
	}
	cmd := exec.CommandContext(ctx, program(name), args...)
	cmd.Dir = c.opts.Dir
	cmd.Env = []string{"PATH=" + strings.Join(systemPath, ":"), "LC_ALL=C.UTF-8", "HOME=" + c.opts.Dir, "PYTHONUNBUFFERED=1"}
	return cmd
}

func (c *Cloud) run(ctx context.Context, name string, args ...string) error {
	if out, err := c.command(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out[max(0, len(out)-2000):])
	}
	return nil
}

// daemon is a process of ours and its children, which are a process group.
type daemon struct {
	name   string
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	stop   sync.Once
}

// startDaemon runs a program until Stop.
func (c *Cloud) startDaemon(name string, env []string, command string, args ...string) (*daemon, error) {
	log := filepath.Join(c.opts.Dir, "log", name+".out")
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Stop ends it, not a context: it has children, and shall end politely.
	cmd := c.command(context.Background(), command, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{name: name, cmd: cmd, log: log, exited: make(chan struct{})}
	go func() { // ends with the process; end waits for it
		_ = cmd.Wait()
		close(d.exited)
	}()
	c.daemons = append(c.daemons, d)
	return d, nil
}

// errEnded says that waiting is in vain.
var errEnded = errors.New("ended")

func (d *daemon) alive() error {
	select {
	case <-d.exited:
		return fmt.Errorf("%s: %w: %s\n%s", d.name, errEnded, d.cmd.ProcessState, tail(d.log, 2000))
	default:
		return nil
	}
}

// await polls until ok, the daemon's end, or that of ctx.
func (d *daemon) await(ctx context.Context, ok func(context.Context) (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok(ctx)
		if done {
			return nil
		}
		if ended := d.alive(); ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w\n%s", d.name, context.Cause(ctx), err, tail(d.log, 2000))
		case <-tick.C:
		}
	}
}

// end stops the process group, politely first, and waits for the process. It may be repeated.
func (d *daemon) end(patience time.Duration) {
	d.stop.Do(func() {
		// Until it is waited for, its number is nobody else's.
		for _, step := range []struct {
			signal syscall.Signal
			wait   time.Duration
		}{{syscall.SIGTERM, patience}, {syscall.SIGKILL, time.Minute}} {
			_ = syscall.Kill(-d.cmd.Process.Pid, step.signal)
			timer := time.NewTimer(step.wait)
			select {
			case <-d.exited:
				timer.Stop()
				_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // what it started may have outlived it
				return
			case <-timer.C:
			}
		}
	})
}

func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-n):])
}
