package lab

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// child is a process that a host started and waits for.
type child struct {
	cmd *exec.Cmd
	log string
	// done is closed once the process has ended and was waited for.
	done chan struct{}
}

// start starts cmd with its output appended to a file. A goroutine waits for it to
// end, which kill sees to. The process is in a group of its own: a Ctrl-C is for who
// runs the lab, who then ends it.
func start(cmd *exec.Cmd, log string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = out.Close() // the process has its own
	if err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // killed, mostly
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// kill ends the process and returns when it has ended.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.done
}

// lastWords is the end of its output.
func (c *child) lastWords() string {
	const most = 1000
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-most):]))
}
