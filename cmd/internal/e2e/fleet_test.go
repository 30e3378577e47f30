package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
)

// fleetNodes is how many nodes the fleet has; TENKS_NODES overrides it.
const fleetNodes = 12

// fleetFile is a cluster of two types: those of "kept", which have a trait, and those of
// "changed", with so much memory.
func fleetFile(endpoint string, kept, changed, memory int, trait string) string {
	return fmt.Sprintf(`cluster: fleet
node_types:
  kept: {memory_mb: 32, vcpus: 1, volumes: [{capacity: 1MiB}], physical_networks: [physnet1], boot_mode: bios}
  changed: {memory_mb: %d, vcpus: 1, physical_networks: [physnet1], boot_mode: bios}
specs:
  - {type: kept, count: %d, node_name_prefix: kept, ironic_config: {resource_class: kept, traits: [%s], network_interface: noop}}
  - {type: changed, count: %d, node_name_prefix: changed, ironic_config: {resource_class: changed, network_interface: noop}}
ironic: {endpoint: %q, auth: none}
`, memory, kept, trait, changed, endpoint)
}

// guest is what a running guest is known by: all of it is new after a power cycle.
type guest struct{ Domain, Began string }

// guests returns the running ones, by name.
func (h *host) guests() map[string]guest {
	h.t.Helper()
	out := map[string]guest{}
	for name, id := range h.domains() {
		if id == "-" {
			continue
		}
		pid := strings.TrimSpace(h.run("cat", "/run/libvirt/qemu/"+name+".pid"))
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			h.t.Fatal(err)
		}
		// Field 22, counted from the name's end (proc_pid_stat(5)).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		out[name] = guest{Domain: id, Began: pid + "@" + fields[19]}
	}
	return out
}

// powerEvent is a line of "virsh event" about a domain's power.
var powerEvent = regexp.MustCompile(`event '(?:lifecycle|reboot)' for domain '?([^': ]+)'?:? ?(Started|Stopped|Shutdown|Suspended|Resumed|Crashed|PMSuspended)?`)

// powerEvents returns whom libvirt reported power events of since the watch began.
func powerEvents(t testing.TB, log string) []string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, line := range strings.Split(string(text), "\n") {
		m := powerEvent.FindStringSubmatch(line)
		if m != nil && (m[2] != "" || strings.Contains(line, "'reboot'")) {
			out = append(out, m[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// watchPower has libvirt's events written to a file until the test ends.
func (h *host) watchPower() (log string) {
	h.t.Helper()
	log = h.write("events.log", "")
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	c := h.Command(h.t.Context(), "virsh", "event", "--all", "--loop", "--timestamp")
	c.Stdout, c.Stderr = f, f
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return log
}

func TestIntegrationAFleetIsReconfiguredWithoutAPowerEventThatThePlanDoesNotName(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	ironic := h.withIronic()
	before := h.traces()
	h.init(agentYAML + "overcommit: {vcpus: 100, memory: 4, disk: 10}\n")
	total := fleetNodes
	if text := os.Getenv("TENKS_NODES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	changed := total * 2 / 5
	kept := total - changed
	file := h.write("fleet.yml", fleetFile(ironic.URL, kept, changed, 32, "CUSTOM_OLD"))
	began := time.Now()
	h.tenks("apply", "-f", file, "--wait=10m")
	t.Logf("%d nodes enrolled after %s", total, time.Since(began).Round(100*time.Millisecond))
	// By Ironic, which sees to it that power stays as it last said.
	var group errgroup.Group
	group.SetLimit(4)
	for _, n := range h.nodes() {
		group.Go(func() error { return ironic.SetPower(t.Context(), n.UUID, "power on") })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	h.wait(5*time.Minute, "all guests to run", func() bool { return len(h.guests()) == total })
	running, log := h.guests(), h.watchPower()
	// What is seen from here on was asked for after this: the watch is up.
	h.watched(log)

	h.write("fleet.yml", fleetFile(ironic.URL, kept+5, changed-3, 48, "CUSTOM_NEW"))
	var plan api.Plan
	if err := json.Unmarshal([]byte(h.tenks("plan", "-f", file, "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	removed, created := namedBy(plan, "remove"), namedBy(plan, "create")
	if len(removed) != 3 || len(created) != 5 || len(namedBy(plan, "change")) != total-3 {
		t.Errorf("the plan creates %v, removes %v, changes %v", created, removed, namedBy(plan, "change"))
	}
	t.Logf("apply:\n%s", h.tenks("apply", "-f", file, "--wait=10m"))
	h.wait(2*time.Minute, "those that go to be gone", func() bool { return len(h.nodes()) == total+2 })

	got := h.guests()
	for name, was := range running {
		if is, ok := got[name]; is != was && !slices.Contains(removed, name) {
			t.Errorf("%s was %v and is %v (runs: %v)", name, was, is, ok)
		}
	}
	for _, name := range powerEvents(t, log) {
		if !slices.Contains(removed, name) && name != sentinel {
			t.Errorf("a power event on %s, which the plan did not name", name)
		}
	}
	h.checkFleet(t, ironic, kept+5)
	t.Run("a second apply writes nothing", func(t *testing.T) {
		h.applyAgain(t, ironic, file, total+2)
	})
	h.tenks("destroy", "fleet", "--wait=10m")
	after := h.traces()
	after.Processes, before.Processes = nil, nil // the agent goes on
	after.Files, before.Files = volumes(after.Files), volumes(before.Files)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("destroy left something (-before +after):\n%s", diff)
	}
}

// sentinel is a domain of nobody's, whose start the watch must see.
const sentinel = "watched"

// watched waits until the watch sees what happens.
func (h *host) watched(log string) {
	h.t.Helper()
	h.wait(30*time.Second, "libvirt's events", func() bool {
		file := h.write("watched.xml", `<domain type="qemu"><name>`+sentinel+`</name><memory unit="MiB">16</memory>`+
			`<os><type arch="x86_64">hvm</type></os></domain>`)
		h.run("virsh", "create", file)
		h.run("virsh", "destroy", sentinel)
		return slices.Contains(powerEvents(h.t, log), sentinel)
	})
}

// namedBy returns the nodes of a plan's steps of one action.
func namedBy(p api.Plan, action string) (out []string) {
	for _, s := range p.Steps {
		if s.Action == action {
			out = append(out, s.Node)
		}
	}
	return out
}

// checkFleet compares what became of the fleet with what was declared.
func (h *host) checkFleet(t *testing.T, ironic *ironiclab.Ironic, kept int) {
	nodes, err := ironic.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	traits := map[string]int{}
	for _, n := range nodes {
		traits[strings.Join(n.Traits, ",")]++
	}
	if traits["CUSTOM_NEW"] != kept || traits["CUSTOM_OLD"] != 0 {
		t.Errorf("traits in Ironic: %v", traits)
	}
	for _, n := range h.nodes() {
		if n.Type == "changed" && !strings.Contains(strings.Join(n.PendingChanges, " "), "48") {
			t.Errorf("%s runs with 32 MiB; its pending changes are %q", n.Name, n.PendingChanges)
		}
	}
	h.tenks("node", "power", "cycle", "changed0")
	h.wait(time.Minute, "changed0 to have its memory", func() bool {
		return strings.Contains(h.run("virsh", "dominfo", "changed0"), "49152 KiB") && len(h.node("changed0").PendingChanges) == 0
	})
}
