package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cmd/internal/lab"
	"tenks/config"
)

// screen is what a person sees.
type screen struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until there is text on the screen.
func (s *screen) shows(t *testing.T, text string, ended <-chan error) {
	t.Helper()
	limit := time.After(60 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.String(), text) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v; screen:\n%s", err, s)
		case <-limit:
			t.Fatalf("no %q on the screen:\n%s", text, s)
		case <-tick.C:
		}
	}
}

func TestIntegrationLabForPeople(t *testing.T) {
	lab.RequireFaults(t)
	dir, bin := filepath.Join(t.TempDir(), "lab"), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "tenks"), []byte("#!/bin/sh\necho tenks on $(hostname)\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	keyboard, typed := io.Pipe()
	defer typed.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var s screen
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-n", "2", "-zones", "2", "-networks", "physnet1", "-dir", dir, "-bin", bin}, keyboard, &s)
	}()
	s.shows(t, "Ctrl-C removes everything", ended)
	t.Logf("screen:\n%s", &s)

	enter := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "enter"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("enter %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := enter("hv2", "tenks"); got != "tenks on hv2" {
		t.Errorf("tenks in a host: got %q", got)
	}
	enter("hv2", "virsh", "-q", "list")
	agent, err := config.LoadAgent("agent.yml", []byte(enter("hv2", "cat", "/var/lib/tenks/agent.yml")))
	if err != nil {
		t.Fatal(err)
	}
	if agent.Name != "hv2" || agent.Zone != "z2" || agent.Advertise != "10.77.0.2" || agent.Physnets["physnet1"].Device != "eth-physnet1" {
		t.Errorf("agent.yml: %+v", agent)
	}

	say := func(line, answer string) {
		t.Helper()
		if _, err := io.WriteString(typed, line+"\n"); err != nil {
			t.Fatal(err)
		}
		s.shows(t, answer, ended)
	}
	say("help", "undoes partition")
	say("partition hv1 hv2", "done: partition hv1 hv2")
	say("clock hv1 soon", `error: time: invalid duration "soon"`)
	say("clock hv1 0", "done: clock hv1 0")
	say("healall", "done: healall")
	say("kill hv1", "done: kill hv1")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "enter"), "hv1", "true").CombinedOutput(); err == nil || !strings.Contains(string(out), "a HOST that is on: hv2") {
		t.Errorf("enter a host that is off: %v: %s", err, out)
	}
	say("boot hv1", "done: boot hv1")
	say("hang hv1", "error: host \"hv1\": hang disk: "+lab.ErrNoDisk.Error())
	say("pause hv9", `error: no host "hv9"`)
	say("delay hv1", "error: usage: delay HOST DURATION")
	say("nonsense", `no command "nonsense"`)

	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("end: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestParseRefusesWhatIsNoLab(t *testing.T) {
	for _, args := range [][]string{{"-n", "0"}, {"-zones", "-1"}, {"-disk", "-5"}, {"word"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%v: got %+v, want an error", args, o)
		}
	}
}

func TestZonesAreTakenInTurn(t *testing.T) {
	for i, want := range []string{"z1", "z2", "z1"} {
		if got := (options{zones: 2}).zone(i); got != want {
			t.Errorf("zone of host %d: got %q, want %q", i, got, want)
		}
	}
	if got := (options{}).zone(0); got != "" {
		t.Errorf("without zones: got %q", got)
	}
}

func TestEveryCommandSaysWhatItTakes(t *testing.T) {
	for _, c := range commands() {
		if n := strings.Count(c.args, "HOST"); n != c.hosts || len(strings.Fields(c.args)) > n+1 || c.does == "" {
			t.Errorf("%s %s: %d hosts: %q", c.name, c.args, c.hosts, c.does)
		}
	}
}
