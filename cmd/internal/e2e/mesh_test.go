package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/client"
	"tenks/cmd/internal/e2e/ironiclab"
	"tenks/cmd/internal/lab"
)

// newMesh makes hosts in zones z1, z2, …, each with its own libvirtd, and joins them
// by one command each.
func newMesh(t *testing.T, n int) (*lab.Lab, []*host) {
	t.Helper()
	return newMeshOf(t, n, "")
}

// newMeshOf is newMesh with the programs of a directory; empty: those that are tested.
func newMeshOf(t *testing.T, n int, programs string) (*lab.Lab, []*host) {
	t.Helper()
	l, dir := newLab(t)
	return l, populate(t, l, dir, n, host{programs: programs})
}

// populate adds hosts to a lab and joins them; like has what is not the same for all tests.
func populate(t *testing.T, l *lab.Lab, dir string, n int, like host) []*host {
	t.Helper()
	var hosts []*host
	for i := range n {
		lh, err := l.AddHost(t.Context(), fmt.Sprintf("hv%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		if err := lh.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(dir, lh.Name()+".log"),
			programs: like.programs, physnets: like.physnets}
		t.Cleanup(h.tellLog)
		h.enter(hosts, i+1)
		hosts = append(hosts, h)
	}
	voters := 3
	if n < voters {
		voters = 1 // a second one would be one more whose loss ends the majority
	}
	hosts[0].wait(60*time.Second, "voters", func() bool {
		st, err := hosts[0].api.Status(t.Context())
		return err == nil && len(st.Voters) == voters
	})
	return hosts
}

// enter makes the host a peer: the first one makes the mesh.
func (h *host) enter(mesh []*host, zone int) {
	h.t.Helper()
	flags := []string{"--advertise", h.Address(), "--zone", fmt.Sprintf("z%d", zone)}
	physnets := h.physnets
	if physnets == nil {
		physnets = []string{"physnet1", "physnet2"}
	}
	for _, p := range physnets {
		flags = append(flags, "--physnet", p)
	}
	if len(mesh) == 0 {
		h.t.Logf("%s", h.tenks(append([]string{"init"}, flags...)...))
		return
	}
	token := strings.Split(mesh[0].tenks("token", "create"), "\n")[0]
	h.t.Logf("%s", h.tenks(append([]string{"join", token}, flags...)...))
}

// inSwitch starts a real Ironic that every host reaches.
func inSwitch(t *testing.T, l *lab.Lab) *ironiclab.Ironic {
	t.Helper()
	return inSwitchWith(t, l, ironiclab.Options{})
}

// inSwitchWith is inSwitch with what else the Ironic is to be.
func inSwitchWith(t *testing.T, l *lab.Lab, o ironiclab.Options) *ironiclab.Ironic {
	t.Helper()
	ironiclab.Require(t)
	o.Dir, o.Netns, o.Bind = filepath.Join(l.Dir(), "ironic"), l.Switch(), "10.77.0.254"
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ironic := ironiclab.Start(t.Context(), t, o)
	t.Cleanup(func() {
		if log, err := os.ReadFile(ironic.Log); err == nil && t.Failed() && os.Getenv("TENKS_LOGS") != "" {
			keepLog(t, "ironic", log)
		}
	})
	return ironic
}

// spread is a cluster file of nodes spread over zones and enrolled in an Ironic; no
// endpoint: in none.
func spread(name, endpoint string, count int) string {
	if endpoint == "" {
		without, _, _ := strings.Cut(spread(name, "none", count), "ironic: {")
		return without
	}
	return fmt.Sprintf(`cluster: %[1]s
node_types:
  small:
    memory_mb: 128
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: bios
specs:
  - type: small
    count: %[3]d
    node_name_prefix: %[1]s
    placement: {spread: zone}
    ironic_config: {resource_class: small, network_interface: noop}
ironic: {endpoint: %[2]q, auth: none}
`, name, endpoint, count)
}

func TestIntegrationThreeHostsJoinedByOneCommandEachShareACluster(t *testing.T) {
	besideOthers(t)
	l, hosts := newMesh(t, 3)
	ironic := inSwitch(t, l)
	t.Logf("tenks peer list:\n%s", hosts[2].tenks("peer", "list"))
	t.Logf("apply on %s:\n%s", hosts[1].Name(), hosts[1].tenks("apply", "-f", hosts[1].write("demo.yml", spread("demo", ironic.URL, 12)), "--wait=4m"))
	nodes, err := ironic.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.ProvisionState != "available" {
			t.Errorf("ironic: %s is %s: %s", n.Name, n.ProvisionState, n.LastError)
		}
	}
	if len(nodes) != 12 {
		t.Errorf("Ironic has %d nodes, want 12", len(nodes))
	}
	seen := map[string]string{}
	for _, h := range hosts {
		domains := h.domains()
		t.Logf("%s: %d domains", h.Name(), len(domains))
		if len(domains) != 4 {
			t.Errorf("%s has domains %v, want 4", h.Name(), domains)
		}
		for name := range domains {
			if seen[name] != "" {
				t.Errorf("domain %s is on %s and %s", name, seen[name], h.Name())
			}
			seen[name] = h.Name()
		}
	}
	// Any peer answers for a node of any other, and its BMC is where the node is.
	for i, n := range hosts[0].nodes() {
		h := hosts[i%3]
		h.tenks("node", "power", "on", n.Name)
		h.wait(30*time.Second, "power on of "+n.Name, func() bool {
			got, err := h.try("ipmitool", "-I", "lanplus", "-H", n.BMC.Address, "-p", fmt.Sprint(n.BMC.Port), "-U", n.BMC.Username, "-P", n.BMC.Password, "power", "status")
			return err == nil && got == "Chassis Power is on\n"
		})
	}
	t.Logf("tenks node list:\n%s", hosts[0].tenks("node", "list"))
	t.Logf("destroy:\n%s", hosts[2].tenks("destroy", "demo", "--yes", "--wait=4m"))
	for _, h := range hosts {
		if d := h.domains(); len(d) > 0 {
			t.Errorf("%s is left with %v", h.Name(), d)
		}
	}
	leaver := leaderOf(t, hosts)
	t.Logf("leave on the leader, %s:\n%s", leaver.Name(), leaver.tenks("leave"))
	if left, err := os.ReadDir(leaver.Path(dataDir)); err != nil || len(left) > 0 {
		t.Errorf("leave left %v, %v", left, err)
	}
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == leaver })
	for _, h := range rest {
		peers, err := h.api.Peers(t.Context())
		if err != nil || len(peers) != 2 {
			t.Errorf("%s has peers %v, %v", h.Name(), peers, err)
		}
	}
}

// leaderKills is how often the leader's host is killed; TENKS_KILLS says another number.
// kept is how many clusters there are at most.
const (
	leaderKills = 3
	kept        = 5
)

func TestIntegrationKillsOfTheLeadersHostLoseAndDoubleNothing(t *testing.T) {
	besideOthers(t)
	l, hosts := newMesh(t, 3)
	ironic := inSwitch(t, l)
	rounds := leaderKills
	if _, err := fmt.Sscan(os.Getenv("TENKS_KILLS"), &rounds); err != nil {
		rounds = leaderKills
	}
	var took []time.Duration
	asked := 0
	for round := range rounds {
		name := fmt.Sprintf("c%d", round)
		leader := leaderOf(t, hosts)
		rest := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == leader })
		load := startLoad(rest)
		applied := make(chan string, 1)
		file := rest[0].write(name+".yml", spread(name, ironic.URL, 3))
		go func() { // received below
			out, err := rest[0].tryTenks("apply", "-f", file)
			applied <- fmt.Sprintf("%v: %s", err, out)
		}()
		pause(t.Context(), time.Duration(round*37%150)*time.Millisecond)
		killed := time.Now()
		if err := leader.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest[0].wait(20*time.Second, "another leader", func() bool {
			st, err := rest[1].api.Status(t.Context())
			return err == nil && st.Leader != "" && st.Leader != leader.Name()
		})
		took = append(took, time.Since(killed))
		out := <-applied
		asked += load.end(t)
		t.Logf("round %d: %s killed, another leads after %s; apply: %.200s", round, leader.Name(), took[round].Round(time.Millisecond), out)
		if err := leader.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		leader.spawnAgent()
		// An apply that was acknowledged is done, and one that was not can be repeated.
		rest[1].tenks("apply", "-f", rest[1].write(name+".yml", spread(name, ironic.URL, 3)), "--wait=4m")
		if round >= kept { // the hosts hold no more
			rest[1].tenks("destroy", fmt.Sprintf("c%d", round-kept), "--yes", "--wait=4m")
		}
	}
	slices.Sort(took)
	t.Logf("a new leader after: median %s, worst %s", took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	t.Logf("BMCs on the other hosts answered all of %d requests meanwhile", asked)
	checkOnce(t, hosts, ironic, min(rounds, kept)*3)
}

// load asks BMCs again and again.
type load struct {
	stop     context.CancelFunc
	work     sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex // guards failures
	failures []string
}

// startLoad asks the BMCs of all nodes on hosts for their power, twice a second, from
// where they are.
func startLoad(hosts []*host) *load {
	hosts[0].t.Helper()
	ctx, cancel := context.WithCancel(hosts[0].t.Context())
	l := &load{stop: cancel}
	// A host that has just come back may not know yet which nodes went meanwhile.
	for _, n := range hosts[0].currentNodes() {
		i := slices.IndexFunc(hosts, func(h *host) bool { return h.Name() == n.Hypervisor })
		if i < 0 {
			continue
		}
		l.work.Go(func() {
			for ctx.Err() == nil {
				// Five times, a second apart: what any client does over UDP.
				out, err := hosts[i].try("ipmitool", "-I", "lanplus", "-N", "1", "-R", "5", "-H", n.BMC.Address, "-p", fmt.Sprint(n.BMC.Port),
					"-U", n.BMC.Username, "-P", n.BMC.Password, "power", "status")
				l.requests.Add(1)
				if err != nil {
					l.mu.Lock()
					l.failures = append(l.failures, fmt.Sprintf("%s on %s: %v: %s", n.Name, n.Hypervisor, err, out))
					l.mu.Unlock()
				}
				pause(ctx, loadPause)
			}
		})
	}
	return l
}

// loadPause is between two requests to a BMC: a process each, and two cores for all.
const loadPause = 500 * time.Millisecond

// end ends the load, and returns how many requests there were.
func (l *load) end(t *testing.T) int {
	t.Helper()
	l.stop()
	l.work.Wait()
	for _, f := range l.failures {
		t.Errorf("a BMC did not answer: %s", f)
	}
	return int(l.requests.Load())
}

// checkOnce fails unless each node is one domain on one host and one node in Ironic.
func checkOnce(t *testing.T, hosts []*host, ironic *ironiclab.Ironic, want int) {
	t.Helper()
	var domains, inIronic, declared []string
	for _, h := range hosts {
		for name := range h.domains() {
			domains = append(domains, name)
		}
	}
	nodes, err := ironic.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		inIronic = append(inIronic, n.Name)
	}
	for _, n := range hosts[0].nodes() {
		declared = append(declared, n.Name)
	}
	for _, list := range [][]string{domains, inIronic, declared} {
		slices.Sort(list)
	}
	if len(declared) != want {
		t.Errorf("%d nodes, want %d", len(declared), want)
	}
	if diff := cmp.Diff(declared, domains); diff != "" {
		t.Errorf("domains (-declared +there):\n%s", diff)
	}
	if diff := cmp.Diff(declared, inIronic); diff != "" {
		t.Errorf("Ironic (-declared +there):\n%s", diff)
	}
}

// leaderOf waits until all agree on who leads.
func leaderOf(t *testing.T, hosts []*host) *host {
	t.Helper()
	var found *host
	hosts[0].wait(60*time.Second, "three voters and a leader that all know", func() bool {
		names := map[string]bool{}
		for _, h := range hosts {
			st, err := h.api.Status(t.Context())
			if err != nil || len(st.Voters) != len(hosts) {
				return false
			}
			names[st.Leader] = true
			if i := slices.IndexFunc(hosts, func(h *host) bool { return h.Name() == st.Leader }); i >= 0 {
				found = hosts[i]
			}
		}
		return len(names) == 1 && found != nil
	})
	return found
}
