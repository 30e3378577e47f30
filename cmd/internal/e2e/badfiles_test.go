package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/lab"
)

// plain is an agent on this machine with nothing but the fake driver: it touches no
// link and no domain for as long as no node is declared.
type plain struct {
	t   *testing.T
	dir string
	api *client.Client
}

func newPlain(t *testing.T) *plain {
	t.Helper()
	lab.Require(t) // the program is only built where a lab can be
	dir := t.TempDir()
	p := &plain{t: t, dir: dir, api: client.New(filepath.Join(dir, "api.sock"))}
	agent := "data_dir: " + dir + "\nname: hv1\nadvertise: 127.0.0.1\nphysnets: {physnet1: {}}\ndrivers: {fake: {}}\n"
	if err := os.WriteFile(filepath.Join(dir, "agent.yml"), []byte(agent), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := p.tenks("init"); err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
	t.Cleanup(func() {
		pid, err := os.ReadFile(filepath.Join(dir, "agent.lock"))
		if err == nil {
			_ = exec.CommandContext(context.WithoutCancel(t.Context()), "kill", string(pid)).Run()
		}
		for range 500 { // until it has ended, so that its directory can be removed
			if p.api.Ready(context.WithoutCancel(t.Context())) != nil {
				break
			}
			pause(context.WithoutCancel(t.Context()), 10*time.Millisecond)
		}
	})
	return p
}

func (p *plain) tenks(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(bin, "tenks"), args...)
	c.Env = append(os.Environ(), "TENKS_DATA_DIR="+p.dir)
	out, err := c.CombinedOutput()
	return string(out), err
}

func (p *plain) status() api.Status {
	p.t.Helper()
	s, err := p.api.Status(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func TestIntegrationBadClusterFilesNameKeyAndLineAndChangeNothing(t *testing.T) {
	p := newPlain(t)
	files, err := filepath.Glob("../../../config/testdata/cluster.*.bad.yml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d bad cluster files, %v; want 40", len(files), err)
	}
	before := p.status()
	located := regexp.MustCompile(`\.yml:\d+: `)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"plan", "apply"} {
			out, err := p.tenks(command, "-f", file)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !located.MatchString(out) {
				t.Errorf("%s %s: %v\n%s", command, filepath.Base(file), err, out)
			}
		}
		// The agent finds the same by itself.
		_, err = p.api.Apply(t.Context(), api.ApplyRequest{Name: "file.yml", File: string(text)})
		var status *client.StatusError
		if !errors.As(err, &status) || status.Status != 400 || !located.MatchString(status.Message) {
			t.Errorf("%s by the API: %v", filepath.Base(file), err)
		}
	}
	if after := p.status(); after.Index != before.Index || after.Clusters != 0 {
		t.Errorf("index %d became %d, clusters %d", before.Index, after.Index, after.Clusters)
	}
	t.Logf("%d bad files, each refused with key and line; log index %d as before", len(files), before.Index)
}

func TestIntegrationANodeThatFitsNowhereIsRefusedWithTheReason(t *testing.T) {
	p := newPlain(t)
	before := p.status()
	file := filepath.Join(t.TempDir(), "huge.yml")
	text := "cluster: huge\nnode_types:\n  huge: {memory_mb: 1073741824, vcpus: 1, physical_networks: [physnet1], driver: fake}\nspecs:\n  - {type: huge, count: 1}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := p.tenks("apply", "-f", file)
	t.Logf("%s", strings.TrimSpace(out))
	if err == nil || !strings.Contains(out, "hv1: memory: needs 1073741824 MiB") {
		t.Errorf("error %v, output %s", err, out)
	}
	if after := p.status(); after.Index != before.Index {
		t.Errorf("index %d became %d", before.Index, after.Index)
	}
}
