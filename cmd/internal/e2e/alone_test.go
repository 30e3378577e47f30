package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

func TestIntegrationARebootedHostRestoresItsNodesWithoutTheOthers(t *testing.T) {
	besideOthers(t)
	_, hosts := newMesh(t, 3)
	last := hosts[2]
	last.tenks("apply", "-f", last.write("demo.yml", spread("demo", "", 3)), "--wait=4m")
	nodes := last.nodes()
	i := slices.IndexFunc(nodes, func(n api.Node) bool { return n.Hypervisor == last.Name() })
	if i < 0 {
		t.Fatalf("no node on %s: %s", last.Name(), phases(nodes))
	}
	own := nodes[i]
	last.tenks("node", "power", "on", own.Name)
	on := func() bool {
		out, err := last.ipmi(own, "power", "status")
		return err == nil && out == "Chassis Power is on\n" && last.domains()[own.Name] != "-"
	}
	last.wait(30*time.Second, "power on", on)
	last.wait(30*time.Second, "the node in the host's part file", func() bool {
		p, err := raftfsm.ReadPart(last.Path(dataDir + "/part.tnk"))
		return err == nil && slices.ContainsFunc(p.Nodes, func(n *state.Node) bool {
			return n.UUID == own.UUID && n.Host.Phase == state.HostReady
		})
	})
	links := ourLinks(last)

	for _, h := range hosts[:2] {
		if err := h.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := last.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last.Libvirtd() == 0 {
		if err := last.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	last.spawnAgent()
	last.wait(90*time.Second, "the node to run again with nobody else there", on)
	t.Logf("without a majority, %s runs again %s after the agent started", own.Name, time.Since(began).Round(time.Second))
	if got := ourLinks(last); !slices.Equal(got, links) {
		t.Errorf("links %v, want %v", got, links)
	}
	out, err := last.tryTenks("node", "list")
	t.Logf("tenks node list: %v\n%s", err, out)
	if err != nil || !strings.Contains(out, "no peer leads") && !strings.Contains(out, "only what this host itself has") || !strings.Contains(out, own.Name) {
		t.Errorf("a read without a majority: %v: %s", err, out)
	}
	began = time.Now()
	out, err = last.tryTenks("apply", "-f", last.write("more.yml", spread("more", "", 1)))
	t.Logf("tenks apply: %v after %s\n%s", err, time.Since(began).Round(time.Second), out)
	if err == nil || !strings.Contains(out, "majority") || time.Since(began) > 30*time.Second {
		t.Errorf("a write without a majority: %v after %s: %s", err, time.Since(began), out)
	}
}
