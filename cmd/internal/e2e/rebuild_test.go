package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/e2e/ironiclab"
)

// rebuilt is a cluster file with nodes that are made anew when their host is lost, and
// nodes that wait for it.
func rebuilt(endpoint string) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  small:
    memory_mb: 128
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: bios
specs:
  - type: small
    count: 6
    node_name_prefix: rb
    placement: {spread: zone}
    on_host_loss: rebuild
    stop_after: 15s
    ironic_config: {resource_class: small, network_interface: noop}
  - type: small
    count: 3
    node_name_prefix: hd
    placement: {spread: zone}
ironic: {endpoint: %q, auth: none}
`, endpoint)
}

// sightings are which domains run on which host, looked at all the time.
type sightings struct {
	stop chan struct{}
	done sync.WaitGroup

	mu sync.Mutex // guards what follows
	// first and last are when a domain was seen running on a host, by "domain host".
	first, last map[string]time.Time
	doubles     []string
	looks       int
}

// watchDomains looks until the test ends, or close.
func watchDomains(t *testing.T, hosts []*host) *sightings {
	s := &sightings{stop: make(chan struct{}), first: map[string]time.Time{}, last: map[string]time.Time{}}
	s.done.Go(func() {
		for {
			select {
			case <-s.stop:
				return
			default:
			}
			s.look(hosts)
			pause(t.Context(), 50*time.Millisecond)
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *sightings) close() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.done.Wait()
}

// look asks all hosts at the same time: a domain that runs on two of them is seen on both.
func (s *sightings) look(hosts []*host) {
	began := time.Now()
	lists := make([]string, len(hosts))
	var g sync.WaitGroup
	for i, h := range hosts {
		g.Go(func() {
			if out, err := h.try("virsh", "-q", "list", "--uuid"); err == nil {
				lists[i] = out
			}
		})
	}
	g.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	on := map[string][]string{}
	for i, list := range lists {
		for _, uuid := range strings.Fields(list) {
			key := uuid + " " + hosts[i].Name()
			on[uuid] = append(on[uuid], hosts[i].Name())
			if s.first[key].IsZero() {
				s.first[key] = began
			}
			s.last[key] = time.Now()
		}
	}
	for uuid, names := range on {
		if len(names) > 1 {
			s.doubles = append(s.doubles, fmt.Sprintf("%s: %s on %v", began.Format("15:04:05.000"), uuid, names))
		}
	}
}

func (s *sightings) seen(uuid string, h string) (first, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first[uuid+" "+h], s.last[uuid+" "+h]
}

func TestIntegrationNodesOfALostHostAreMadeAnewOnceItHasStoppedThem(t *testing.T) {
	l, hosts := newMesh(t, 3)
	ironic := inSwitch(t, l)
	hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", rebuilt(ironic.URL)), "--wait=4m")
	victim := leaderOf(t, hosts)
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == victim })
	survivor := rest[0]
	before, moved, held := map[string]api.Node{}, []string{}, []string{}
	for _, n := range survivor.nodes() {
		before[n.Name] = n
		switch {
		case n.Hypervisor != victim.Name():
		case strings.HasPrefix(n.Name, "rb"):
			moved = append(moved, n.Name)
		default:
			held = append(held, n.Name)
		}
	}
	if len(moved) != 2 || len(held) != 1 {
		t.Fatalf("on %s are %v and %v", victim.Name(), moved, held)
	}
	records := inIronic(t, ironic)
	for _, name := range slices.Concat(moved, held) {
		survivor.tenks("node", "power", "on", name)
	}
	watch := watchDomains(t, hosts)
	survivor.wait(30*time.Second, "the domains to run", func() bool {
		_, last := watch.seen(before[held[0]].UUID, victim.Name())
		_, other := watch.seen(before[moved[1]].UUID, victim.Name())
		return !last.IsZero() && !other.IsZero()
	})

	cut := time.Now()
	if err := victim.Isolate(t.Context()); err != nil {
		t.Fatal(err)
	}
	survivor.wait(60*time.Second, "the nodes to be elsewhere", func() bool {
		return !slices.ContainsFunc(moved, func(name string) bool {
			n, err := survivor.api.Node(t.Context(), name, api.HideSecrets)
			return err != nil || n.Hypervisor == victim.Name() || n.Phase != "enrolled" && n.Phase != "ready"
		})
	})
	if out, err := victim.tryTenks("node", "power", "on", moved[0]); err == nil || !strings.Contains(out, "no lease") {
		t.Errorf("power on at the host that is cut off: %v, %s", err, out)
	}
	for _, name := range moved {
		survivor.tenks("node", "power", "on", name)
	}
	after := map[string]api.Node{}
	for _, name := range moved {
		n := survivor.node(name)
		after[name] = n
		survivor.wait(20*time.Second, name+" to run elsewhere", func() bool {
			first, _ := watch.seen(n.UUID, n.Hypervisor)
			return !first.IsZero()
		})
	}
	showTimes(t, survivor, watch, victim, cut, after)
	for name, n := range after {
		checkIdentity(t, before[name], n)
	}
	if n := survivor.node(held[0]); n.Phase != "lost" || n.Hypervisor != victim.Name() {
		t.Errorf("%s is %s on %s, want it to wait", n.Name, n.Phase, n.Hypervisor)
	}
	survivor.wait(60*time.Second, "the new addresses in Ironic", func() bool { return sameRecords(t, ironic, records, after) == "" })

	healed := time.Now()
	if err := victim.Rejoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	quarantined(t, victim, moved)
	survivor.waitReady(9, 60*time.Second)
	if _, last := watch.seen(before[held[0]].UUID, victim.Name()); last.Before(healed) {
		t.Errorf("%s did not go on running: last seen at %s", held[0], last)
	}
	t.Logf("all ready, and %v in quarantine, %s after the cut was healed", moved, time.Since(healed).Round(time.Millisecond))
	t.Logf("tenks host quarantine list on %s:\n%s", victim.Name(), victim.tenks("host", "quarantine", "list"))

	if err := victim.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := victim.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	rebooted := time.Now()
	victim.spawnAgent()
	victim.wait(60*time.Second, held[0]+" to run again", func() bool {
		first, last := watch.seen(before[held[0]].UUID, victim.Name())
		return !first.IsZero() && last.After(rebooted)
	})
	quarantined(t, victim, moved)
	victim.tenks("host", "quarantine", "delete", moved[0])
	quarantined(t, victim, moved[1:])
	if _, exists := victim.domains()[moved[0]]; exists {
		t.Errorf("%s is still there", moved[0])
	}
	watch.close()
	for _, double := range watch.doubles {
		t.Errorf("runs twice: %s", double)
	}
	for _, name := range moved {
		if _, last := watch.seen(before[name].UUID, victim.Name()); last.After(healed) {
			t.Errorf("%s ran on %s at %s, after it had been made anew", name, victim.Name(), last)
		}
	}
	t.Logf("%d looks at %d hosts", watch.looks, len(hosts))
}

// showTimes logs what happened when, and fails where the order is wrong.
func showTimes(t *testing.T, h *host, watch *sightings, victim *host, cut time.Time, after map[string]api.Node) {
	t.Helper()
	events := map[string]api.Event{} // the last of a type, of a node
	if err := h.api.Events(t.Context(), 0, client.Once, func(e api.Event) { events[e.Type+" "+e.Node] = e }); err != nil {
		t.Fatal(err)
	}
	at := func(key string) time.Time {
		v, err := time.Parse(time.RFC3339, events[key].Time)
		if err != nil {
			t.Fatalf("event %s: %v", key, err)
		}
		return v
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		n := after[name]
		_, stopped := watch.seen(n.UUID, victim.Name())
		running, _ := watch.seen(n.UUID, n.Hypervisor)
		unplaced, placed := at("node-displaced "+name), at("node-placed "+name)
		t.Logf("%s: cut off 0 s, last seen running there %.1f s, unplaced %.1f s, placed on %s %.1f s, running %.1f s: %s", name, stopped.Sub(cut).Seconds(),
			unplaced.Sub(cut).Seconds(), n.Hypervisor, placed.Sub(cut).Seconds(), running.Sub(cut).Seconds(), events["node-displaced "+name].Message)
		if stop := stopped.Sub(cut); stop < 10*time.Second || stop > 20*time.Second {
			t.Errorf("%s was stopped %s after the cut, want 15 s after the last lease", name, stop)
		}
		if !stopped.Before(unplaced) || !unplaced.Before(running) || placed.Before(unplaced) {
			t.Errorf("%s: stopped %s, unplaced %s, placed %s, running %s", name, stopped, unplaced, placed, running)
		}
	}
}

// checkIdentity fails unless a node is the same but for where it is.
func checkIdentity(t *testing.T, before, after api.Node) {
	t.Helper()
	if after.Epoch <= before.Epoch || after.Hypervisor == before.Hypervisor {
		t.Errorf("%s is on %s with epoch %d, was on %s with %d", after.Name, after.Hypervisor, after.Epoch, before.Hypervisor, before.Epoch)
	}
	identity := func(n api.Node) []string {
		out := []string{n.Name, n.UUID, n.BMC.Username, n.BMC.Password, n.Ironic.UUID}
		for _, p := range n.Ports {
			out = append(out, p.MAC)
		}
		return out
	}
	if diff := cmp.Diff(identity(before), identity(after)); diff != "" {
		t.Errorf("%s (-before +after):\n%s", after.Name, diff)
	}
}

// quarantined waits until a host has these nodes, and no others, in quarantine, off.
func quarantined(t *testing.T, h *host, names []string) {
	t.Helper()
	want := slices.Sorted(slices.Values(names))
	h.wait(60*time.Second, fmt.Sprintf("%v in quarantine on %s", want, h.Name()), func() bool {
		list, err := h.api.Quarantine(t.Context())
		var got []string
		for _, q := range list {
			if q.Power == "off" && q.Hypervisor != "" && q.Hypervisor != h.Name() {
				got = append(got, q.Name)
			}
		}
		return err == nil && slices.Equal(got, want) && len(list) == len(want)
	})
	domains := h.domains()
	for _, name := range names {
		if domains[name] != "-" {
			t.Errorf("domain %s on %s has ID %q, want it to be there and off", name, h.Name(), domains[name])
		}
	}
}

func inIronic(t *testing.T, ironic *ironiclab.Ironic) map[string]ironiclab.Node {
	t.Helper()
	nodes, err := ironic.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]ironiclab.Node{}
	for _, n := range nodes {
		out[n.Name] = n
	}
	return out
}

// sameRecords says how Ironic's records of nodes differ from before, but for the BMC's
// address and the epoch, which must be the new ones.
func sameRecords(t *testing.T, ironic *ironiclab.Ironic, before map[string]ironiclab.Node, after map[string]api.Node) string {
	t.Helper()
	now := inIronic(t, ironic)
	for name, n := range after {
		was, is := before[name], now[name]
		if was.UUID != is.UUID || was.ProvisionState != is.ProvisionState || was.ResourceClass != is.ResourceClass || len(now) != len(before) {
			t.Fatalf("Ironic's record of %s was %+v and is %+v", name, was, is)
		}
		if is.DriverInfo["ipmi_address"] != n.BMC.Address || fmt.Sprint(is.DriverInfo["ipmi_port"]) != fmt.Sprint(n.BMC.Port) {
			return fmt.Sprintf("%s has address %v:%v, want %s:%d", name, is.DriverInfo["ipmi_address"], is.DriverInfo["ipmi_port"], n.BMC.Address, n.BMC.Port)
		}
		if is.DriverInfo["ipmi_username"] != was.DriverInfo["ipmi_username"] {
			t.Fatalf("Ironic's account of %s is another", name)
		}
	}
	return ""
}

func TestIntegrationAHostWhoseLibvirtHangsKillsItsGuests(t *testing.T) {
	besideOthers(t)
	_, hosts := newMesh(t, 3)
	file := strings.NewReplacer("    ironic_config: {resource_class: small, network_interface: noop}\n", "", "count: 6", "count: 3", "count: 3", "count: 0",
		`ironic: {endpoint: "", auth: none}`, "").Replace(rebuilt(""))
	hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", file), "--wait=4m")
	leader := leaderOf(t, hosts)
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == leader })
	victim, survivor := rest[0], leader
	at := slices.IndexFunc(survivor.nodes(), func(n api.Node) bool { return n.Hypervisor == victim.Name() })
	before := survivor.nodes()[at]
	survivor.tenks("node", "power", "on", before.Name)
	guests := func() (out []string) {
		for pid, line := range victim.processes() {
			if strings.Contains(line, "qemu-system") && strings.Contains(line, before.UUID) {
				out = append(out, pid)
			}
		}
		return out
	}
	survivor.wait(30*time.Second, "the guest to run", func() bool { return len(guests()) == 1 })
	if err := victim.SignalLibvirtd(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	if err := victim.Isolate(t.Context()); err != nil {
		t.Fatal(err)
	}
	survivor.wait(40*time.Second, "the guest to be gone", func() bool { return len(guests()) == 0 })
	gone := time.Since(cut)
	if n := survivor.node(before.Name); n.Hypervisor != victim.Name() {
		t.Errorf("it is on %s before it is gone from %s", n.Hypervisor, victim.Name())
	}
	survivor.wait(60*time.Second, "the node to be elsewhere", func() bool {
		n, err := survivor.api.Node(t.Context(), before.Name, api.HideSecrets)
		return err == nil && n.Hypervisor != victim.Name() && n.Phase == "ready"
	})
	t.Logf("%s: killed %s after the cut, ready on %s after %s", before.Name, gone.Round(time.Millisecond), survivor.node(before.Name).Hypervisor, time.Since(cut).Round(time.Millisecond))
	if err := victim.SignalLibvirtd(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := victim.Rejoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	quarantined(t, victim, []string{before.Name})
}
