// Package bmcbench measures BMC servers, for benchmarks only: a server runs in a process
// of its own, so that its processor time and memory are not those of its clients. The
// process is the test binary once more, and does what lines on its standard input say.
// It ends with its standard input; Start ends it with the benchmark and waits.
package bmcbench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// variable is set in the environment of a process that serves; profileVariable may name a
// folder for its CPU profile.
const (
	variable        = "TENKS_BENCH_SERVER"
	profileVariable = "TENKS_BENCH_PROFILE"
)

// Commands are what a server does when it is told to, by name; what they return is one line.
type Commands map[string]func(args ...string) (string, error)

// Serve belongs before everything else in TestMain: in the process of a server it obeys
// until standard input ends, and does not return. Elsewhere it does nothing.
func Serve(commands Commands) {
	if os.Getenv(variable) == "" { //nolint:forbidigo // it is the main of a process for tests
		return
	}
	commands["usage"] = func(...string) (string, error) { return usage(false) }
	commands["settled"] = func(...string) (string, error) { return usage(true) }
	if err := profiled(func() error { return obey(os.Stdin, os.Stdout, commands) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // it is the main of a process for tests
	}
	os.Exit(0) //nolint:forbidigo // it is the main of a process for tests
}

func profiled(run func() error) error {
	folder := os.Getenv(profileVariable) //nolint:forbidigo // it is the main of a process for tests
	if folder == "" {
		return run()
	}
	f, err := os.Create(filepath.Join(folder, filepath.Base(os.Args[0])+".cpu"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = run()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

// obey carries out lines until there are no more.
func obey(r io.Reader, w io.Writer, commands Commands) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || commands[words[0]] == nil {
			return fmt.Errorf("command %q: there is none such", lines.Text())
		}
		answer, err := commands[words[0]](words[1:]...)
		if err != nil {
			return fmt.Errorf("command %q: %w", lines.Text(), err)
		}
		if _, err := fmt.Fprintln(w, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Usage is what a process has used.
type Usage struct {
	// CPU is its processor time in user and kernel mode since it began.
	CPU time.Duration
	// RSS is its resident memory now, in bytes.
	RSS uint64
	// Switches is how often one of its threads began to wait or had to yield.
	Switches int64
}

func usage(settle bool) (string, error) {
	if settle {
		debug.FreeOSMemory()
	}
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return "", err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return "", err
	}
	var size, resident uint64 // in pages, proc_pid_statm(5)
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return "", fmt.Errorf("/proc/self/statm: %w", err)
	}
	out, err := json.Marshal(Usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: resident * uint64(os.Getpagesize()), Switches: r.Nvcsw + r.Nivcsw})
	return string(out), err
}

// Server is a process that obeys. It is used by one goroutine at a time.
type Server struct {
	tb   testing.TB
	to   io.WriteCloser
	from *bufio.Reader
}

// Start starts a server.
func Start(tb testing.TB) *Server {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	// The context of a benchmark ends before its clean-up, which ends the server in order.
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), exe)
	cmd.Env = append(os.Environ(), variable+"=1") //nolint:forbidigo // what the tests were given, the server gets
	cmd.Stderr = os.Stderr
	to, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = to.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("server: %v", err)
		}
	})
	return &Server{tb: tb, to: to, from: bufio.NewReader(from)}
}

// Do tells the server to do something, and returns what it says.
func (s *Server) Do(words ...string) string {
	s.tb.Helper()
	if _, err := fmt.Fprintln(s.to, strings.Join(words, " ")); err != nil {
		s.tb.Fatalf("server: %v", err)
	}
	line, err := s.from.ReadString('\n')
	if err != nil {
		s.tb.Fatalf("server: %q: no answer: %v", words[0], err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Usage returns what the server has used so far. The memory of one that is settled first
// is what is in use: garbage is collected and given back.
func (s *Server) Usage(settle bool) Usage {
	s.tb.Helper()
	word := "usage"
	if settle {
		word = "settled"
	}
	var u Usage
	if err := json.Unmarshal([]byte(s.Do(word)), &u); err != nil {
		s.tb.Fatalf("server: usage: %v", err)
	}
	return u
}
