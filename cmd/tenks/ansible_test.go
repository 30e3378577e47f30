package main

import (
	"encoding/json"
	"io/fs"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/daemon"
)

// B-20: the tool's files could be read, and one of them written, by anybody, held passwords in
// the clear, and one password was that of all BMCs. The umask here is the one of a careless host.
func TestB20FilesAreTheAgentsOwnAndEachBMCHasItsPassword(t *testing.T) {
	l := newLeakLab(t)
	l.write("free.yml", "cluster: free\nnode_types: {small: {memory_mb: 512, vcpus: 1, driver: fake}}\nspecs: [{type: small, count: 3, node_name_prefix: f}]\n")
	init := exec.CommandContext(t.Context(), "sh", "-c", "umask 0; exec tenks init")
	init.Dir, init.Env = l.dir, append(init.Environ(), "TENKS_DATA_DIR="+l.data)
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for end := time.Now().Add(20 * time.Second); ; pause() {
		if _, err := l.run("status"); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal("the agent does not answer")
		}
	}
	l.tenks("apply", "-f", "free.yml", "--wait=20s")
	passwords := map[string]bool{}
	for _, name := range []string{"f0", "f1", "f2"} {
		var n api.Node
		if err := json.Unmarshal([]byte(l.tenks("node", "show", name, "--secrets", "-o", "json")), &n); err != nil {
			t.Fatal(err)
		}
		passwords[n.BMC.Password] = true
	}
	if len(passwords) != 3 || passwords[""] {
		t.Errorf("%d passwords of 3 BMCs", len(passwords))
	}
	files := 0
	err := filepath.WalkDir(l.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == l.data || path == filepath.Join(l.data, "agent.yml") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		others := fs.FileMode(0o077)
		if e.IsDir() { // what is in one has its own mode
			others = 0o022
		}
		if info.Mode().Perm()&others != 0 && path != daemon.PathsOf(l.data).Socket {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		files++
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}
