package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/config"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// memberlist's last probe ends an interval after its list: nobody can wait for it.
func TestMain(m *testing.M) {
	if pretend() {
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"))
}

// newDir makes a directory whose path is short enough for a socket.
func newDir(t *testing.T) string {
	t.Helper()
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "tkd") //nolint:usetesting // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newMesh makes a mesh of one and returns the configuration of its agent.
func newMesh(t *testing.T) config.Agent {
	t.Helper()
	c := testAgent(t, newDir(t))
	if err := Found(PathsOf(c.DataDir).Mesh, "lab", "hv1"); err != nil {
		t.Fatal(err)
	}
	return c
}

// testAgent is the configuration of an agent with the fake driver, at an address of
// its own.
func testAgent(t *testing.T, dir string) config.Agent {
	t.Helper()
	c := config.DefaultAgent()
	c.DataDir, c.Name, c.Advertise = dir, "hv1", freshAddress()
	c.BMC.Address = c.Advertise
	c.Drivers = map[string]map[string]string{"fake": {"delay": "2ms"}}
	return c
}

var addresses atomic.Uint32

// freshAddress returns a loopback address of this process's own.
func freshAddress() string {
	return fmt.Sprintf("127.%d.%d.%d", 128+os.Getpid()/256%64, os.Getpid()%256, addresses.Add(1))
}

func options(t *testing.T, c config.Agent) Options {
	return Options{Config: c, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		LibvirtDriver: func(string) (string, error) { return "", errors.New("no such program") }}
}

// running is an agent in this process.
type running struct {
	*client.Client
	t    *testing.T
	stop context.CancelFunc
	done chan error
	// config is what it was started with.
	config config.Agent
}

// start runs an agent until the test ends or stopped is called.
func start(t *testing.T, c config.Agent) *running {
	t.Helper()
	r := launch(t, c)
	r.eventually("ready", func() bool { return r.running() && r.Ready(t.Context()) == nil })
	return r
}

// running reports true; an agent that has ended ends the test.
func (r *running) running() bool {
	select {
	case err := <-r.done:
		r.t.Fatalf("the agent ended: %v", err)
	default:
	}
	return true
}

// launch starts an agent and does not wait for it.
func launch(t *testing.T, c config.Agent) *running {
	t.Helper()
	return launchAs(t, options(t, c))
}

// launchAs is launch with options.
func launchAs(t *testing.T, opt Options) *running {
	t.Helper()
	c := opt.Config
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Client: client.New(PathsOf(c.DataDir).Socket), t: t, stop: cancel, done: make(chan error, 1), config: c}
	ended := make(chan struct{})
	go func() { r.done <- Run(ctx, opt); close(ended) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Error("the agent does not end")
		}
	})
	return r
}

// stopped asks the agent to stop, and says how long that took.
func (r *running) stopped() time.Duration {
	r.t.Helper()
	begin := time.Now()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil && !errors.Is(err, context.Canceled) {
			r.t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("the agent does not stop")
	}
	return time.Since(begin)
}

func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	r.eventuallyIn(20*time.Second, what, ok)
}

func (r *running) eventuallyIn(limit time.Duration, what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(limit); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not %s after %s", what, limit)
		}
	}
}

const twoNodes = `cluster: demo
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake}}
specs: [{type: small, count: 2}]
`

// apply applies a cluster file and waits until all its nodes are ready.
func (r *running) apply(file string) []api.Node {
	r.t.Helper()
	r.eventually("offering the driver", func() bool {
		peers, err := r.Peers(r.t.Context())
		return err == nil && len(peers) == 1 && slices.Contains(peers[0].Drivers, "fake")
	})
	if _, err := r.Apply(r.t.Context(), api.ApplyRequest{File: file}); err != nil {
		r.t.Fatal(err)
	}
	return r.ready()
}

func (r *running) ready() (nodes []api.Node) {
	r.t.Helper()
	r.eventually("ready", func() bool {
		var err error
		nodes, _, err = r.Nodes(r.t.Context(), client.NodeQuery{Secrets: api.ShowSecrets})
		return err == nil && !slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Phase != string(state.PhaseReady) || n.Power == "unknown" })
	})
	return nodes
}

func TestAgentKeepsEverythingOverARestart(t *testing.T) {
	c := newMesh(t)
	r := start(t, c)
	r.apply(twoNodes)
	if _, err := r.Power(t.Context(), "tk0", "on"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Boot(t.Context(), "tk1", api.BootRequest{Device: "pxe", Persistent: true}); err != nil {
		t.Fatal(err)
	}
	before := r.ready()
	var history []api.Event
	if err := r.Events(t.Context(), 0, client.Once, func(e api.Event) { history = append(history, e) }); err != nil {
		t.Fatal(err)
	}
	r.stopped()
	if _, err := r.Status(t.Context()); !errors.Is(err, client.ErrNoAgent) {
		t.Errorf("a stopped agent answers: %v", err)
	}

	r = start(t, c)
	if diff := cmp.Diff(before, r.ready()); diff != "" {
		t.Errorf("nodes after a restart: -before +after\n%s", diff)
	}
	if chassis, err := r.Chassis(t.Context(), "tk1"); err != nil || chassis.BootDevice != "pxe" || !chassis.Persistent {
		t.Errorf("boot override after a restart: %+v, %v", chassis, err)
	}
	var after []api.Event
	if err := r.Events(t.Context(), 0, client.Once, func(e api.Event) { after = append(after, e) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(history, after); diff != "" {
		t.Errorf("a restart made history: -before +after\n%s", diff)
	}
	r.stopped()
}

func TestAgentStopsSoonWhateverIsAttached(t *testing.T) {
	c := newMesh(t)
	c.Drivers["fake"]["delay"] = "100ms"
	r := start(t, c)
	r.apply(twoNodes)
	for _, node := range []string{"tk0", "tk1"} {
		if _, err := r.Power(t.Context(), node, "on"); err != nil {
			t.Fatal(err)
		}
	}
	console, err := r.Console(t.Context(), "tk0")
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	if _, err := io.WriteString(console, "x"); err != nil {
		t.Error(err)
	}
	if _, err := console.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	// A guest that is about to shut down.
	if _, err := r.Power(t.Context(), "tk1", "soft"); err != nil {
		t.Error(err)
	}
	followed, polled := make(chan error, 1), make(chan error, 1)
	first := make(chan struct{}, 1)
	go func() {
		followed <- r.Events(t.Context(), 0, client.Following, func(api.Event) {
			select {
			case first <- struct{}{}:
			default:
			}
		})
	}()
	go func() {
		_, _, err := r.Nodes(t.Context(), client.NodeQuery{After: 1 << 40})
		polled <- err
	}()
	<-first
	if took := r.stopped(); took > 3*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; strings.Contains(string(stacks), "hostops") {
		t.Errorf("the agent has stopped, and its parts run on:\n%s", stacks)
	}
	if err := <-followed; err == nil {
		t.Error("a stream of events that ends must say so")
	}
	if err := <-polled; err == nil {
		t.Error("a wait that ends early must say so")
	}
	if _, err := console.Read(make([]byte, 1)); err == nil {
		t.Error("the console of an agent that stopped is still there")
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	c := newMesh(t)
	r := start(t, c)
	err := Run(t.Context(), options(t, c))
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if got := PID(c.DataDir); got != os.Getpid() {
		t.Errorf("PID is %d, want %d", got, os.Getpid())
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Errorf("the first agent no longer answers: %v", err)
	}
	r.stopped()
	if got := PID(c.DataDir); got != 0 {
		t.Errorf("PID of no agent is %d", got)
	}
}

func TestAgentStartsAfterOneThatWasKilled(t *testing.T) {
	c := newMesh(t)
	p := PathsOf(c.DataDir)
	// A longer number than ours, and a socket that nobody listens on.
	for path, text := range map[string]string{p.Lock: "4194304999", p.Socket: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := PID(c.DataDir); got != 0 {
		t.Errorf("PID of a stale lock is %d", got)
	}
	r := start(t, c)
	if got := PID(c.DataDir); got != os.Getpid() {
		t.Errorf("PID is %d, want %d", got, os.Getpid())
	}
	r.stopped()
}

func TestAgentNeedsAMesh(t *testing.T) {
	c := config.DefaultAgent()
	c.DataDir = t.TempDir()
	if err := Run(t.Context(), options(t, c)); !errors.Is(err, ErrNoMesh) {
		t.Errorf("got %v", err)
	}
}

func TestAgentThatCannotOpenAPartLeavesNothingRunning(t *testing.T) {
	for name, block := range map[string]func(*config.Agent) string{
		"the host's database": func(c *config.Agent) string { return PathsOf(c.DataDir).HostDB },
		"the driver's state":  func(c *config.Agent) string { return filepath.Join(c.DataDir, "fake", "nodes.json") },
		"the socket":          func(c *config.Agent) string { return filepath.Join(PathsOf(c.DataDir).Socket, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			c := newMesh(t)
			c.Drivers["libvirt"] = map[string]string{} // has a supervisor, which must end, too
			if err := os.MkdirAll(block(&c), 0o700); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := Run(ctx, options(t, c)); err == nil || ctx.Err() != nil {
				t.Errorf("got %v", err)
			}
			goleak.VerifyNone(t, before)
		})
	}
}

func TestFilesOfAnAgentAreItsOwn(t *testing.T) {
	c := newMesh(t)
	r := start(t, c)
	r.apply(twoNodes)
	err := filepath.WalkDir(c.DataDir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	r.stopped()
}

func TestResolveFillsInWhatTheHostKnows(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Resolve(t.Context(), config.DefaultAgent())
	if err != nil || c.Name != host || c.Advertise == "" || c.BMC.Address != c.Advertise {
		t.Errorf("%+v, %v", c, err)
	}
	given := config.DefaultAgent()
	given.Name, given.Advertise, given.BMC.Address = "hv1", "192.0.2.11", "192.0.2.12"
	if c, err := Resolve(t.Context(), given); err != nil || !cmp.Equal(c, given) {
		t.Errorf("what is given changed: %+v, %v", c, err)
	}
	given.BMC.Address = ""
	if c, err := Resolve(t.Context(), given); err != nil || c.BMC.Address != "192.0.2.11" {
		t.Errorf("BMC address %q, %v", c.BMC.Address, err)
	}
}

// part is an agent of which only the log and the drivers are open.
func part(t *testing.T, c config.Agent) *agent {
	t.Helper()
	opt := options(t, c)
	a := &agent{opt: opt, paths: PathsOf(c.DataDir), log: opt.Log, fsm: raftfsm.New()}
	a.source = a.fsm.Source()
	a.newest = newNewest(a.source, raftfsm.NewReplica())
	var err error
	a.views = &views{source: a.source}
	if a.mesh, err = a.openMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.current(t.Context()), a.openDrivers(), a.openAddresses("boot")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.addresses.Close)
	return a
}

func (a *agent) publishAgain(t *testing.T) (written bool) {
	t.Helper()
	snap, _ := a.source.Snapshot()
	h, _, _ := a.facts(t.Context())
	if err := a.publishOnce(t.Context(), snap, h); err != nil {
		t.Fatal(err)
	}
	newer, _ := a.source.Snapshot()
	return newer.Index() != snap.Index()
}

func TestWhatAnOlderPeerDoesNotShowIsNotPublishedAgainAndAgain(t *testing.T) {
	c := newMesh(t)
	c.Physnets = map[string]config.Physnet{"tenant": {VXLAN: 5000}}
	a := part(t, c)
	if !a.publishAgain(t) {
		t.Fatal("nothing was published")
	}
	snap, _ := a.source.Snapshot()
	old, ok := snap.Hypervisor(a.mesh.ID())
	if !ok || len(old.PhysnetLinks) != 1 {
		t.Fatalf("published: %+v", old)
	}
	shown := *old
	shown.PhysnetLinks, shown.VXLAN = nil, state.Endpoint{}
	if _, err := a.propose(t.Context(), "", state.PutHypervisor{Hypervisor: shown}); err != nil {
		t.Fatal(err)
	}
	if a.publishAgain(t) {
		t.Error("what the state does not show was published again at once")
	}
	a.proposedAt = a.proposedAt.Add(-tellAgain)
	if !a.publishAgain(t) {
		t.Error("it was never published again")
	}
	if got := a.toldMTUs(); len(got) != 1 {
		t.Errorf("MTUs that the mesh was told: %v", got)
	}
	if err := a.mesh.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatAHostOffersIsPublishedOnlyWhenItChanges(t *testing.T) {
	for name, change := range map[string]func(*config.Agent){
		"a hypervisor": func(c *config.Agent) {
			c.Zone, c.Labels = "rack-a", map[string]string{"disk": "nvme", "cpu": "big"}
			c.Physnets = map[string]config.Physnet{"b": {}, "a": {Device: "eth1"}}
		},
		"a host without anything": func(c *config.Agent) { c.Drivers = nil },
		"empty lists and maps": func(c *config.Agent) {
			c.Labels, c.Physnets = map[string]string{}, map[string]config.Physnet{}
		},
		"a driver that does not work": func(c *config.Agent) { c.Drivers["libvirt"] = map[string]string{} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newMesh(t)
			change(&c)
			a := part(t, c)
			if !a.publishAgain(t) {
				t.Error("nothing was published")
			}
			if a.publishAgain(t) {
				h, _, _ := a.facts(t.Context())
				snap, _ := a.source.Snapshot()
				old, _ := snap.Hypervisor(h.ID)
				t.Errorf("the same was published again: log has %#v, host has %#v", old, h)
			}
			a.opt.Config.Zone = "moved"
			if !a.publishAgain(t) {
				t.Error("a change was not published")
			}
			if err := a.mesh.Close(); err != nil {
				t.Error(err)
			}
			// After a restart, too.
			c.Zone = "moved"
			a = part(t, c)
			if a.publishAgain(t) {
				t.Error("a restart published the same again")
			}
			if err := a.mesh.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADriverThatIsNoLongerNamedIsWithdrawn(t *testing.T) {
	c := newMesh(t)
	a := part(t, c)
	a.publishAgain(t)
	if err := a.mesh.Close(); err != nil {
		t.Fatal(err)
	}
	c.Drivers = map[string]map[string]string{}
	a = part(t, c)
	a.publishAgain(t)
	snap, _ := a.source.Snapshot()
	if h, ok := snap.Hypervisor(a.mesh.ID()); !ok || len(h.Drivers) > 0 {
		t.Errorf("drivers %v are still offered", h.Drivers)
	}
	if err := a.mesh.Close(); err != nil {
		t.Error(err)
	}
}

// metrics returns what the agent counts.
func (r *running) metrics() string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://tenks/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", PathsOf(r.config.DataDir).Socket)
	}, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func TestMetricsCountNodes(t *testing.T) {
	c := newMesh(t)
	r := start(t, c)
	r.apply(twoNodes)
	b := r.metrics()
	for _, want := range []string{`tenks_nodes{phase="ready"} 2`, "tenks_leader 1", "tenks_log_index ", `tenks_host_writes_total{to="driver"} `} {
		if !strings.Contains(b, want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	r.stopped()
}
