package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/lab"
	"tenks/hostops/ovs/ovstest"
)

// userspaceAgent is an agent.yml with bridges of Open vSwitch.
const userspaceAgent = `name: hv1
advertise: %s
bridge_type: openvswitch
ovs: {datapath: netdev}
drivers: {libvirt: {domain_type: %s}}
physnets:
  physnet1: {device: br-ex}
`

// frames reports whether frames pass between two interfaces of the host, both ways.
func (h *host) frames(a, b string, within time.Duration) bool {
	h.t.Helper()
	passed := true
	err := h.InNetns(func() error {
		x, err := ovstest.OpenTap(a)
		if err != nil {
			return err
		}
		defer x.Close()
		y, err := ovstest.OpenTap(b)
		if err != nil {
			return err
		}
		defer y.Close()
		for _, way := range [][2]*ovstest.Tap{{x, y}, {y, x}} {
			ok, err := ovstest.Reaches(way[0], way[1], within)
			if err != nil {
				return err
			}
			passed = passed && ok
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return passed
}

func TestIntegrationOVSNodesOnOneUserspaceBridgeAreSwitchedAsOthersSay(t *testing.T) {
	besideOthers(t)
	lab.RequireOVS(t)
	h := newHost(t)
	sw, err := h.StartOVS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sw.Stop(); err != nil {
			t.Error(err)
		}
	}()
	vsctl := func(args string) string {
		t.Helper()
		out, err := sw.Vsctl(t.Context(), strings.Fields(args)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	records := func() []string {
		var out []string
		for _, table := range []string{"Bridge", "Port", "Interface"} {
			out = append(out, strings.Fields(vsctl("--bare --columns=name list "+table))...)
		}
		slices.Sort(out)
		return out
	}
	vsctl("add-br br-ex -- set bridge br-ex datapath_type=netdev")
	h.run("ip", "link", "add", "ex", "type", "veth", "peer", "name", "far")
	h.run("ip", "link", "set", "ex", "up")
	h.run("ip", "link", "set", "far", "up")
	vsctl("add-port br-ex ex")
	before, linksBefore := records(), h.traces().Links

	h.init(fmt.Sprintf(userspaceAgent, h.Address(), "auto"))
	if out, err := h.tryTenks("host", "check"); !strings.Contains(out, "open vswitch") {
		t.Errorf("host check is silent about Open vSwitch (%v):\n%s", err, out)
	}
	h.tenks("apply", "-f", h.write("demo.yml", spread("demo", "", 2)))
	h.waitReady(2, time.Minute)
	peers := map[string]string{}
	for _, n := range h.nodes() {
		l := n.Ports[0]
		if l.Bridge != "brtenks0" || !strings.HasSuffix(l.Link, "-ovs") || vsctl("get bridge brtenks0 other_config:hwaddr") == "" {
			t.Errorf("link of %s: %+v", n.Name, l)
		}
		peers[n.Name] = l.Link
	}
	names := []string{h.nodes()[0].Name, h.nodes()[1].Name}
	slices.Sort(names)
	tap := func(name string) string { return strings.TrimSuffix(peers[name], "-ovs") + "-tap" }
	a, b := tap(names[0]), tap(names[1])
	if !h.frames(a, b, 10*time.Second) || !h.frames(a, "far", 10*time.Second) {
		t.Fatalf("no frames between nodes that are off:\n%s", vsctl("show"))
	}
	// A guest's NIC is a macvtap on the tap.
	h.tenks("node", "power", "on", names[0])
	h.wait(30*time.Second, "the guest's NIC", func() bool {
		out, err := h.try("ip", "-d", "link", "show", "type", "macvtap")
		return err == nil && strings.Contains(out, "@"+a) && strings.Contains(out, "passthru")
	})

	vsctl("set port " + peers[names[1]] + " tag=100")
	isolated := func(when string) {
		t.Helper()
		if h.frames(b, "far", 200*time.Millisecond) {
			t.Errorf("frames pass a tag from outside %s:\n%s", when, vsctl("show"))
		}
	}
	isolated("at once")
	h.run("ip", "link", "del", b) // for the reconciler
	h.wait(10*time.Second, "the pair to be made anew", func() bool {
		_, err := h.try("ip", "link", "show", b)
		return err == nil && !strings.Contains(vsctl("--bare --columns=ofport list interface "+peers[names[1]]), "-1")
	})
	isolated("after it was mended")
	h.killAgent()
	h.startAgent()
	h.waitReady(2, time.Minute)
	isolated("after the agent's restart")
	if got := vsctl("get port " + peers[names[1]] + " tag"); got != "100" {
		t.Errorf("the tag is %s, want 100", got)
	}
	vsctl("clear port " + peers[names[1]] + " tag")
	if !h.frames(b, "far", 10*time.Second) {
		t.Errorf("no frames without the tag:\n%s", vsctl("show"))
	}

	h.tenks("destroy", "demo", "--yes")
	h.wait(time.Minute, "everything to go", func() bool { return len(h.nodes()) == 0 })
	h.wait(20*time.Second, "no record and no link to be left", func() bool {
		return cmp.Equal(before, records()) && cmp.Equal(linksBefore, h.traces().Links)
	})
}
