// Package ovstest runs an Open vSwitch of a test's own: its database, sockets and logs
// are in one directory, and nothing of the machine's is touched. Start starts ovsdb-server
// and ovs-vswitchd in the network namespace of whoever starts their commands, Stop ends
// them and waits.
package ovstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// schema is where Debian's openvswitch-common has it.
const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// startTimeout bounds a start, poll is how often it is looked whether it is over.
const (
	startTimeout = 20 * time.Second
	poll         = 5 * time.Millisecond
)

// Missing says what this machine lacks; empty: nothing.
func Missing() string {
	for _, program := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("no %s on this machine: apt-get install openvswitch-switch", program)
		}
	}
	if _, err := os.Stat(schema); err != nil {
		return err.Error()
	}
	return ""
}

// Switch is a running Open vSwitch. It is not safe for concurrent use.
type Switch struct {
	// Dir has the database and the logs.
	Dir string
	// Socket is where the database listens.
	Socket  string
	command Command
	server  *daemon
	switchd *daemon
}

// Command prepares a program that runs where the switch is to be.
type Command func(ctx context.Context, name string, args ...string) *exec.Cmd

// Start starts a switch with its files in dir, which exists. A database that is there
// already is used again. The socket's path is at most 107 bytes long.
func Start(ctx context.Context, dir, socket string, command Command) (*Switch, error) {
	s := &Switch{Dir: dir, Socket: socket, command: command}
	if _, err := os.Stat(s.path("conf.db")); errors.Is(err, os.ErrNotExist) {
		if err := s.run(ctx, "ovsdb-tool", "create", s.path("conf.db"), schema); err != nil {
			return nil, err
		}
	}
	if err := s.StartServer(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.StartSwitchd(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// DB is the database as ovs.db of agent.yml has it.
func (s *Switch) DB() string { return "unix:" + s.Socket }

func (s *Switch) path(name string) string { return filepath.Join(s.Dir, name) }

// beside is a file where the socket is.
func (s *Switch) beside(name string) string { return filepath.Join(filepath.Dir(s.Socket), name) }

func (s *Switch) run(ctx context.Context, name string, args ...string) error {
	out, err := s.command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Vsctl runs ovs-vsctl(8), as others on a host do, and returns what it prints.
func (s *Switch) Vsctl(ctx context.Context, args ...string) (string, error) {
	out, err := s.command(ctx, "ovs-vsctl", append([]string{"--timeout=20", "--db=" + s.DB()}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ovs-vsctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// StartServer starts ovsdb-server, and returns when the database answers.
func (s *Switch) StartServer(ctx context.Context) error {
	_ = os.Remove(s.Socket) // of one that was killed
	var err error
	s.server, err = s.start(ctx, "ovsdb-server", s.path("conf.db"), "--remote=punix:"+s.Socket, "--unixctl="+s.path("server.ctl"), "--pidfile="+s.beside("ovsdb-server.pid"),
		"--log-file="+s.path("ovsdb-server.log"), "-vconsole:off")
	if err != nil {
		return err
	}
	err = s.await(ctx, s.server, func() bool {
		c, err := net.Dial("unix", s.Socket) //nolint:noctx // answers at once
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	if err != nil {
		return err
	}
	return s.run(ctx, "ovs-vsctl", "--timeout=20", "--db="+s.DB(), "--no-wait", "init")
}

// StartSwitchd starts ovs-vswitchd, and returns when it has carried out the database.
func (s *Switch) StartSwitchd(ctx context.Context) error {
	var err error
	s.switchd, err = s.start(ctx, "ovs-vswitchd", s.DB(), "--unixctl="+s.path("switchd.ctl"), "--pidfile="+s.beside("ovs-vswitchd.pid"), "--log-file="+s.path("ovs-vswitchd.log"), "-vconsole:off")
	if err != nil {
		return err
	}
	_, err = s.Vsctl(ctx, "init") // waits
	return err
}

// StopServer and StopSwitchd end one daemon, as kill -9 does.
func (s *Switch) StopServer() error { return s.server.stop() }

// StopSwitchd ends ovs-vswitchd.
func (s *Switch) StopSwitchd() error { return s.switchd.stop() }

// Hold has ovs-vswitchd do nothing until Release, as if it were busy.
func (s *Switch) Hold() error { return s.switchd.cmd.Process.Signal(syscall.SIGSTOP) }

// Release ends Hold.
func (s *Switch) Release() error { return s.switchd.cmd.Process.Signal(syscall.SIGCONT) }

// Stop ends both. What ovs-vswitchd made in the kernel goes with it but for devices.
func (s *Switch) Stop() error { return errors.Join(s.switchd.stop(), s.server.stop()) }

// daemon is a running program.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *Switch) start(ctx context.Context, name string, args ...string) (*daemon, error) {
	cmd := s.command(context.WithoutCancel(ctx), name, args...) // until it is stopped
	cmd.Env = append(cmd.Environ(), "OVS_RUNDIR="+s.Dir, "OVS_LOGDIR="+s.Dir, "OVS_DBDIR="+s.Dir, "OVS_SYSCONFDIR="+s.Dir)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: start: %w", name, err)
	}
	d := &daemon{cmd: cmd, done: make(chan struct{})}
	go func() { // stop waits for it
		defer close(d.done)
		_ = cmd.Wait() // it is killed
	}()
	return d, nil
}

func (d *daemon) stop() error {
	if d == nil {
		return nil
	}
	err := d.cmd.Process.Kill()
	<-d.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (s *Switch) await(ctx context.Context, d *daemon, ready func() bool) error {
	bounded, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-bounded.Done():
			return fmt.Errorf("%s: not ready: %w", d.cmd.Path, bounded.Err())
		case <-d.done:
			return fmt.Errorf("%s: it ended; look at the logs in %s", d.cmd.Path, s.Dir)
		case <-ticker.C:
		}
	}
	return nil
}
