package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // on a socket in a directory of the benchmark's own
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"tenks/cmd/internal/daemon"
	"tenks/config"
)

// agentVariable names the agent.yml of a process that is to be an agent.
const agentVariable = "TENKS_SCALE_AGENT"

func TestMain(m *testing.M) {
	if err := allFiles(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if file := os.Getenv(agentVariable); file != "" {
		if err := runAgent(file); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// allFiles lets this process have as many open files as it may.
func allFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// runAgent is an agent until its standard input ends: it does not outlive the benchmark.
func runAgent(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c, err := config.LoadAgent(file, text)
	if err != nil {
		return err
	}
	c, err = daemon.Resolve(context.Background(), c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	socket := profileSocket(filepath.Dir(file))
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, nil) }() //nolint:gosec // ends with the process
	return daemon.Run(ctx, daemon.Options{Config: c, SetGCPercent: debug.SetGCPercent, Version: "scale", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		LibvirtDriver: func(string) (string, error) { return "", errors.New("no libvirt here") }})
}

func profileSocket(dir string) string { return filepath.Join(dir, "pprof.sock") }
