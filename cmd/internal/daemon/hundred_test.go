package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/config"
	"tenks/ironic/ironictest"
)

// hundred is a cluster of three types: the first is to have more memory, the second to have
// more nodes and another trait, the third to have fewer nodes.
func hundred(ironic string, memory, more, fewer int, trait string) string {
	return fmt.Sprintf(`cluster: fleet
node_types:
  first: {driver: fake, memory_mb: %d, vcpus: 1}
  second: {driver: fake, memory_mb: 16, vcpus: 1}
  third: {driver: fake, memory_mb: 16, vcpus: 1}
specs:
  - {type: first, count: 30, node_name_prefix: first, ironic_config: {resource_class: first}}
  - {type: second, count: %d, node_name_prefix: second, ironic_config: {resource_class: second, traits: [%s]}}
  - {type: third, count: %d, node_name_prefix: third, ironic_config: {resource_class: third}}
ironic: {endpoint: %q}
`, memory, more, trait, fewer, ironic)
}

// guests is what power the fake driver's nodes have, and since when, by name.
func (r *running) guests() map[string]string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.config.DataDir, "fake", "nodes.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all map[string]struct {
		Spec  struct{ Name string }
		Power string
		Began time.Time
	}
	if err := json.Unmarshal(b, &all); err != nil {
		r.t.Fatal(err)
	}
	out := map[string]string{}
	for _, n := range all {
		out[n.Spec.Name] = fmt.Sprint(n.Power, " since ", n.Began)
	}
	return out
}

// enrolled waits until so many nodes are.
func (r *running) enrolled(count int) []api.Node {
	r.t.Helper()
	var nodes []api.Node
	r.eventuallyIn(time.Minute, fmt.Sprint(count, " nodes enrolled"), func() bool {
		var err error
		nodes, _, err = r.Nodes(r.t.Context(), client.NodeQuery{})
		return err == nil && len(nodes) == count && !slices.ContainsFunc(nodes, func(n api.Node) bool {
			return n.Phase != "enrolled" || n.Ironic.ProvisionState != "available" || n.Power == "unknown"
		})
	})
	return nodes
}

func TestAHundredNodesAreReconfiguredWithoutAPowerEventThatThePlanDoesNotName(t *testing.T) {
	ironic := ironictest.Start(t, ironictest.Options{Verify: time.Millisecond, Clean: time.Millisecond})
	c := newMesh(t)
	c.Drivers["fake"]["delay"] = "1ms"
	c.Overcommit = config.Overcommit{VCPUs: 1000, Memory: 100, Disk: 1}
	c.BMC.IPMIPorts = config.PortRange{First: 6230, Last: 6429}
	r := start(t, c)
	r.eventually("offering the driver", func() bool {
		peers, err := r.Peers(t.Context())
		return err == nil && len(peers) == 1 && slices.Contains(peers[0].Drivers, "fake")
	})
	if _, err := r.Apply(t.Context(), api.ApplyRequest{File: hundred(ironic.URL(), 16, 40, 30, "CUSTOM_OLD")}); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, n := range r.enrolled(100) {
		g.Go(func() error { _, err := r.Power(t.Context(), n.Name, "on"); return err })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	before := r.guests()
	for name, power := range before {
		if !strings.HasPrefix(power, "on since 2") {
			t.Fatalf("%s is %s", name, power)
		}
	}

	changed := hundred(ironic.URL(), 32, 45, 27, "CUSTOM_NEW")
	plan, err := r.Plan(t.Context(), api.ApplyRequest{File: changed})
	if err != nil {
		t.Fatal(err)
	}
	count, gone := map[string]int{}, map[string]bool{}
	for _, s := range plan.Steps {
		count[s.Action+" "+strings.TrimRight(s.Node, "0123456789")+" "+s.When]++
		gone[s.Node] = s.Action == "remove"
	}
	want := map[string]int{"change first power-on": 30, "change second now": 40, "create second now": 5, "remove third now": 3}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Fatalf("plan (-want +got):\n%s", diff)
	}
	ironic.ResetLog()
	if _, err := r.Apply(t.Context(), api.ApplyRequest{File: changed}); err != nil {
		t.Fatal(err)
	}
	r.eventually("pending", func() bool { return pending(r.enrolled(102)) == 30 })
	r.eventually("in Ironic", func() bool { return traits(ironic)["CUSTOM_NEW"] == 45 })
	after := r.guests()
	for name := range maps.Keys(gone) {
		if gone[name] {
			delete(before, name)
		}
	}
	for name, power := range after {
		if _, was := before[name]; !was { // one of the five
			if !strings.HasPrefix(power, "off") {
				t.Errorf("%s, which is new, is %s", name, power)
			}
			before[name] = power
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("power (-before +after):\n%s", diff)
	}
	if got := traits(ironic); len(got) != 1 {
		t.Errorf("traits in Ironic: %v", got)
	}
	for _, w := range ironic.Writes() {
		if strings.Contains(w, "/states/power") {
			t.Errorf("Ironic was asked for %s", w)
		}
	}
	r.appliesNothing(ironic, changed)
	r.stopped()
}

// appliesNothing applies what is there: no log entry, no write to Ironic, to drivers or links.
func (r *running) appliesNothing(ironic *ironictest.Ironic, file string) {
	r.t.Helper()
	index := func() uint64 {
		s, err := r.Status(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		return s.Index
	}
	// What the change before led to may still be on its way.
	last, since := index(), time.Now()
	r.eventually("settled", func() bool {
		if now := index(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	ironic.ResetLog()
	writes := r.writes()
	for range 3 {
		p, err := r.Apply(r.t.Context(), api.ApplyRequest{File: file})
		if err != nil || p.Changed || len(p.Steps) != 0 || p.Unchanged != 102 {
			r.t.Errorf("again: %+v, %v", p, err)
		}
	}
	if got := ironic.Writes(); len(got) != 0 || index() != last {
		r.t.Errorf("index %d was %d, writes to Ironic %q", index(), last, got)
	}
	if diff := cmp.Diff(writes, r.writes()); diff != "" {
		r.t.Errorf("writes on the host (-before +after):\n%s", diff)
	}
}

// writes are the host's to drivers and links, as its metrics count them.
func (r *running) writes() []string {
	r.t.Helper()
	var out []string
	for _, line := range strings.Split(r.metrics(), "\n") {
		if strings.HasPrefix(line, "tenks_host_writes_total{") {
			out = append(out, line)
		}
	}
	if len(out) != 2 {
		r.t.Fatalf("metrics: %q", out)
	}
	return out
}

func pending(nodes []api.Node) int {
	n := 0
	for _, node := range nodes {
		if len(node.PendingChanges) > 0 {
			n++
		}
	}
	return n
}

// traits counts nodes by their traits.
func traits(i *ironictest.Ironic) map[string]int {
	out := map[string]int{}
	for _, uuid := range i.Nodes() {
		if list, ok := i.Node(uuid)["traits"].([]any); ok && len(list) > 0 {
			out[fmt.Sprint(list...)]++
		}
	}
	return out
}
