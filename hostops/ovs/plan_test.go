package ovs

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testMesh = "6f1c"
	testMAC  = "02:11:22:33:44:55"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func nodeMark(node string) Mark { return Mark{Role: RolePort, Node: node} }

func testBridge() Bridge {
	return Bridge{Physnet: "net", Name: "brtenks0", MAC: testMAC, Datapath: DatapathNetdev, MTU: 1400}
}

func oneNode() Want {
	return Want{Bridges: []Bridge{testBridge()}, Ports: []Port{{Name: "p-a-0-ovs", Bridge: "brtenks0", Mark: nodeMark("n1")}}}
}

func twoNodes() Want {
	want := oneNode()
	want.Ports = append(want.Ports, Port{Name: "p-b-0-ovs", Bridge: "brtenks0", Mark: nodeMark("n2")})
	return want
}

func words(steps []Step) string {
	lines := make([]string, 0, len(steps))
	for _, s := range steps {
		line := s.String()
		if s.Node != "" {
			line = s.Node + ": " + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// has is what a plan of want leads to.
func has(want Want) Have {
	have := Have{Mesh: testMesh, Bridges: map[string]HasBridge{}, Ports: map[string]HasPort{}}
	for _, b := range want.Bridges {
		have.Bridges[b.Name] = HasBridge{Name: b.Name, MAC: b.MAC, Datapath: b.Datapath, MTU: b.MTU, Mark: Mark{Role: RoleBridge, Physnet: b.Physnet}}
		have.Ports[b.Name] = HasPort{Name: b.Name, Bridge: b.Name, Kind: kindInternal, Open: true}
	}
	for _, p := range want.Ports {
		h := HasPort{Name: p.Name, Bridge: p.Bridge, Peer: p.Peer, Tag: p.Tag, Mark: p.Mark, Open: true}
		if p.Peer != "" {
			h.Kind = kindPatch
		}
		have.Ports[p.Name] = h
	}
	return have
}

func TestPlan(t *testing.T) {
	uplink := Mark{Role: RoleUplink, Physnet: "net"}
	patched := oneNode()
	patched.Ports = append(patched.Ports, Port{Name: "p-brtenks0-ovs", Bridge: "brtenks0", Peer: "p-brtenks0-phy", Mark: uplink},
		Port{Name: "p-brtenks0-phy", Bridge: "br-ex", Peer: "p-brtenks0-ovs", Mark: uplink})
	plugged := oneNode()
	plugged.Ports = append(plugged.Ports, Port{Name: "eth1", Bridge: "brtenks0", Mark: Mark{Role: RoleDevice, Physnet: "net"}})
	cases := []struct {
		name string
		want Want
		have Have
		// drift changes have.
		drift func(h *Have)
		steps string
	}{
		{name: "makes what is missing, the host's first", want: oneNode(), have: has(Want{}),
			steps: "set bridge brtenks0 netdev 02:11:22:33:44:55 MTU 1400\nn1: set port p-a-0-ovs in brtenks0"},
		{name: "leaves what is right", want: patched, have: has(patched), drift: func(h *Have) { h.Bridges["br-ex"] = HasBridge{Name: "br-ex"} }},
		{name: "does nothing where nothing is known", want: oneNode(), have: Have{Down: context.Canceled}},
		{name: "leaves a tag that somebody set on a node's port", want: oneNode(), have: has(oneNode()),
			drift: func(h *Have) { p := h.Ports["p-a-0-ovs"]; p.Tag = 100; h.Ports["p-a-0-ovs"] = p }},
		{name: "mends a tag on an uplink", want: patched, have: has(patched), drift: func(h *Have) {
			h.Bridges["br-ex"] = HasBridge{Name: "br-ex"}
			p := h.Ports["p-brtenks0-phy"]
			p.Tag = 5
			h.Ports["p-brtenks0-phy"] = p
		}, steps: "set port p-brtenks0-phy in br-ex to p-brtenks0-ovs"},
		{name: "moves a port of ours", want: oneNode(), have: has(oneNode()),
			drift: func(h *Have) { p := h.Ports["p-a-0-ovs"]; p.Bridge = "br-ex"; h.Ports["p-a-0-ovs"] = p }, steps: "n1: set port p-a-0-ovs in brtenks0"},
		{name: "closes what is made anew", want: Want{Bridges: oneNode().Bridges, Ports: oneNode().Ports, Anew: []string{"p-a-0-ovs", "p-x-0-ovs"}}, have: has(oneNode()),
			steps: "n1: close port p-a-0-ovs\nn1: set port p-a-0-ovs in brtenks0"},
		{name: "takes everything down, devices first, bridges last", want: Want{}, have: has(plugged),
			steps: "delete port eth1\nn1: delete port p-a-0-ovs\ndelete bridge brtenks0"},
		{name: "leaves a bridge that others have ports in, with what joins it to others", want: Want{}, have: has(patched), drift: func(h *Have) {
			h.Bridges["br-ex"] = HasBridge{Name: "br-ex"}
			h.Ports["vnet7"] = HasPort{Name: "vnet7", Bridge: "brtenks0"}
		}, steps: "n1: delete port p-a-0-ovs"},
		{name: "leaves the device of such a bridge", want: Want{}, have: has(plugged),
			drift: func(h *Have) { h.Ports["b0"] = HasPort{Name: "b0", Bridge: "brtenks0", Kind: "bond"} }, steps: "n1: delete port p-a-0-ovs"},
		{name: "tries again what could not be opened, but for nodes' ports", want: plugged, have: has(plugged), drift: func(h *Have) {
			for _, name := range []string{"eth1", "p-a-0-ovs"} {
				p := h.Ports[name]
				p.Error = "busy"
				h.Ports[name] = p
			}
		}, steps: "set port eth1 in brtenks0"},
		{name: "leaves a patch port until the other end is there", want: patched, have: has(patched), drift: func(h *Have) {
			h.Bridges["br-ex"] = HasBridge{Name: "br-ex"}
			p := h.Ports["p-brtenks0-ovs"]
			p.Error = "No usable peer"
			h.Ports["p-brtenks0-ovs"] = p
		}},
		{name: "keeps what cannot be decided", want: Want{Bridges: oneNode().Bridges, Ports: oneNode().Ports, Keep: []string{"eth1"}}, have: has(plugged)},
		{name: "leaves what others have", want: Want{}, have: Have{Bridges: map[string]HasBridge{"br-ex": {Name: "br-ex"}}, Ports: map[string]HasPort{"eth0": {Name: "eth0", Bridge: "br-ex"}}}},
		{name: "refuses a bridge that others have, and its ports", want: oneNode(), have: Have{Bridges: map[string]HasBridge{"brtenks0": {Name: "brtenks0"}}},
			steps: "physnet \"net\": Open vSwitch has a bridge brtenks0 that is not ours\nn1: bridge brtenks0 cannot be had"},
		{name: "adopts what others made, where it is to", want: adopting(oneNode()), have: has(oneNode()), drift: func(h *Have) {
			h.Bridges["brtenks0"] = HasBridge{Name: "brtenks0", Datapath: DatapathNetdev}
			h.Ports["p-a-0-ovs"] = HasPort{Name: "p-a-0-ovs", Bridge: "brtenks0"}
		}, steps: "set bridge brtenks0 netdev 02:11:22:33:44:55 MTU 1400\nn1: set port p-a-0-ovs in brtenks0"},
		{name: "refuses a port that others have", want: oneNode(), have: has(oneNode()),
			drift: func(h *Have) { h.Ports["p-a-0-ovs"] = HasPort{Name: "p-a-0-ovs", Bridge: "br-ex"} },
			steps: "n1: Open vSwitch has a port p-a-0-ovs in br-ex that is not ours: delete it (ovs-vsctl del-port p-a-0-ovs)"},
		{name: "says that the host's bridge is not there", want: patched, have: has(patched), drift: func(h *Have) { delete(h.Ports, "p-brtenks0-phy") },
			steps: "Open vSwitch has no bridge br-ex"},
		{name: "refuses long names", want: Want{Bridges: []Bridge{{Name: "sixteen-bytes-xx", Physnet: "net"}}}, have: has(Want{}),
			steps: "physnet \"net\": name \"sixteen-bytes-xx\" is not 1 to 15 bytes long"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.drift != nil {
				c.drift(&c.have)
			}
			if d := cmp.Diff(c.steps, words(Plan(c.want, c.have))); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}

func TestMarksAreReadAsTheyWereWritten(t *testing.T) {
	for _, m := range []Mark{{Role: RoleBridge, Physnet: "a"}, {Role: RoleUplink, Physnet: ""}, {Role: RoleDevice, Physnet: "ü:1"}, {Role: RolePort, Node: "n", Index: 12}} {
		ids := m.externalIDs(testMesh)
		ids["iface-id"] = "theirs"
		if got := parseMark(testMesh, ids); got != m {
			t.Errorf("%+v was read as %+v", m, got)
		}
		if got := parseMark("other", ids); got != (Mark{}) {
			t.Errorf("another mesh's %+v is ours: %+v", m, got)
		}
	}
	for _, ids := range []map[string]string{nil, {keyMesh: testMesh}, {keyMesh: testMesh, keyRole: "new"}, {keyMesh: testMesh, keyRole: "port", keyNode: "n", keyIndex: "-1"},
		{keyMesh: testMesh, keyRole: "port", keyIndex: "1"}} {
		if got := parseMark(testMesh, ids); got != (Mark{}) {
			t.Errorf("%v is %+v", ids, got)
		}
	}
}

func adopting(w Want) Want {
	for i := range w.Bridges {
		w.Bridges[i].Adopt = true
	}
	for i := range w.Ports {
		w.Ports[i].Adopt = true
	}
	return w
}
