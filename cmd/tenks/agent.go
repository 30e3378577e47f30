package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/drivers"
	"tenks/cmd/internal/service"
	"tenks/config"
)

func (t *tool) agentCommand() *cobra.Command {
	var file, level string
	c := &cobra.Command{
		Use: "agent", Short: "run the agent in the foreground", Args: noArgs,
		Example: "  tenks agent --config /var/lib/tenks/agent.yml",
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				file = t.paths().Config
			}
			return runAgent(c.Context(), file, level, t.err)
		},
	}
	c.Flags().StringVar(&file, "config", "", "agent.yml (default: the one in --data-dir)")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}

func runAgent(ctx context.Context, file, level string, stderr io.Writer) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	c, err := config.LoadAgent(file, data)
	if err != nil {
		return err
	}
	if c, err = daemon.Resolve(ctx, c); err != nil {
		return err
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return usagef("--log-level %q: not one of debug, info, warn, error", level)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: l}))
	err = daemon.Run(ctx, daemon.Options{Config: c, SetGCPercent: debug.SetGCPercent, Version: version, LibvirtDriver: drivers.Libvirt, Log: log,
		Notify: service.NewNotifier(os.Getenv)})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// startTime bounds how long a started agent may take until it answers.
const startTime = 30 * time.Second

// startAgent starts this host's agent, by systemd where that runs the host, and waits
// until it answers.
func (t *tool) startAgent(ctx context.Context, p daemon.Paths) error {
	if !t.system.For(p.Dir) {
		return t.startDetached(ctx, p)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := t.system.Start(ctx, self); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for err := client.New(p.Socket).Ready(ctx); err != nil; err = client.New(p.Socket).Ready(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("agent: it does not answer after %s: see journalctl -u tenks: %w", startTime, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// agentLog says where this host's agent writes what it does.
func (t *tool) agentLog(p daemon.Paths) string {
	if t.system.For(p.Dir) {
		return "in journalctl -u tenks"
	}
	return p.Log
}

// stopAgent ends this host's agent until it is started again: one that systemd runs
// would be back in seconds.
func (t *tool) stopAgent(ctx context.Context, dir string) error {
	if t.system.For(dir) {
		if err := t.system.Stop(ctx); err != nil {
			return err
		}
	}
	return stopAgent(ctx, dir)
}

// removeAgent ends this host's agent for good, and takes back the addresses that it gave
// the host.
func (t *tool) removeAgent(ctx context.Context, dir string) error {
	if t.system.For(dir) {
		if err := t.system.Remove(ctx); err != nil {
			return err
		}
	}
	if err := stopAgent(ctx, dir); err != nil { // one that was started by hand
		return err
	}
	return daemon.ClearAddresses(ctx, dir, slog.New(slog.DiscardHandler))
}

// startDetached starts an agent that outlives this command, and waits until it
// answers.
func (t *tool) startDetached(ctx context.Context, p daemon.Paths) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, "agent", "--config", p.Config) //nolint:noctx // it outlives this command
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }() // ends with the agent, or with this command
	api := client.New(p.Socket)
	deadline := time.After(startTime)
	for {
		if api.Ready(ctx) == nil {
			return nil
		}
		select {
		case err := <-died:
			return fmt.Errorf("agent: it ended at once (%w): %s", err, tail(p.Log))
		case <-deadline:
			return fmt.Errorf("agent: it does not answer after %s: %s", startTime, tail(p.Log))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail returns the last lines of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n") + "\n(log: " + path + ")"
}

// stopAgent ends the agent of a data directory and waits until it has ended.
func stopAgent(ctx context.Context, dir string) error {
	pid := daemon.PID(dir)
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("agent %d: stop: %w", pid, err)
	}
	deadline := time.After(startTime)
	for daemon.PID(dir) != 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("agent %d: it did not stop in %s", pid, startTime)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already if all went well
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
