package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/raftfsm/state"
)

// benchCluster is count nodes as the bare loop makes them.
func benchCluster(count int) string {
	return fmt.Sprintf(`cluster: bench
node_types:
  small: {memory_mb: 128, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], boot_mode: bios}
specs:
  - {type: small, count: %d}
`, count)
}

const benchAgent = `name: hv1
advertise: 127.0.0.1
physnets: {physnet1: {}}
overcommit: {vcpus: 1000, memory: 100, disk: 100}
`

// benchRounds is how often each side is timed: one round of 20 nodes takes 60 to 90 ms,
// and two busy cores make that vary by half.
const benchRounds = 5

// BenchmarkCreate times the creation of N nodes (volume, veth, bridge port, domain,
// BMC) on a host that has none, so that pool and bridge are made, too, from the moment that the log has them until the
// last one is ready, beside the same number made by a bare loop over libvirt and netlink with the same
// parallelism, in turn: with volumes made through libvirt ("ratio"), and as files
// ("ratio-files"). "ratio-command" is the whole of "tenks apply --wait". Then a
// second apply of the same file, and the agent's memory.
func BenchmarkCreate(b *testing.B) {
	for _, count := range []int{20, 100} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) { benchmarkCreate(b, count) })
	}
}

func benchmarkCreate(b *testing.B, count int) {
	h := newHost(b)
	h.init(benchAgent)
	file := h.write("bench.yml", benchCluster(count))
	var ours, command, bare, files, noop time.Duration
	for b.Loop() {
		for range benchRounds {
			began := time.Now()
			h.tenks("apply", "-f", file, "--wait=5m")
			command += time.Since(began)
			ours += h.creation()
			writes := h.metric("tenks_host_writes_total")
			began = time.Now()
			h.tenks("apply", "-f", file)
			noop += time.Since(began)
			if got := h.metric("tenks_host_writes_total"); got != writes {
				b.Errorf("a second apply wrote: %s became %s", writes, got)
			}
			b.ReportMetric(float64(h.rss())/1e6, "agent-MB")
			h.tenks("destroy", "bench", "--wait=5m")
			// An agent that runs beside it would look at every link that the loop makes.
			h.killAgent()
			bare += h.bare(count, true)
			files += h.bare(count, false)
			h.startAgent()
		}
	}
	n := float64(b.N * benchRounds)
	b.ReportMetric(float64(count)*n/ours.Seconds(), "nodes/s")
	b.ReportMetric(float64(count)*n/bare.Seconds(), "bare-nodes/s")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "ratio")
	b.ReportMetric(command.Seconds()/bare.Seconds(), "ratio-command")
	b.ReportMetric(ours.Seconds()/files.Seconds(), "ratio-files")
	b.ReportMetric(noop.Seconds()/n, "noop-s")
	b.ReportMetric(0, "ns/op")
}

// creation returns how long the last apply took from its log entry to the last node
// that became ready.
func (h *host) creation() time.Duration {
	h.t.Helper()
	var from, to time.Time
	err := h.api.Events(h.t.Context(), 0, client.Once, func(e api.Event) {
		at, err := time.Parse(time.RFC3339, e.Time)
		switch {
		case err != nil:
			h.t.Fatal(err)
		case e.Type == state.EventClusterApplied:
			from = at
		case e.Type == state.EventNodeReady:
			to = at
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return to.Sub(from)
}

// bare runs the bare loop in the host.
func (h *host) bare(count int, api bool) time.Duration {
	h.t.Helper()
	dir := filepath.Join(h.Dir(), "bare")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	out := h.run(filepath.Join(bin, "bare"), "-n", strconv.Itoa(count), "-dir", dir, fmt.Sprintf("-volume-api=%t", api))
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}

// rss returns the agent's resident memory in bytes; its driver is another process.
func (h *host) rss() int {
	h.t.Helper()
	pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/status")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				h.t.Fatal(err)
			}
			return kib << 10
		}
	}
	h.t.Fatal("no VmRSS")
	return 0
}

// What the Ansible tool of the same name took on a machine like this one, with a Linux bridge
// and without Ironic, in seconds: so long for a run, and so long for each node of it. Adding one
// node and tearing down were seen at 20 nodes only.
var ansible = struct{ deploy, deployNode, noop, noopNode, addOne, teardown float64 }{17.8, 3.28, 15.1, 4.13, 95, 84}

// BenchmarkLife times what people do with a cluster of 40 nodes, each by the whole command:
// "deploy" it, apply it again ("noop"), "add" one node, and take it down ("teardown"); then the
// same beside what the Ansible tool took ("…-times-ansible"). For the last two that is what it took with 20.
func BenchmarkLife(b *testing.B) {
	const count = 40
	h := newHost(b)
	h.init(benchAgent)
	var deploy, noop, add, teardown time.Duration
	timed := func(d *time.Duration, args ...string) {
		began := time.Now()
		h.tenks(args...)
		*d += time.Since(began)
	}
	rounds := 0
	for b.Loop() {
		for range benchRounds {
			rounds++
			file := h.write("bench.yml", benchCluster(count))
			timed(&deploy, "apply", "-f", file, "--wait=5m")
			timed(&noop, "apply", "-f", file, "--wait=5m")
			h.write("bench.yml", benchCluster(count+1))
			timed(&add, "apply", "-f", file, "--wait=5m")
			timed(&teardown, "destroy", "bench", "--wait=5m")
		}
	}
	for _, r := range []struct {
		name    string
		took    time.Duration
		ansible float64
	}{
		{"deploy", deploy, ansible.deploy + count*ansible.deployNode},
		{"noop", noop, ansible.noop + count*ansible.noopNode},
		{"add", add, ansible.addOne},
		{"teardown", teardown, ansible.teardown},
	} {
		seconds := r.took.Seconds() / float64(rounds)
		b.ReportMetric(seconds, r.name+"-s")
		b.ReportMetric(r.ansible/seconds, r.name+"-times-ansible")
	}
	b.ReportMetric(0, "ns/op")
}
