package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

const dataDir = "/var/lib/tenks"

// labDir is how names of labs' directories begin.
const labDir = "tke2e"

// host is a lab host with tenks on it.
type host struct {
	*lab.Host
	t     testing.TB
	api   *client.Client
	agent *exec.Cmd
	log   string
	// programs is the directory of tenks and its driver, if it is not bin.
	programs string
	// physnets are flags of init and join; none: two isolated ones.
	physnets []string
}

// program is a program of the host's version of tenks.
func (h *host) program(name string) string {
	if h.programs != "" {
		return filepath.Join(h.programs, name)
	}
	return filepath.Join(bin, name)
}

// besideOthers lets a test run at the same time as others that call it, once all that do
// not are done: those that take long, mostly wait, and measure no time.
func besideOthers(t *testing.T) { t.Parallel() }

// newHost makes a lab of one host with libvirtd running.
func newHost(t testing.TB) *host {
	t.Helper()
	h := newBareHost(t)
	if err := h.StartLibvirtd(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// newLab makes a lab without hosts, and a directory for the agents' logs.
func newLab(t testing.TB) (l *lab.Lab, dir string) {
	t.Helper()
	lab.Require(t)
	// Short, unlike TempDir's: the path of a socket within must fit in 108 bytes (unix(7)).
	dir, err := os.MkdirTemp("", labDir) //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err = lab.New(t.Context(), filepath.Join(dir, "lab"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("lab: %v", err)
		}
	})
	return l, dir
}

// newBareHost makes a lab of one host on which nothing runs.
func newBareHost(t testing.TB) *host {
	t.Helper()
	l, dir := newLab(t)
	lh, err := l.AddHost(t.Context(), "hv1")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(dir, "agent.log")}
	t.Cleanup(h.tellLog)
	return h
}

// tellLog logs the end of what the agent wrote, where the test failed. Where TENKS_LOGS
// names a directory, all of it is copied there, with the stack of each goroutine.
func (h *host) tellLog() {
	if !h.t.Failed() {
		return
	}
	h.t.Logf("end of %s's log:\n%s", h.Name(), h.logTail())
	keep := os.Getenv("TENKS_LOGS")
	if keep == "" {
		return
	}
	if pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock")); err == nil && len(pid) > 0 {
		_, _ = h.try("kill", "-QUIT", strings.TrimSpace(string(pid))) // it may have ended
		pause(context.WithoutCancel(h.t.Context()), time.Second)
	}
	keepLog(h.t, h.Name(), h.logs())
}

// keepLog copies a log to the directory that TENKS_LOGS names.
func keepLog(t testing.TB, name string, log []byte) {
	name = strings.ReplaceAll(t.Name(), "/", "_") + "-" + name + ".log"
	if err := os.WriteFile(filepath.Join(os.Getenv("TENKS_LOGS"), name), log, 0o600); err != nil {
		t.Log(err)
	}
}

func (h *host) logs() []byte {
	var all []byte
	for _, path := range []string{h.log, h.Path(dataDir + "/agent.log")} {
		b, err := os.ReadFile(path)
		if err == nil {
			all = append(all, b...)
		}
	}
	return all
}

func (h *host) logTail() string {
	lines := strings.Split(string(h.logs()), "\n")
	return strings.Join(lines[max(0, len(lines)-150):], "\n")
}

// try runs a program in the host and returns what it printed on both outputs.
func (h *host) try(name string, args ...string) (string, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), 5*time.Minute)
	defer cancel()
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// run is try for what must succeed.
func (h *host) run(name string, args ...string) string {
	h.t.Helper()
	out, err := h.try(name, args...)
	if err != nil {
		h.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (h *host) tenks(args ...string) string {
	h.t.Helper()
	return h.run(h.program("tenks"), args...)
}

func (h *host) tryTenks(args ...string) (string, error) {
	h.t.Helper()
	return h.try(h.program("tenks"), args...)
}

// write puts a file where the host's programs find it, and returns its path.
func (h *host) write(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.Dir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// init makes a mesh of one and starts its agent under the test's eyes.
func (h *host) init(agentYAML string) {
	h.t.Helper()
	if err := os.WriteFile(h.Path(dataDir+"/agent.yml"), []byte(agentYAML), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.tenks("init", "--foreground=false")
	// The agent that init started is replaced by one whose process we hold.
	h.stopDetached()
	h.startAgent()
}

func (h *host) stopDetached() {
	h.t.Helper()
	pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.run("kill", strings.TrimSpace(string(pid)))
	// It no longer answers before it gives up its lock, which the next one needs.
	h.wait(20*time.Second, "the detached agent to end", func() bool { return ended(strings.TrimSpace(string(pid))) })
}

// ended says whether a process is gone, or has exited and is only not reaped yet.
func ended(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ") // proc(5): the state is behind the name
	return err != nil || strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// startAgent starts the agent and waits until it answers.
func (h *host) startAgent() {
	h.t.Helper()
	h.spawnAgent()
	h.wait(30*time.Second, "the agent to answer", func() bool { return h.api.Ready(h.t.Context()) == nil })
}

// spawnAgent starts the agent.
func (h *host) spawnAgent() {
	h.t.Helper()
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	h.agent = h.Command(context.WithoutCancel(h.t.Context()), h.program("tenks"), "agent", "--config", dataDir+"/agent.yml")
	h.agent.Stdout, h.agent.Stderr = log, log
	if err := h.agent.Start(); err != nil {
		h.t.Fatal(err)
	}
	agent := h.agent
	h.t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
}

// killAgent ends the agent as a crash would. Command enters the host by a program
// that execs: the process is the agent itself.
func (h *host) killAgent() {
	h.t.Helper()
	pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err == nil && len(pid) > 0 {
		_, _ = h.try("kill", "-9", strings.TrimSpace(string(pid))) // it may have ended
	}
	_ = h.agent.Process.Kill()
	_ = h.agent.Wait()
}

// wait polls until a condition holds.
func (h *host) wait(limit time.Duration, what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %s for %s", limit, what)
		}
		pause(h.t.Context(), 20*time.Millisecond)
	}
}

// pause is between two looks at a condition.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// nodes returns all nodes, with their passwords.
func (h *host) nodes() []api.Node {
	h.t.Helper()
	nodes, _, err := h.api.Nodes(h.t.Context(), client.NodeQuery{Secrets: api.ShowSecrets})
	if err != nil {
		h.t.Fatal(err)
	}
	return nodes
}

// currentNodes is nodes with all that was acknowledged before.
func (h *host) currentNodes() []api.Node {
	h.t.Helper()
	c := client.New(h.Path(dataDir + "/api.sock"))
	c.Consistent = true
	nodes, _, err := c.Nodes(h.t.Context(), client.NodeQuery{Secrets: api.ShowSecrets})
	if err != nil {
		h.t.Fatal(err)
	}
	return nodes
}

func (h *host) node(name string) api.Node {
	h.t.Helper()
	n, err := h.api.Node(h.t.Context(), name, api.ShowSecrets)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// waitReady waits until there are so many nodes, all of them ready and enrolled if
// they are to be.
func (h *host) waitReady(count int, limit time.Duration) {
	h.t.Helper()
	var last []api.Node
	deadline := time.Now().Add(limit)
	for {
		nodes, _, err := h.api.Nodes(h.t.Context(), client.NodeQuery{})
		done := 0
		for _, n := range nodes {
			if n.Phase == "enrolled" || n.Phase == "ready" && !n.Enrols {
				done++
			}
		}
		if err == nil && done == count && len(nodes) == count {
			return
		}
		if err == nil {
			last = nodes
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %s for %d ready nodes; error %v, nodes: %s", limit, count, err, phases(last))
		}
		pause(h.t.Context(), 50*time.Millisecond)
	}
}

func phases(nodes []api.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, fmt.Sprintf("%s %s %q", n.Name, n.Phase, n.Reason))
	}
	return strings.Join(out, ", ")
}

// ipmi runs ipmitool against a node's BMC.
func (h *host) ipmi(n api.Node, args ...string) (string, error) {
	h.t.Helper()
	all := append([]string{"-I", "lanplus", "-H", n.BMC.Address, "-p", fmt.Sprint(n.BMC.Port), "-U", n.BMC.Username,
		"-P", n.BMC.Password}, args...)
	return h.try("ipmitool", all...)
}

// domains returns the names of the host's domains and their IDs; -1: off.
func (h *host) domains() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for _, line := range strings.Split(h.run("virsh", "-q", "list", "--all"), "\n") {
		if f := strings.Fields(line); len(f) >= 3 {
			out[f[1]] = f[0]
		}
	}
	return out
}

// traces is everything on the host that tenks could leave behind.
type traces struct{ Domains, Links, Pools, Files, Processes []string }

func (h *host) traces() traces {
	h.t.Helper()
	lines := func(name string, args ...string) []string {
		out := strings.Split(strings.TrimSpace(h.run(name, args...)), "\n")
		slices.Sort(out)
		return slices.DeleteFunc(out, func(s string) bool { return strings.TrimSpace(s) == "" })
	}
	var tr traces
	tr.Domains = lines("virsh", "-q", "list", "--all", "--name")
	tr.Pools = lines("virsh", "-q", "pool-list", "--all", "--name")
	var links []struct{ Ifname string }
	if err := json.Unmarshal([]byte(h.run("ip", "-j", "link")), &links); err != nil {
		h.t.Fatal(err)
	}
	for _, l := range links {
		tr.Links = append(tr.Links, l.Ifname)
	}
	tr.Files = lines("find", dataDir, "/var/lib/libvirt", "/etc/libvirt", "-newer", "/proc/1", "-type", "f", "-not", "-path", "*/cache/*")
	for _, p := range h.processes() {
		if strings.Contains(p, "tenks") || strings.Contains(p, "qemu-system") {
			tr.Processes = append(tr.Processes, p)
		}
	}
	slices.Sort(tr.Processes)
	return tr
}

// processes returns the command lines of the programs in the host's network, by
// process ID.
func (h *host) processes() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	pids, err := exec.CommandContext(h.t.Context(), "ip", "netns", "pids", h.Netns()).Output()
	if err != nil {
		h.t.Fatalf("ip netns pids: %v", err)
	}
	for _, pid := range strings.Fields(string(pids)) {
		b, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err == nil && len(b) > 0 {
			out[pid] = string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
	return out
}

// killProgram kills the host's processes that run a program.
func (h *host) killProgram(path string) {
	h.t.Helper()
	for pid, line := range h.processes() {
		if strings.HasPrefix(line, path+" ") {
			_, _ = h.try("kill", "-9", pid) // it may have ended
		}
	}
}
