package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/lab"
)

func TestIntegrationStaticBinaryIsAPeerWhereThereIsNoLibvirt(t *testing.T) {
	lab.Require(t)
	root := newBareRoot(t)
	if in := interpreted(t, root.path("/tenks")); len(in) > 0 {
		t.Fatalf("tenks is linked dynamically: %v", in)
	}

	for _, check := range root.doctor() {
		if check.Name == "libvirt library" && (check.State != "error" || !strings.Contains(check.Detail, "libvirt.so.0 is not installed") || check.Fix != "tenks host setup") {
			t.Errorf("before there is an agent: %+v", check)
		}
	}
	c := root.startAgent(agentYAML)
	t.Logf("tenks doctor:\n%s", root.run("doctor"))
	states := map[string]api.Check{}
	for _, check := range root.doctor() {
		states[check.Name] = check
	}
	if d := states["driver libvirt"]; d.State != "error" || !strings.Contains(d.Detail, "libvirt.so.0 cannot be used") || !strings.Contains(d.Fix, "goes on as a peer") {
		t.Errorf("the libvirt driver is said to be %+v", d)
	}
	if d := states["driver fake"]; d.State != "ok" {
		t.Errorf("the fake driver is said to be %+v", d)
	}

	file := strings.Replace(demo(2), "small:\n", "small:\n    driver: fake\n", 1)
	root.write("/demo.yml", file)
	t.Logf("tenks apply:\n%s", root.run("apply", "-f", "/demo.yml", "--wait=1m"))
	nodes, _, err := c.Nodes(t.Context(), client.NodeQuery{})
	if err != nil || len(nodes) != 2 {
		t.Fatalf("nodes %v, %v; want two", nodes, err)
	}
	for _, n := range nodes {
		if n.Phase != "ready" || n.Driver != "fake" {
			t.Errorf("node %s of driver %s is %s: %s", n.Name, n.Driver, n.Phase, n.Reason)
		}
	}
	root.write("/real.yml", strings.Replace(demo(1), "cluster: demo", "cluster: real", 1))
	if out := root.run("apply", "-f", "/real.yml", "--wait=1m"); !strings.Contains(out, "driver: has no libvirt, only fake") {
		t.Errorf("a node that needs libvirt: %s", out)
	}
}

// interpreted returns what a program needs of the system's dynamic linker.
func interpreted(t *testing.T, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			out = append(out, p.Type.String())
		}
	}
	return out
}

// bareRoot is a root directory with a tenks that carries its driver, with the C
// library, and with no other program or library.
type bareRoot struct {
	t     *testing.T
	dir   string
	agent *exec.Cmd
}

func newBareRoot(t *testing.T) *bareRoot {
	t.Helper()
	// Short: the path of a socket within must fit in 108 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "tke2e") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &bareRoot{t: t, dir: dir}
	for _, d := range []string{"/proc", "/dev", "/sys", "/tmp", dataDir} {
		if err := os.MkdirAll(r.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := buildEmbedding(t, r.path("/tenks")); err != nil {
		t.Fatal(err)
	}
	for _, lib := range libraries(t, filepath.Join(bin, "tenks-libvirt")) {
		r.copy(lib)
	}
	return r
}

// buildEmbedding builds tenks with the driver of this test in it, whatever make put
// into the source tree.
func buildEmbedding(t *testing.T, out string) error {
	t.Helper()
	dir := t.TempDir()
	packed := filepath.Join(dir, "packed.gz")
	if err := pack(filepath.Join(bin, "tenks-libvirt"), packed); err != nil {
		return err
	}
	tree, err := filepath.Abs("../drivers/bin/tenks-libvirt.gz")
	if err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {tree: packed}})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "build", "-p", "2", "-overlay", overlayFile, "-tags", "tenks_embed", "-o", out, "tenks/cmd/tenks")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, text)
	}
	return nil
}

func pack(program, to string) error {
	in, err := os.Open(program)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	return errors.Join(err, z.Close())
}

// libraries returns the files that a program is linked with, as ldd(1) finds them.
func libraries(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ldd", program).Output()
	if err != nil {
		t.Fatalf("ldd: %v", err)
	}
	var files []string
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		for _, word := range strings.Fields(s.Text()) {
			if filepath.IsAbs(word) {
				files = append(files, word)
			}
		}
	}
	if slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, "libvirt") }) {
		t.Fatalf("the driver is linked with libvirt: %v", files)
	}
	return files
}

func (r *bareRoot) path(inside string) string { return filepath.Join(r.dir, inside) }

func (r *bareRoot) write(inside, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(inside), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// copy puts a file of this machine at the same place of the root.
func (r *bareRoot) copy(file string) {
	r.t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(r.path(file)), 0o755)
	}
	if err == nil {
		err = os.WriteFile(r.path(file), b, 0o755)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// command is a tenks in the root, and in a network and mount namespace of its own.
func (r *bareRoot) command(args ...string) *exec.Cmd {
	const enter = `set -e; ip link set lo up; cd "$0"
mount -t proc proc proc; mount --rbind /dev dev; exec chroot . /tenks "$@"`
	ctx := context.WithoutCancel(r.t.Context())
	return exec.CommandContext(ctx, "unshare", append([]string{"--net", "--mount", "--propagation", "private", "sh", "-c", enter, r.dir}, args...)...)
}

// run returns what a command printed on both outputs; whether it failed is in there.
func (r *bareRoot) run(args ...string) string {
	r.t.Helper()
	out, _ := r.command(args...).CombinedOutput() // doctor exits 1: there is something wrong
	return string(out)
}

func (r *bareRoot) doctor() []api.Check {
	r.t.Helper()
	out, _ := r.command("doctor", "-o", "json").Output() // as above
	var checks []api.Check
	if err := json.Unmarshal(out, &checks); err != nil {
		r.t.Fatalf("doctor: %v: %s", err, out)
	}
	return checks
}

// startAgent makes a mesh of one and waits until its agent answers.
func (r *bareRoot) startAgent(agentYAML string) *client.Client {
	r.t.Helper()
	r.write(dataDir+"/agent.yml", agentYAML)
	logPath := filepath.Join(r.t.TempDir(), "agent.log")
	log, err := os.Create(logPath)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	r.agent = r.command("init", "--foreground")
	r.agent.Stdout, r.agent.Stderr = log, log
	if err := r.agent.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = r.agent.Process.Signal(os.Interrupt) // its driver ends with it
		_ = r.agent.Wait()
		if r.t.Failed() {
			b, _ := os.ReadFile(logPath)
			r.t.Logf("the agent's log:\n%s", b)
		}
	})
	c := client.New(r.path(dataDir + "/api.sock"))
	deadline := time.Now().Add(30 * time.Second)
	for c.Ready(r.t.Context()) != nil {
		if time.Now().After(deadline) {
			r.t.Fatal("the agent does not answer")
		}
		pause(r.t.Context(), 20*time.Millisecond)
	}
	return c
}
