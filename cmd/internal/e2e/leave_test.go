package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestIntegrationAHostThatLeavesByForceKeepsNothingAndItsNodesAreMadeElsewhere(t *testing.T) {
	besideOthers(t)
	_, hosts := newMesh(t, 3)
	// What a host is before it joins: nothing of the mesh's.
	leaver := hosts[2]
	hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", spread("demo", "http://127.0.0.1:6385", 6)))
	hosts[0].wait(time.Minute, "all nodes to be made", func() bool {
		return !slices.ContainsFunc(hosts[0].nodes(), func(n node) bool { return n.Phase != "ready" })
	})
	var here []string
	for _, n := range hosts[0].nodes() {
		if n.Hypervisor == leaver.Name() {
			here = append(here, n.Name)
			hosts[0].tenks("node", "power", "on", n.Name)
		}
	}
	if len(here) != 2 {
		t.Fatalf("%v are on %s", here, leaver.Name())
	}
	out, err := leaver.tryTenks("leave")
	if err == nil || !strings.Contains(out, "2 nodes are on this host") {
		t.Fatalf("leave with nodes: %v, %s", err, out)
	}
	if len(leaver.domains()) != 2 {
		t.Errorf("domains after a refused leave: %v", leaver.domains())
	}
	t.Logf("leave --force:\n%s", leaver.tenks("leave", "--force"))
	left := leaver.traces()
	left.Files = slices.DeleteFunc(left.Files, func(f string) bool { return strings.Contains(f, "/etc/libvirt/") })
	slices.Sort(left.Links)
	if diff := cmp.Diff(traces{Links: []string{"eth0", "lo"}}, left, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("it left something (-want +got):\n%s", diff)
	}
	hosts[0].wait(2*time.Minute, "its nodes to be made elsewhere", func() bool {
		nodes := hosts[0].nodes()
		return len(nodes) == 6 && !slices.ContainsFunc(nodes, func(n node) bool { return n.Phase != "ready" || n.Hypervisor == leaver.Name() })
	})
	for _, name := range here {
		if domains := named(hosts, hosts[0].node(name).Hypervisor).domains(); domains[name] == "" {
			t.Errorf("%s is not among %v", name, domains)
		}
	}
}
