package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
	"tenks/raftfsm"
)

// meshPort and gossipPort are the usual ones: each agent has an address of its own.
const (
	meshPort   = 7740
	gossipPort = 7741
)

// mesh is agents that follow the log, and peers that do not.
type mesh struct {
	testing.TB
	dir     string
	agents  []*agent
	peers   []*peer
	traffic traffic
	token   pki.Token
}

// agent is a process.
type agent struct {
	*client.Client
	m                  *mesh
	name, dir, address string
	id                 string
	process            *exec.Cmd
	stdin              io.Closer
}

var addresses atomic.Uint32

// newMesh is a mesh of so many agents, all of which follow the log.
func newMesh(tb testing.TB, agents int) *mesh {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "tks") //nolint:usetesting // the path of TempDir is too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	m := &mesh{TB: tb, dir: dir}
	tb.Cleanup(func() {
		if tb.Failed() {
			fmt.Fprintln(os.Stderr, "kept:", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	first := m.newAgent("a1")
	if err := daemon.Found(first.meshDir(), "scale", "a1"); err != nil {
		tb.Fatal(err)
	}
	first.start()
	made, err := first.CreateToken(tb.Context(), api.TokenRequest{Uses: -1})
	if err != nil {
		tb.Fatal(err)
	}
	if m.token, err = pki.ParseToken(made.Token); err != nil {
		tb.Fatal(err)
	}
	for i := 2; i <= agents; i++ {
		a := m.newAgent(fmt.Sprintf("a%d", i))
		err := cluster.Join(tb.Context(), cluster.JoinConfig{Dir: a.meshDir(), Token: m.token, Now: time.Now, Level: raftfsm.Level,
			Peer: cluster.Peer{Name: a.name, Address: a.at(meshPort), Gossip: a.at(gossipPort), Zone: "z" + a.name}})
		if err != nil {
			tb.Fatal(err)
		}
		a.start()
	}
	m.eventually(2*time.Minute, "all agents following the log", func() bool {
		raft, err := first.Raft(tb.Context())
		return err == nil && len(raft) == agents
	})
	return m
}

func (m *mesh) newAgent(name string) *agent {
	m.Helper()
	n := addresses.Add(1)
	a := &agent{m: m, name: name, dir: filepath.Join(m.dir, name),
		address: fmt.Sprintf("127.%d.%d.%d", 192+os.Getpid()/256%60, os.Getpid()%256, n)}
	a.Client = client.New(daemon.PathsOf(a.dir).Socket)
	if err := os.Mkdir(a.dir, 0o700); err != nil {
		m.Fatal(err)
	}
	text := fmt.Sprintf("name: %s\ndata_dir: %s\nadvertise: %s\nzone: z%s\ndrivers: {}\nmesh: {port: %d, gossip_port: %d}\n",
		name, a.dir, a.address, name, meshPort, gossipPort)
	if err := os.WriteFile(a.file(), []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
	m.agents = append(m.agents, a)
	m.Cleanup(a.kill)
	return a
}

func (a *agent) file() string       { return filepath.Join(a.dir, "agent.yml") }
func (a *agent) meshDir() string    { return daemon.PathsOf(a.dir).Mesh }
func (a *agent) at(port int) string { return net.JoinHostPort(a.address, strconv.Itoa(port)) }

// start runs the agent and waits until it answers for the mesh.
func (a *agent) start() {
	a.m.Helper()
	name := filepath.Join(a.dir, "agent.log")
	if to := os.Getenv("TENKS_SCALE_PROFILE"); to != "" {
		name = filepath.Join(to, a.name+".log") // it stays
	}
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.m.Fatal(err)
	}
	defer log.Close()
	// Light peers would have processors of their own: they take what agents leave.
	a.process = exec.Command("nice", "-n", "-10", os.Args[0]) //nolint:gosec // this program
	a.process.Env = append(os.Environ(), agentVariable+"="+a.file())
	a.process.Stderr = log
	if a.stdin, err = a.process.StdinPipe(); err != nil {
		a.m.Fatal(err)
	}
	if err := a.process.Start(); err != nil {
		a.m.Fatal(err)
	}
	a.m.eventually(time.Minute, a.name+" ready", func() bool { return a.Ready(a.m.Context()) == nil })
	if a.id, err = cluster.ID(a.meshDir()); err != nil {
		a.m.Fatal(err)
	}
}

// kill ends the process at once, as a crash does.
func (a *agent) kill() {
	if a.process == nil {
		return
	}
	_ = a.process.Process.Kill()
	_ = a.process.Wait()
	a.process = nil
}

// leader is the agent that leads.
func (m *mesh) leader() *agent {
	m.Helper()
	var found *agent
	m.eventually(time.Minute, "a leader", func() bool {
		for _, a := range m.agents {
			if a.process == nil {
				continue
			}
			raft, err := a.Raft(m.Context())
			if err != nil {
				continue
			}
			if i := slices.IndexFunc(raft, func(r api.RaftPeer) bool { return r.Leader && r.ID == a.id }); i >= 0 {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits for a condition.
func (m *mesh) eventually(limit time.Duration, what string, is func() bool) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), limit)
	defer cancel()
	for !is() {
		if ctx.Err() != nil {
			m.Fatalf("not %s after %s", what, limit)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// cpu is the time that the process has had of processors.
func (a *agent) cpu() time.Duration {
	a.m.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.process.Process.Pid))
	if err != nil {
		a.m.Fatal(err)
	}
	// proc_pid_stat(5): utime and stime are fields 14 and 15; the name in field 2 may hold
	// spaces and is in parentheses.
	return ticks(a.m, strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))[11:13])
}

// ticks adds up times of 1/100 s.
func ticks(tb testing.TB, fields []string) time.Duration {
	tb.Helper()
	var sum time.Duration
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// clock is the time that processors have spent on each.
type clock struct {
	at                     time.Time
	leader, agents, others time.Duration
}

// clock reads it; others is all that this process and the agents are not.
func (m *mesh) clock(leader *agent) clock {
	m.Helper()
	c := clock{at: time.Now(), leader: leader.cpu()}
	for _, a := range m.agents {
		if a.process != nil {
			c.agents += a.cpu()
		}
	}
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		m.Fatal(err)
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		m.Fatal(err)
	}
	// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
	f := strings.Fields(string(b[:bytes.IndexByte(b, '\n')]))
	busy := ticks(m, slices.Concat(f[1:4], f[6:9]))
	c.others = busy - c.agents - time.Duration(own.Utime.Nano()+own.Stime.Nano())
	return c
}

// since says what was spent from then to c.
func (c clock) since(then clock) string {
	took := c.at.Sub(then.at)
	return fmt.Sprintf("%.2f s of the leader's processors, %.2f s of all agents'; others kept %.1f of %d processors busy",
		(c.leader - then.leader).Seconds(), (c.agents - then.agents).Seconds(), max(0, (c.others-then.others).Seconds()/took.Seconds()), runtime.NumCPU())
}

// rss is the process' resident memory in bytes.
func (a *agent) rss() float64 {
	a.m.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.Process.Pid))
	if err != nil {
		a.m.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				a.m.Fatal(err)
			}
			return float64(kib) * 1024
		}
	}
	a.m.Fatal("no VmRSS")
	return 0
}

// profile writes a CPU profile of the next while into the directory that
// TENKS_SCALE_PROFILE names, if it names one, and returns what waits for it.
func (a *agent) profile(name string, long time.Duration) (wait func()) {
	to := os.Getenv("TENKS_SCALE_PROFILE")
	if to == "" {
		return func() {}
	}
	done := make(chan struct{})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", profileSocket(a.dir))
	}
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	get := func(what, file string) {
		resp, err := c.Get("http://agent/debug/pprof/" + what)
		if err != nil {
			a.m.Log(err)
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, os.WriteFile(filepath.Join(to, file), b, 0o600)); err != nil {
			a.m.Log(err)
		}
	}
	go func() {
		defer close(done)
		get(fmt.Sprintf("profile?seconds=%d", max(1, int(long.Seconds()))), name+".cpu")
		get("heap", name+".heap")
	}()
	return func() { <-done }
}
