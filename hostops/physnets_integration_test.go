package hostops

import (
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// wired makes what physnets are mapped to: eth1, br-ex, and mgmt with the host's address.
func wired(t *testing.T) {
	t.Helper()
	for _, name := range []string{"eth1", "mgmt"} {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1400, Flags: net.FlagUp}, PeerName: "far." + name, PeerMTU: 1400}))
	}
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br-ex", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}}))
	mgmt, err := netlink.LinkByName("mgmt")
	must(t, err)
	addr, err := netlink.ParseAddr("192.0.2.11/24")
	must(t, err)
	must(t, netlink.AddrAdd(mgmt, addr))
}

// What becomes of nodes whose physnet is taken out of agent.yml, and put back: they say what
// is missing, and nothing of them is touched meanwhile.
func TestIntegrationAPhysnetOfEachKindIsUnmappedUnderItsNodesAndMappedAgain(t *testing.T) {
	for name, as := range map[string]Physnet{
		"isolated": {MTU: 1300}, "interface": {Device: "eth1"}, "Linux bridge": {Device: "br-ex"}, "overlay": {VNI: 5000},
		"VLAN of an interface": {Device: "eth1", VLAN: 100}, "VLAN of a Linux bridge": {Device: "br-ex", VLAN: 100},
	} {
		t.Run(name, func(t *testing.T) {
			e, _, links := realEnv(t)
			wired(t)
			if as.VLAN != 0 {
				l, err := netlink.LinkByName("eth1")
				must(t, err)
				err = netlink.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "try", ParentIndex: l.Attrs().Index}, VlanId: 4000})
				if err != nil {
					t.Skipf("this kernel has no VLAN links: %v", err)
				}
				must(t, netlink.LinkDel(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "try"}}))
			}
			begin := func(physnets map[string]Physnet) {
				t.Helper()
				e.close()
				e.config.Physnets, e.config.VXLAN = physnets, state.Endpoint{Address: "192.0.2.11", Port: 4789}
				e.open()
				e.run()
			}
			observe := func() map[string]link.Link {
				t.Helper()
				have, err := links.Observe(t.Context())
				must(t, err)
				all := maps.Clone(have.Links)
				for name, l := range all {
					l.Offload = false // looked at only while a uplink is there
					all[name] = l
				}
				return all
			}
			passes := func() {
				t.Helper()
				before := e.host.Stats().Passes
				eventually(t, 10*time.Second, "two passes", func() bool {
					e.host.wakeSoon()
					return e.host.Stats().Passes >= before+2
				})
			}
			begin(map[string]Physnet{"p2": as})
			e.place(node("a", "p2"))
			eventually(t, 10*time.Second, "the node to be ready", func() bool { return e.allReady(1) })
			mapped := observe()

			begin(map[string]Physnet{})
			eventually(t, 10*time.Second, "the node to say what is missing", func() bool {
				h := e.node("a").Host
				return h.Phase == state.HostError && strings.Contains(h.Error, `this host does not offer physnet "p2": add it to physnets in agent.yml`)
			})
			passes()
			if d := cmp.Diff(mapped, observe()); d != "" {
				t.Errorf("links after it was unmapped (-before +after):\n%s", d)
			}
			if w := e.host.Stats(); w.LinkWrites+w.DriverWrites != 0 {
				t.Errorf("writes while it was unmapped: %+v", w)
			}

			begin(map[string]Physnet{"p2": as})
			eventually(t, 10*time.Second, "the node to be ready again", func() bool { return e.allReady(1) })
			passes()
			if d := cmp.Diff(mapped, observe()); d != "" {
				t.Errorf("links after it was mapped again (-before +after):\n%s", d)
			}
			e.removeNode("a")
			eventually(t, 10*time.Second, "nothing of ours", func() bool {
				have, err := links.Observe(t.Context())
				return err == nil && len(have.Ours()) == 0
			})
			e.close()
		})
	}
}

func TestIntegrationATrunkOfOpenVSwitchIsWhatIsDeclaredUntilOthersSetIt(t *testing.T) {
	s := newSwitchEnv(t)
	s.start(true, Physnet{})
	n := node("a", "p1")
	n.Ports[0].Trunk = "100,200"
	s.place(n)
	s.settled(1)
	trunks := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(s.vsctl("get port p-a-0-ovs trunks")); got != want {
			t.Errorf("trunks %s, want %s", got, want)
		}
	}
	trunks("[0, 100, 200]")
	s.vsctl("set port p-a-0-ovs trunks=7,8")
	s.settled(1)
	trunks("[7, 8]")
	for _, declared := range []struct{ trunk, want string }{{"300", "[0, 300]"}, {state.TrunkAll, "[]"}, {"5", "[0, 5]"}, {"", "[]"}} {
		n := s.node("a")
		ports := []state.Port{n.Ports[0]}
		ports[0].Trunk = declared.trunk
		snap, _ := s.state.Snapshot()
		c, _ := snap.Cluster("c")
		s.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Expect: c.ModifyIndex,
			Change: []state.NodeChange{{UUID: "a", Machine: n.Machine, Ports: ports}}})
		s.settled(1)
		trunks(declared.want)
	}
}
