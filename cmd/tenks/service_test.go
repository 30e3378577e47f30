package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/service"
)

func TestWhereSystemdRunsTheHostItRunsTheAgent(t *testing.T) {
	root, dir := t.TempDir(), shortDir(t)
	bin, calls := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\necho \"$*\" >>"+calls+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	tool := &tool{streams: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}, dataDir: dir,
		system: service.Manager{Root: root, DataDir: dir}}
	p := daemon.PathsOf(dir)

	// The agent that systemd started.
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", p.Socket)
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{}"))
	})}
	go agent.Serve(l) // ends with Close
	defer agent.Close()

	if err := tool.startAgent(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/tenks.service"))
	self, _ := os.Executable()
	if err != nil || !strings.Contains(string(unit), "\nExecStart="+self+" agent ") {
		t.Errorf("unit: %v:\n%s", err, unit)
	}
	if got := tool.agentLog(p); got != "in journalctl -u tenks" {
		t.Errorf("its log is %q", got)
	}
	if _, err := os.Stat(p.Log); err == nil {
		t.Error("an agent was started detached, too")
	}
	if err := tool.removeAgent(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(calls)
	if want := "daemon-reload\nenable --now tenks.service\ndisable --now tenks.service\ndaemon-reload\n"; string(got) != want || err != nil {
		t.Errorf("systemctl was called for %q, want %q, %v", got, want, err)
	}
}

// shortDir makes a directory whose path is short enough for a socket (unix(7)).
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tks") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
