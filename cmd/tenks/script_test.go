package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tenks/cmd/internal/daemon"
)

// TestMain makes this program a command of the scripts: the test binary under
// another name, which is what a detached agent starts again, too.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tenks": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Setup:               setUp,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "keys": keys, "until": until, "try": try, "free": free, "fill": fill, "lines": lines,
		},
	})
}

// setUp gives a script its own data directory, whose path is short enough for a
// socket, and an address that no other script's BMCs listen on.
func setUp(env *testscript.Env) error {
	dir, err := os.MkdirTemp(shortTemp(), "tk")
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "d")
	env.Setenv("TENKS_DATA_DIR", data)
	env.Setenv("ADDRESS", freshAddress())
	env.Setenv("HOME", env.WorkDir)
	env.Defer(func() {
		if err := killAgent(data); err != nil {
			fmt.Fprintln(os.Stderr, "script clean-up:", err)
		}
		_ = os.RemoveAll(dir)
	})
	return nil
}

// shortTemp returns a directory for sockets: their paths have at most 107 bytes.
func shortTemp() string {
	if dir := os.TempDir(); len(dir) < 60 {
		return dir
	}
	return "/tmp"
}

var addresses atomic.Uint32

// freshAddress returns a loopback address of this process's own.
func freshAddress() string {
	return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()/256%64, os.Getpid()%256, addresses.Add(1))
}

// killAgent ends the agent of a data directory, and waits.
func killAgent(data string) error {
	pid := daemon.PID(data)
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("agent %d: %w", pid, err)
	}
	for end := time.Now().Add(10 * time.Second); daemon.PID(data) != 0; pause() {
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("agent %d did not stop in 10 s", pid), syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	return nil
}

// pause is the time between two looks at a condition.
func pause() { <-time.After(30 * time.Millisecond) }

// exits CODE PROGRAM ARGS... runs a program that must exit with CODE. What fails
// for wrong usage (2) must say so in one line.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var status *exec.ExitError
	if !errors.As(err, &status) {
		ts.Fatalf("exit code 0, want %d (%v)", want, err)
	}
	if got := status.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if text := ts.ReadFile("stderr"); want == exitUsage && (strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "tenks: ")) {
		ts.Fatalf("wrong usage must be said in one line, which starts with tenks: — got\n%s", text)
	}
}

// try PROGRAM ARGS... runs a program whose exit code depends on the host.
func try(ts *testscript.TestScript, _ bool, args []string) { _ = ts.Exec(args[0], args[1:]...) }

// until REGEXP PROGRAM ARGS... repeats a program until its output matches; with !,
// until it does not.
func until(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(20 * time.Second); ; pause() {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("after 20 s: %v\n%s", err, ts.ReadFile("stdout"))
		}
	}
}

// keys FILE KEY... checks that the objects of a JSON file have exactly these keys;
// a.b is key b of object a, and a list stands for its first element.
func keys(ts *testscript.TestScript, _ bool, args []string) {
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	var got []string
	collect("", doc, &got)
	slices.Sort(got)
	want := slices.Clone(args[1:])
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("keys of %s:\n got %s\nwant %s", args[0], strings.Join(got, " "), strings.Join(want, " "))
	}
}

// collect lists the paths of all keys. The keys of by_phase and labels are data.
func collect(prefix string, v any, out *[]string) {
	switch v := v.(type) {
	case []any:
		if len(v) > 0 {
			collect(prefix, v[0], out)
		}
	case map[string]any:
		for key, sub := range v {
			path := strings.TrimPrefix(prefix+"."+key, ".")
			*out = append(*out, path)
			if key != "by_phase" && key != "labels" {
				collect(path, sub, out)
			}
		}
	}
}

// lines FILE N checks how many lines a file has.
func lines(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if got := strings.Count(text, "\n"); strconv.Itoa(got) != args[1] {
		ts.Fatalf("%s has %d lines, want %s:\n%s", args[0], got, args[1], text)
	}
}

// free PORT... checks that nothing listens on UDP ports of the script's address.
func free(ts *testscript.TestScript, _ bool, args []string) {
	for _, port := range args {
		conn, err := net.ListenPacket("udp", net.JoinHostPort(ts.Getenv("ADDRESS"), port))
		ts.Check(err)
		ts.Check(conn.Close())
	}
}

// fill FILE... replaces $NAME in files by the script's variables, and puts an
// agent.yml where the agent looks for it.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		path := ts.MkAbs(name)
		if filepath.Base(name) == "agent.yml" {
			path = daemon.PathsOf(ts.Getenv("TENKS_DATA_DIR")).Config
			ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		}
		ts.Check(os.WriteFile(path, []byte(text), 0o600))
	}
}

// TestHelpOfEveryCommand holds the texts of --help, so that a change of one is
// reviewed. UPDATE=1 writes them anew.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Setenv("TENKS_DATA_DIR", "")
	t.Setenv("TENKS_API", "")
	var got bytes.Buffer
	for _, path := range commandPaths(t) {
		fmt.Fprintf(&got, "$ %s --help\n", strings.Join(path, " "))
		if err := run(t.Context(), append(slices.Clone(path[1:]), "--help"), streams{out: &got, err: &got}); err != nil {
			t.Errorf("%v: %v", path, err)
		}
		got.WriteString("\n")
	}
	const file = "testdata/help.golden"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("help changed; review it with UPDATE=1 go test ./cmd/tenks && git diff\n%s", firstDifference(got.String(), string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %q\nwant %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// commandPaths returns every command that is not hidden, parents first.
func commandPaths(t *testing.T) [][]string {
	t.Helper()
	root := (&tool{}).root()
	var out [][]string
	queue := slices.Clone(root.Commands())
	out = append(out, []string{"tenks"})
	for len(queue) > 0 {
		c := queue[0]
		queue = append(queue[1:], c.Commands()...)
		if c.Short == "" {
			t.Errorf("%s has no short description", c.CommandPath())
		}
		if !c.Hidden {
			out = append(out, strings.Fields(c.CommandPath()))
		}
	}
	if len(out) < 25 {
		t.Errorf("only %d commands were found", len(out))
	}
	slices.SortFunc(out, slices.Compare)
	return out
}
