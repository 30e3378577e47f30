package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/recovery"
)

// runbook returns the commands of a marked block of docs/recovery.md, each with the
// host that it is run on.
func runbook(t testing.TB, name string) (lines [][2]string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "<!-- run: "+name+" -->\n```console\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("docs/recovery.md has no block %q", name)
	}
	for _, line := range strings.Split(block, "\n") {
		on, command, ok := strings.Cut(line, "# ")
		if !ok {
			t.Fatalf("docs/recovery.md, block %q: %q", name, line)
		}
		lines = append(lines, [2]string{on, command})
	}
	return lines
}

// follow runs a block of the runbook. The host of the lab takes hv1's place.
func (h *host) follow(name string) {
	h.t.Helper()
	for _, line := range runbook(h.t, name) {
		switch f := strings.Fields(line[1]); {
		case line[1] == "systemctl stop tenks":
			h.endAgent()
		case line[1] == "systemctl start tenks":
			h.startAgent()
		case f[0] == "tenks":
			began := time.Now()
			for i := range f { // the lab's hosts share /root
				f[i] = strings.ReplaceAll(f[i], "/root", h.Dir())
			}
			out := h.tenks(f[1:]...)
			h.t.Logf("%s# %s (%s)\n%s", h.Name(), line[1], time.Since(began).Round(10*time.Millisecond), out)
		default:
			h.t.Fatalf("docs/recovery.md: %q is no command that this test knows", line[1])
		}
	}
}

// endAgent stops the agent as systemd does.
func (h *host) endAgent() { h.signalAgent(syscall.SIGTERM) }

func (h *host) signalAgent(sig syscall.Signal) {
	h.t.Helper()
	pid := daemon.PID(h.Path(dataDir))
	if pid == 0 {
		return // it was stopped before
	}
	h.run("kill", fmt.Sprintf("-%d", sig), fmt.Sprint(pid))
	if h.agent != nil {
		_ = h.agent.Wait() // the signal is how it ended
	}
	h.wait(30*time.Second, "the agent to end", func() bool { return daemon.PID(h.Path(dataDir)) == 0 })
}

func (h *host) report() recovery.Report {
	h.t.Helper()
	var r recovery.Report
	out := h.tenks("recover", "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		h.t.Fatalf("recover status: %v\n%s", err, out)
	}
	return r
}

const threeNodes = `cluster: demo
node_types:
  small:
    memory_mb: 128
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: bios
specs:
  - {type: small, count: %d, node_name_prefix: n, placement: {spread: zone}}
`

func TestIntegrationAMeshIsRecoveredByTheRunbookWithoutTouchingItsGuests(t *testing.T) {
	besideOthers(t)
	_, hosts := newMesh(t, 3)
	survivor, others := hosts[0], hosts[1:]
	survivor.tenks("apply", "-f", survivor.write("demo.yml", fmt.Sprintf(threeNodes, 3)), "--wait=3m")
	on := map[string]api.Node{}
	for _, n := range survivor.nodes() {
		survivor.tenks("node", "power", "on", n.Name)
		on[n.Hypervisor] = n
	}
	domains := func() (all []map[string]string) {
		for _, h := range hosts {
			all = append(all, h.domains())
		}
		return all
	}
	before := domains()
	t.Logf("domains: %v", before)
	survivor.follow("save")

	for _, h := range others {
		h.signalAgent(syscall.SIGKILL)
	}
	lost := time.Now()
	survivor.wait(30*time.Second, "status to say that nobody leads", func() bool {
		st, err := survivor.api.Status(t.Context())
		return err == nil && st.Leader == "" && !st.Healthy
	})
	t.Logf("tenks status, %s after the majority was lost:\n%s", time.Since(lost).Round(time.Second), survivor.tenks("status"))
	began := time.Now()
	out, err := survivor.tryTenks("apply", "-f", survivor.write("more.yml", fmt.Sprintf(threeNodes, 4)))
	if took := time.Since(began); err == nil || took > 30*time.Second || !strings.Contains(out, "leader") {
		t.Errorf("an apply without a majority, after %s: %v: %s", took, err, out)
	} else {
		t.Logf("apply, after %s: %s", took.Round(time.Millisecond), out)
	}
	node := on[survivor.Name()]
	if out, err := survivor.ipmi(node, "power", "status"); err != nil || out != "Chassis Power is on\n" {
		t.Errorf("the survivor's BMC: %v: %s", err, out)
	}

	survivor.follow("majority")
	survivor.wait(20*time.Second, "the survivor to lead", func() bool {
		st, err := survivor.api.Status(t.Context())
		return err == nil && st.Leader == survivor.Name()
	})
	t.Logf("recovered %s after the loss", time.Since(lost).Round(time.Second))
	survivor.tenks("apply", "-f", survivor.write("demo.yml", strings.Replace(fmt.Sprintf(threeNodes, 3), "demo", "new", 1)))
	if diff := cmp.Diff(before[0], survivor.domains()); diff != "" && survivor.domains()[node.Name] != before[0][node.Name] {
		t.Errorf("the survivor's guests (-before +now):\n%s", diff)
	}

	for _, h := range others {
		h.spawnAgent()
	}
	for _, h := range others {
		h.inGeneration(2)
		if _, err := os.Stat(h.Path(filepath.Join(dataDir, "mesh", "raft.gen1", "raft.db"))); err != nil {
			t.Errorf("%s did not keep its old log: %v", h.Name(), err)
		}
	}
	survivor.wait(60*time.Second, "three voters", func() bool {
		st, err := survivor.api.Status(t.Context())
		return err == nil && len(st.Voters) == 3
	})
	survivor.sameDomains(hosts, before)
	for _, h := range hosts {
		if out, err := h.ipmi(on[h.Name()], "power", "status"); err != nil || out != "Chassis Power is on\n" {
			t.Errorf("%s: BMC: %v: %s", h.Name(), err, out)
		}
	}
	t.Logf("tenks recover status on %s:\n%s", others[0].Name(), others[0].tenks("recover", "status"))

	// A backup from before all that: everybody goes back to it, and its guests run on.
	survivor.follow("restore")
	for _, h := range hosts {
		h.inGeneration(3)
		h.wait(30*time.Second, "the backup's clusters on "+h.Name(), func() bool {
			clusters, err := h.api.Clusters(t.Context())
			return err == nil && len(clusters) == 1 && clusters[0].Name == "demo"
		})
	}
	survivor.sameDomains(hosts, before)

	// Two operators, who do not know of each other, on hosts that follow the log again.
	leaderOf(t, hosts)
	for _, h := range hosts {
		h.endAgent()
	}
	for _, h := range hosts[:2] { // before either agent runs: the second is refused once it hears of the first
		t.Logf("%s: %s", h.Name(), h.tenks("recover", "reset", "--yes"))
	}
	for _, h := range hosts[:2] {
		h.spawnAgent()
	}
	survivor.wait(30*time.Second, "the two to notice", func() bool {
		return strings.Contains(survivor.report().Advice, "two recoveries: decide between this host and "+hosts[1].Name())
	})
	survivor.follow("twice")
	hosts[2].spawnAgent()
	for _, h := range hosts {
		h.inGeneration(5)
	}
	survivor.sameDomains(hosts, before)
}

// inGeneration waits until the host is in a generation of the mesh and knows its leader.
func (h *host) inGeneration(n uint64) {
	h.t.Helper()
	h.wait(60*time.Second, fmt.Sprintf("%s in generation %d", h.Name(), n), func() bool {
		st, err := h.api.Status(h.t.Context())
		return err == nil && st.Leader != "" && h.report().Generation == n
	})
}

func TestIntegrationAMeshWhoseLogsAreGoneIsRebuiltOfWhatItsHostsKnow(t *testing.T) {
	besideOthers(t)
	_, hosts := newMesh(t, 3)
	first := hosts[0]
	first.tenks("apply", "-f", first.write("demo.yml", fmt.Sprintf(threeNodes, 3)), "--wait=3m")
	first.follow("save")
	before, nodes := []map[string]string{}, map[string]api.Node{}
	for _, n := range first.nodes() {
		first.tenks("node", "power", "on", n.Name)
		nodes[n.Name] = n
	}
	parts := filepath.Join(first.Dir(), "parts")
	if err := os.MkdirAll(parts, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, h := range hosts {
		before = append(before, h.domains())
		h.endAgent()
		for _, gone := range []string{"mesh/raft", "backups"} {
			if err := os.RemoveAll(h.Path(filepath.Join(dataDir, gone))); err != nil {
				t.Fatal(err)
			}
		}
		if i > 0 {
			b, err := os.ReadFile(h.Path(dataDir + "/part.tnk"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(parts, h.Name()+".tnk"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out, err := first.tryTenks("recover", "reset", "--yes"); err == nil {
		t.Errorf("a host without a log was reset: %s", out)
	}
	first.follow("rebuild")
	for _, h := range hosts[1:] {
		token := strings.Split(first.tenks("token", "create"), "\n")[0]
		t.Logf("join on %s: %s", h.Name(), h.tenks("join", token))
	}
	first.wait(60*time.Second, "three voters", func() bool {
		st, err := first.api.Status(t.Context())
		return err == nil && len(st.Voters) == 3
	})
	for _, n := range first.nodes() {
		was := nodes[n.Name]
		if n.UUID != was.UUID || n.Hypervisor != was.Hypervisor || n.BMC != was.BMC {
			t.Errorf("node %+v, was %+v", n, was)
		}
		delete(nodes, n.Name)
		if out, err := first.ipmi(was, "power", "status"); err != nil || out != "Chassis Power is on\n" {
			t.Errorf("BMC of %s: %v: %s", n.Name, err, out)
		}
	}
	if len(nodes) > 0 {
		t.Errorf("these nodes are gone: %v", nodes)
	}
	t.Logf("plan:\n%s", first.tenks("plan", "-f", first.write("demo.yml", fmt.Sprintf(threeNodes, 3))))
	first.sameDomains(hosts, before)
}

// sameDomains fails unless every domain is the one that it was.
func (h *host) sameDomains(hosts []*host, before []map[string]string) {
	h.t.Helper()
	for i, on := range hosts {
		now := on.domains()
		for name, id := range before[i] {
			if id != "-" && now[name] != id || now[name] == "" {
				h.t.Errorf("%s: domain %s had ID %s and has %q", on.Name(), name, id, now[name])
			}
		}
	}
}
