package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// upgradeFrom is the revision that an upgrade is tested from; TENKS_UPGRADE_FROM says
// another one.
const upgradeFrom = "HEAD~1"

// buildOld builds the program of an older revision and returns its directory.
func buildOld(t *testing.T) string {
	t.Helper()
	from := cmp.Or(os.Getenv("TENKS_UPGRADE_FROM"), upgradeFrom)
	dir := t.TempDir()
	git := func(args ...string) ([]byte, error) {
		return exec.CommandContext(t.Context(), "git", append([]string{"-C", "../../.."}, args...)...).Output()
	}
	if _, err := git("rev-parse", "--verify", from+"^{commit}"); err != nil {
		t.Skipf("no older revision to upgrade from: git rev-parse %s: %v", from, err)
	}
	archive := filepath.Join(dir, "old.tar")
	if _, err := git("archive", "-o", archive, from); err != nil {
		t.Fatalf("git archive %s: %v", from, err)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xf", archive).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	out := filepath.Join(dir, "old-bin")
	for _, b := range []struct{ cgo, tags, name string }{{"1", "libvirt_dlopen", "tenks-libvirt"}, {"0", "", "tenks"}} {
		c := exec.CommandContext(t.Context(), "go", "build", "-p", "2", "-buildvcs=false", "-tags", b.tags,
			"-ldflags", "-X main.version=old", "-o", filepath.Join(out, b.name), "./cmd/"+b.name)
		c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("build %s of %s: %v: %s", b.name, from, err, text)
		}
	}
	if text, err := exec.CommandContext(t.Context(), filepath.Join(out, "tenks"), "join", "--help").CombinedOutput(); err != nil { //nolint:gosec // it was just built
		t.Skipf("%s has no meshes of several hosts to upgrade: tenks join: %v: %s", from, err, text)
	}
	return out
}

// restartWith stops the agent as an upgrade does, and starts that of a directory.
func (h *host) restartWith(dir string) {
	h.t.Helper()
	pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	process := strings.TrimSpace(string(pid))
	h.run("kill", process)
	h.wait(30*time.Second, "the agent to end", func() bool {
		stat, err := os.ReadFile("/proc/" + process + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ") // or nobody has waited for it
	})
	if h.agent != nil {
		_ = h.agent.Wait() // it was told to end
	}
	h.programs = dir
	h.startAgent()
}

// guests returns the domain ID of every node by its name, over all hosts.
func guests(t *testing.T, hosts []*host) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, h := range hosts {
		maps.Copy(out, h.domains())
	}
	return out
}

func TestIntegrationRollingUpgradeAndRestartDisturbNoGuest(t *testing.T) {
	besideOthers(t)
	old := buildOld(t)
	_, hosts := newMeshOf(t, 3, old)
	cluster := func(name string) string { return spread(name, "", 3) }
	hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", cluster("demo")), "--wait=4m")
	for _, n := range hosts[0].nodes() {
		hosts[0].tenks("node", "power", "on", n.Name)
	}
	hosts[0].wait(30*time.Second, "all guests to run", func() bool {
		for _, id := range guests(t, hosts) {
			if id == "-" {
				return false
			}
		}
		return true
	})
	before := guests(t, hosts)
	check := func(when string) {
		t.Helper()
		leaderOf(t, hosts)
		now := guests(t, hosts)
		for name := range before {
			if diff := gocmp.Diff(before[name], now[name]); diff != "" {
				t.Fatalf("%s: domain of %s (-before +now):\n%s", when, name, diff)
			}
		}
		for _, n := range hosts[0].nodes() {
			if _, was := before[n.Name]; was {
				hosts[0].wait(20*time.Second, when+": the BMC of "+n.Name+" to say on", func() bool {
					out, err := hosts[0].ipmi(n, "power", "status")
					return err == nil && out == "Chassis Power is on\n"
				})
			}
		}
		t.Logf("%s: %d guests as they were", when, len(before))
	}
	check("before")
	began := time.Now()
	for i, h := range hosts {
		h.restartWith(bin)
		check(fmt.Sprintf("%d of 3 hosts upgraded", i+1))
		if i < 2 { // some are new and some are old: both write, and each understands the other
			for _, who := range []*host{hosts[0], hosts[2]} {
				name := fmt.Sprintf("m%d%s", i, who.Name())
				who.tenks("apply", "-f", who.write(name+".yml", cluster(name)), "--wait=2m")
			}
		}
	}
	for _, h := range hosts {
		v, err := h.api.Version(t.Context())
		if err != nil || v == "old" {
			t.Errorf("%s: version %q, %v", h.Name(), v, err)
		}
	}
	if nodes := hosts[1].nodes(); len(nodes) != 3+4*3 {
		t.Errorf("%d nodes, want 15", len(nodes))
	}
	for i, h := range hosts {
		h.restartWith(bin)
		check(fmt.Sprintf("%d of 3 hosts restarted", i+1))
	}
	t.Logf("two times around three hosts in %s", time.Since(began).Round(time.Second))
}
