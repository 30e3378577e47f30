package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const testMesh = "6f1c"

func device(name string) Link {
	return Link{Name: name, Kind: "device", MAC: "02:00:00:00:00:01", MTU: 9000, Up: true}
}

func foreignBridge(name string) Link {
	return Link{Name: name, Kind: kindBridge, MAC: "02:00:00:00:00:02", MTU: 1450, Up: true}
}

func host(links ...Link) Have {
	h := Have{Mesh: testMesh, Addresses: map[string][]netip.Prefix{
		"mgmt": {netip.MustParsePrefix("192.0.2.11/24"), netip.MustParsePrefix("2001:db8::11/64")}}, Links: map[string]Link{"lo": {Name: "lo", Kind: "device", MTU: 65536, Up: true}}}
	for _, l := range links {
		h.Links[l.Name] = l
	}
	return h
}

func testPort(node string, link string, i int, bridge string) Port {
	return Port{Node: node, Index: i, Tap: TapName(link, i), Peer: PeerName(link, i),
		MAC: fmt.Sprintf("52:54:00:00:%02x:%02x", len(link), i), Bridge: bridge}
}

// after is what have becomes once the plan for want was carried out.
func after(want Want, have Have) Have {
	m := newModel(have)
	m.applyAll(Plan(want, have))
	return m.have
}

func words(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		if s.Node != "" {
			b.WriteString(s.Node + ": ")
		}
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	isolated := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0"}}}
	onePort := Want{Bridges: isolated.Bridges, Ports: []Port{testPort("n1", "a", 0, "brtenks0")}}
	toDevice := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "eth1"}}}
	toBridge := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "br-ex"}}}
	tagged := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "eth1", VLAN: 100}}}
	access := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "br-ex", VLAN: 100}}}
	filters := foreignBridge("br-ex")
	filters.Filters = true
	overlaid := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Overlay: &Overlay{VNI: 5000, Local: "192.0.2.11", Port: 4789,
		Remotes: []Remote{{"192.0.2.13", 4790}, {"192.0.2.12", 4789}}}}}}
	born := func(name, peer, mac string) Link {
		return Link{Name: name, Kind: kindVeth, MAC: mac, MTU: 1500, Peer: peer, Mark: Mark{Role: RoleUnknown}, Unmarked: true}
	}
	change := func(h Have, name string, f func(*Link)) Have {
		m := newModel(h)
		l := m.have.Links[name]
		f(&l)
		m.have.Links[name] = l
		return m.have
	}
	without := func(h Have, name string) Have {
		m := newModel(h)
		m.delete(h.Links[name])
		return m.have
	}
	onSwitch := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Switch: true, Userspace: true}}, Ports: []Port{testPort("n1", "a", 0, "brtenks0")}}
	onSwitch.Ports[0].Peer = onSwitch.Bridges[0].PeerName("a", 0)
	switched := func(h Have) Have { // by package ovs
		m := newModel(h)
		m.have.Links["brtenks0"] = Link{Name: "brtenks0", Kind: KindSwitch, MTU: 1500, Mark: Mark{Role: RoleBridge, Physnet: "net"}}
		return m.have
	}
	cases := []struct {
		name string
		want Want
		have Have
		plan string
	}{
		{"leaves bridges of Open vSwitch to others", onSwitch, host(), "n1: create pair p-a-0-ovs–p-a-0-tap in brtenks0\n"},
		{"leaves what is on one", onSwitch, switched(after(onSwitch, host())), ""},
		{"has checksums completed on one in userspace", onSwitch, change(switched(after(onSwitch, host())), "p-a-0-tap", func(l *Link) { l.Offload = true }),
			"n1: complete checksums p-a-0-tap\n"},
		{"renames the switch side for a bridge of Open vSwitch, whose name it clears", onSwitch, after(onePort, host()),
			"delete brtenks0\nn1: rename p-a-0-br to p-a-0-ovs\nn1: set mac p-a-0-ovs " + birthMAC(testMesh, "p-a-0-ovs") + "\n"},
		{"renames it back", onePort, switched(after(onSwitch, host())),
			"create bridge brtenks0\nn1: rename p-a-0-ovs to p-a-0-br\nn1: join p-a-0-br brtenks0\nn1: set mac p-a-0-br " + birthMAC(testMesh, "p-a-0-br") + "\n"},
		{"leaves a bridge of Open vSwitch that is not wanted", Want{}, switched(host()), ""},
		{"refuses a device that Open vSwitch has while that does not answer", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "br-ex"}}},
			host(Link{Name: "br-ex", Kind: KindSwitch, MTU: 1500}), "create bridge brtenks0\nphysnet \"net\": device br-ex is a bridge of Open vSwitch, which does not answer\n"},
		{"makes an isolated bridge", isolated, host(), "create bridge brtenks0\n"},
		{"makes a port after its bridge", onePort, host(),
			"create bridge brtenks0\nn1: create pair p-a-0-br–p-a-0-tap in brtenks0\n"},
		{"does nothing when all is there", onePort, after(onePort, host()), ""},
		{"plugs a device in and marks it first", toDevice, host(device("eth1")),
			"create bridge brtenks0\nplug in eth1 brtenks0\n"},
		{"joins a Linux bridge by a pair", toBridge, host(foreignBridge("br-ex")),
			"create bridge brtenks0\ncreate pair p-brtenks0-br–p-brtenks0-phy in brtenks0\n"},
		{"says that a device is missing, and makes the bridge anyway", toDevice, host(),
			"create bridge brtenks0\nphysnet \"net\": device eth1 does not exist\n"},
		{"keeps the MTU while the device is missing", toDevice, without(after(toDevice, host(device("eth1"))), "eth1"),
			"mark brtenks0 tenks:6f1c:bridge:net\nphysnet \"net\": device eth1 does not exist\n"},
		{"keeps the pair while the other bridge is missing", toBridge, without(after(toBridge, host(foreignBridge("br-ex"))), "br-ex"),
			"physnet \"net\": device br-ex does not exist\n"},
		{"leaves a device in somebody's bridge", toDevice,
			host(Link{Name: "eth1", MTU: 1500, Master: "br-ex"}, foreignBridge("br-ex")),
			"create bridge brtenks0\nphysnet \"net\": device eth1 is in br-ex, which is not ours\n"},
		{"refuses one device for two physnets", Want{Bridges: []Bridge{
			{Physnet: "net", Name: "brtenks0", Device: "eth1"}, {Physnet: "two", Name: "brtenks1", Device: "eth1"}}}, host(device("eth1")),
			"create bridge brtenks0\nplug in eth1 brtenks0\ncreate bridge brtenks1\nphysnet \"two\": device eth1 is mapped to physnet \"net\" already\n"},
		{"never touches a foreign bridge", onePort, host(foreignBridge("brtenks0")),
			"physnet \"net\": interface brtenks0 exists and is not ours\nn1: port 0: interface brtenks0 exists and is not ours\n"},
		{"never touches a foreign port", onePort, host(device("p-a-0-tap")),
			"create bridge brtenks0\nn1: interface p-a-0-tap exists and is not ours\n"},
		{"puts a port back into its bridge", onePort,
			change(after(onePort, host()), "p-a-0-br", func(l *Link) { l.Master = "" }), "n1: join p-a-0-br brtenks0\n"},
		{"sets up what was set down", onePort,
			change(after(onePort, host()), "p-a-0-tap", func(l *Link) { l.Up = false }), "n1: set up p-a-0-tap\n"},
		{"sets the node's address", onePort,
			change(after(onePort, host()), "p-a-0-tap", func(l *Link) { l.MAC = "02:00:00:00:00:09" }),
			"n1: set mac p-a-0-tap 52:54:00:00:01:00\n"},
		{"makes a deleted bridge and joins its ports", onePort, without(after(onePort, host()), "brtenks0"),
			"create bridge brtenks0\nn1: join p-a-0-br brtenks0\n"},
		{"completes a pair that was made and not marked", onePort,
			func() Have {
				h := after(isolated, host())
				h.Links["p-a-0-br"] = born("p-a-0-br", "p-a-0-tap", birthMAC(testMesh, "p-a-0-br"))
				h.Links["p-a-0-tap"] = born("p-a-0-tap", "p-a-0-br", "52:54:00:00:01:00")
				return h
			}(),
			"n1: mark p-a-0-tap tenks:6f1c:port:n1:0\nn1: mark p-a-0-br tenks:6f1c:port:n1:0\n" +
				"n1: join p-a-0-br brtenks0\nn1: set up p-a-0-tap\nn1: set up p-a-0-br\n"},
		{"deletes a pair that was made, not marked and is not wanted", isolated,
			func() Have {
				h := after(isolated, host())
				h.Links["p-a-0-br"] = born("p-a-0-br", "p-a-0-tap", birthMAC(testMesh, "p-a-0-br"))
				h.Links["p-a-0-tap"] = born("p-a-0-tap", "p-a-0-br", "52:54:00:00:01:00")
				return h
			}(), "delete p-a-0-br\n"},
		{"replaces a pair of another node", onePort,
			after(Want{Bridges: isolated.Bridges, Ports: []Port{testPort("n0", "a", 0, "brtenks0")}}, host()),
			"n1: delete p-a-0-br\nn1: create pair p-a-0-br–p-a-0-tap in brtenks0\n"},
		{"deletes ports before bridges", Want{}, after(onePort, host()),
			"n1: delete p-a-0-br\ndelete brtenks0\n"},
		{"releases a device before it deletes its bridge", Want{}, after(toDevice, host(device("eth1"))),
			"release eth1 brtenks0\ndelete brtenks0\n"},
		{"releases a device that is no longer mapped", isolated, after(toDevice, host(device("eth1"))),
			"release eth1 brtenks0\nmark brtenks0 tenks:6f1c:bridge:net\nset mtu brtenks0 1500\n"},
		{"leaves what others put into a bridge of ours", isolated,
			func() Have {
				h := after(isolated, host())
				h.Links["vnet7"] = Link{Name: "vnet7", Kind: "tuntap", Master: "brtenks0"}
				return h
			}(), ""},
		{"leaves a bridge that nobody wants while a guest of others is in it, with its pair", Want{},
			func() Have {
				h := after(toBridge, host(foreignBridge("br-ex")))
				h.Links["vnet7"] = Link{Name: "vnet7", Kind: "tuntap", Master: "brtenks0"}
				return h
			}(), ""},
		{"moves a device to another physnet's bridge", Want{Bridges: []Bridge{
			{Physnet: "net", Name: "brtenks0"}, {Physnet: "two", Name: "brtenks1", Device: "eth1"}}}, after(toDevice, host(device("eth1"))),
			"release eth1 brtenks0\nmark brtenks0 tenks:6f1c:bridge:net\nset mtu brtenks0 1500\ncreate bridge brtenks1\nplug in eth1 brtenks1\n"},
		{"follows the device's MTU", toDevice,
			change(after(toDevice, host(device("eth1"))), "eth1", func(l *Link) { l.MTU = 1400 }), "set mtu brtenks0 1400\n"},
		{"removes the pair of a bridge that is no longer mapped", isolated, after(toBridge, host(foreignBridge("br-ex"))),
			"set mtu brtenks0 1500\ndelete p-brtenks0-br\n"},
		{"makes a VLAN link of a device, which stays in use", tagged, host(device("eth1")),
			"create bridge brtenks0\ncreate vlan eth1.100 of eth1 in brtenks0\n"},
		{"sets a device up that a VLAN is taken of", tagged, change(host(device("eth1")), "eth1", func(l *Link) { l.Up = false }),
			"create bridge brtenks0\nset up eth1\ncreate vlan eth1.100 of eth1 in brtenks0\n"},
		{"takes the VLAN of a Linux bridge on top of it", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "br-ex", VLAN: 100}}}, host(foreignBridge("br-ex")),
			"create bridge brtenks0\ncreate vlan br-ex.100 of br-ex in brtenks0\n"},
		{"takes the VLAN of a bridge that filters by an access port", access, host(filters),
			"create bridge brtenks0\ncreate pair p-brtenks0-br–p-brtenks0-phy in brtenks0\n"},
		{"puts an access port back into its VLAN", access, change(after(access, host(filters)), "p-brtenks0-phy", func(l *Link) { l.VLAN = 1 }),
			"set vlan p-brtenks0-phy 100\n"},
		{"makes an access port anew that was taken out", access, change(after(access, host(filters)), "p-brtenks0-phy", func(l *Link) { l.Master = "" }),
			"delete p-brtenks0-br\ncreate pair p-brtenks0-br–p-brtenks0-phy in brtenks0\n"},
		{"follows a bridge that begins to filter", access, change(after(access, host(foreignBridge("br-ex"))), "br-ex", func(l *Link) { l.Filters = true }),
			"create pair p-brtenks0-br–p-brtenks0-phy in brtenks0\ndelete br-ex.100\n"},
		{"has several physnets on one device", Want{Bridges: []Bridge{
			{Physnet: "net", Name: "brtenks0", Device: "eth1"}, {Physnet: "two", Name: "brtenks1", Device: "eth1", VLAN: 100}, {Physnet: "three", Name: "brtenks2", Device: "eth1", VLAN: 200}}}, host(device("eth1")),
			"create bridge brtenks0\nplug in eth1 brtenks0\ncreate bridge brtenks1\ncreate vlan eth1.100 of eth1 in brtenks1\ncreate bridge brtenks2\ncreate vlan eth1.200 of eth1 in brtenks2\n"},
		{"refuses a VLAN that the host has a link of", tagged,
			host(device("eth1"), Link{Name: "storage", Kind: kindVLAN, Parent: "eth1", VLAN: 100, MTU: 1500, Up: true}),
			"create bridge brtenks0\nphysnet \"net\": the host has a link of VLAN 100 of eth1, storage: map that as device, without vlan\n"},
		{"refuses the name of somebody's link", tagged, host(device("eth1"), device("eth1.100")),
			"create bridge brtenks0\nphysnet \"net\": interface eth1.100 exists and is not ours\n"},
		{"makes a VLAN link anew that went with its device", tagged, func() Have {
			h := without(after(tagged, host(device("eth1"))), "eth1")
			h.Links["eth1"] = device("eth1")
			return h
		}(), "create vlan eth1.100 of eth1 in brtenks0\n"},
		{"takes another VLAN", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "eth1", VLAN: 200}}}, after(tagged, host(device("eth1"))),
			"create vlan eth1.200 of eth1 in brtenks0\ndelete eth1.100\n"},
		{"leaves a device that is no longer tagged to the untagged frames", toDevice, after(tagged, host(device("eth1"))),
			"mark brtenks0 tenks:6f1c:bridge:net:eth1\nplug in eth1 brtenks0\ndelete eth1.100\n"},
		{"makes an overlay and tells it whom to send to", overlaid, host(device("mgmt")),
			"create bridge brtenks0\ncreate vxlan x-brtenks0 VNI 5000 from 192.0.2.11:4789 in brtenks0\nadd remote x-brtenks0 192.0.2.12:4789\nadd remote x-brtenks0 192.0.2.13:4790\n"},
		{"follows the peers of an overlay", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Overlay: &Overlay{VNI: 5000, Local: "192.0.2.11", Port: 4789,
			Remotes: []Remote{{"192.0.2.13", 4790}, {"192.0.2.14", 4789}}}}}}, after(overlaid, host(device("mgmt"))),
			"drop remote x-brtenks0 192.0.2.12:4789\nadd remote x-brtenks0 192.0.2.14:4789\n"},
		{"makes an overlay anew for another VNI", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Overlay: &Overlay{VNI: 5001, Local: "192.0.2.11", Port: 4789}}}},
			after(overlaid, host(device("mgmt"))), "delete x-brtenks0\ncreate vxlan x-brtenks0 VNI 5001 from 192.0.2.11:4789 in brtenks0\n"},
		{"gives a VNI to another physnet", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0"}, {Physnet: "two", Name: "brtenks1", Overlay: &Overlay{VNI: 5000, Local: "192.0.2.11", Port: 4789}}}},
			after(overlaid, host(device("mgmt"))), "set mtu brtenks0 1500\ncreate bridge brtenks1\ndelete x-brtenks0\ncreate vxlan x-brtenks1 VNI 5000 from 192.0.2.11:4789 in brtenks1\n"},
		{"refuses an overlay that ends at another host's address", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Overlay: &Overlay{VNI: 5000, Local: "192.0.2.99", Port: 4789}}}}, host(device("mgmt")),
			"create bridge brtenks0\nphysnet \"net\": this host has no address 192.0.2.99, where its overlays are to end: set vxlan.address in agent.yml\n"},
		{"keeps an overlay whose address is gone for a moment", overlaid, func() Have {
			h := after(overlaid, host(device("mgmt")))
			h.Addresses = nil
			return h
		}(), "physnet \"net\": this host has no address 192.0.2.11, where its overlays are to end: set vxlan.address in agent.yml\n"},
		{"says that a declared MTU is more than the device's", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "br-ex", MTU: 9000}}}, host(foreignBridge("br-ex")),
			"create bridge brtenks0\ncreate pair p-brtenks0-br–p-brtenks0-phy in brtenks0\nphysnet \"net\": mtu: 9000 is more than the 1450 of br-ex: raise that, or lower mtu in agent.yml\n"},
		{"has names for many bridges", Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks1000", Device: "br-ex"}}}, host(foreignBridge("br-ex")),
			"create bridge brtenks1000\ncreate pair p-brt1000-br–p-brt1000-phy in brtenks1000\n"},
		{"refuses a name that is too long", Want{Bridges: isolated.Bridges, Ports: []Port{testPort("n1", "toolong7", 0, "brtenks0")}}, host(),
			"create bridge brtenks0\nn1: interface name \"p-toolong7-0-tap\" is not 1 to 15 bytes long\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.plan, words(Plan(c.want, c.have))); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}

// drawWant draws a declaration, now and then with a name twice or a bridge missing.
func drawWant(t *rapid.T, label string) Want {
	var w Want
	devices := []string{"", "eth1", "eth2", "br-ex", "gone0", "brtenks1"}
	for i := range rapid.IntRange(0, 3).Draw(t, label+" bridges") {
		b := Bridge{
			Physnet: rapid.SampledFrom([]string{"net", "two", "a:b"}).Draw(t, "physnet"),
			Name:    BridgeName(rapid.IntRange(0, i+1).Draw(t, "bridge")),
			Device:  rapid.SampledFrom(devices).Draw(t, "device"),
			MTU:     rapid.SampledFrom([]int{0, 0, 1400, 9500}).Draw(t, "mtu"),
		}
		switch {
		case b.Device != "":
			b.VLAN = rapid.SampledFrom([]int{0, 0, 100, 200}).Draw(t, "vlan")
		case rapid.Bool().Draw(t, "overlay"):
			b.Overlay = drawOverlay(t)
		}
		w.Bridges = append(w.Bridges, b)
	}
	for range rapid.IntRange(0, 5).Draw(t, label+" ports") {
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node")
		w.Ports = append(w.Ports, testPort("uuid-"+name+rapid.SampledFrom([]string{"", "x"}).Draw(t, "uuid"), name,
			rapid.IntRange(0, 2).Draw(t, "index"), BridgeName(rapid.IntRange(0, 2).Draw(t, "in"))))
	}
	return w
}

func drawOverlay(t *rapid.T) *Overlay {
	o := &Overlay{VNI: rapid.IntRange(1, 2).Draw(t, "vni"), Port: 4789,
		Local: rapid.SampledFrom([]string{"192.0.2.11", "2001:db8::11", "192.0.2.99"}).Draw(t, "local")}
	for _, address := range rapid.SliceOfN(rapid.SampledFrom([]string{"192.0.2.12", "192.0.2.13"}), 0, 3).Draw(t, "remotes") {
		o.Remotes = append(o.Remotes, Remote{address, 4789})
	}
	return o
}

// drawHave draws a host: what some declaration led to, some of it broken since, and
// foreign links.
func drawHave(t *rapid.T) Have {
	filtering := foreignBridge("br-ex")
	filtering.Filters = rapid.Bool().Draw(t, "br-ex filters VLANs")
	h := host(device("eth1"), device("eth2"), device("mgmt"), filtering)
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"brtenks0", "brtenks1", "p-a-0-br", "p-a-0-tap", "p-b-1-tap"}), 0, 2, rapid.ID).Draw(t, "foreign") {
		h.Links[name] = device(name)
	}
	h = after(drawWant(t, "old"), h)
	for _, name := range h.Ours() {
		m := newModel(h)
		l := h.Links[name]
		switch rapid.SampledFrom([]string{"", "", "", "delete", "down", "out", "mac", "mtu", "unmarked", "vlan", "remote"}).Draw(t, "drift of "+name) {
		case "delete":
			m.delete(l)
			h = m.have
			continue
		case "down":
			l.Up = false
		case "out":
			l.Master = ""
		case "mac":
			l.MAC = "02:00:00:00:00:09"
		case "mtu":
			l.MTU = 1300
		case "vlan":
			if l.Mark.Role == RoleUplink && l.Mark.VLAN != 0 && strings.HasSuffix(name, "-phy") {
				l.VLAN = 1
			}
		case "remote":
			if l.Kind == kindVXLAN {
				o := *l.Overlay
				o.Remotes = []Remote{{"192.0.2.66", 4789}}
				l.Overlay = &o
			}
		case "unmarked":
			if l.Kind == kindBridge { // it was just made: nothing is in it
				m.delete(l)
				h = m.have
				l.Mark = Mark{Role: RoleUnknown}
				h.Links[name] = l
			}
			l.Unmarked = true
		}
		if _, ok := h.Links[name]; ok {
			h.Links[name] = l
		}
	}
	return h
}

func TestPlanOfWhatAPlanLedToIsEmptyButForConflicts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawHave(t), drawWant(t, "new")
		plan := Plan(want, have)
		m := newModel(have)
		conflicts := m.applyAll(plan)
		again := Plan(want, m.have)
		if d := cmp.Diff(subjects(conflicts), subjects(again)); d != "" {
			t.Fatalf("plan:\n%ssecond plan (-conflicts +got):\n%s", words(plan), d)
		}
	})
}

// subjects are what steps are about. The reason of a conflict may change with what
// the plan made meanwhile.
func subjects(steps []Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, fmt.Sprintf("%s %s %s", s.Node, s.Op, s.Link))
	}
	slices.Sort(out)
	return out
}

func TestPlanAppliedTwiceIsPlanAppliedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawHave(t), drawWant(t, "new")
		once := after(want, have)
		if d := cmp.Diff(once.Links, after(want, once).Links); d != "" {
			t.Fatalf("second application (-once +twice):\n%s", d)
		}
	})
}

func TestPlanConvergesFromAnyPrefixOfAPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawHave(t), drawWant(t, "new")
		plan := Plan(want, have)
		m := newModel(have)
		m.applyAll(plan[:rapid.IntRange(0, len(plan)).Draw(t, "killed after")])
		if d := cmp.Diff(after(want, have).Links, after(want, m.have).Links); d != "" {
			t.Fatalf("plan:\n%sresult (-uninterrupted +interrupted):\n%s", words(plan), d)
		}
	})
}

func TestPlanNeverTouchesForeignLinksButMappedDevices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawHave(t), drawWant(t, "new")
		got := after(want, have)
		mapped := map[string]bool{}
		for _, b := range want.Bridges {
			mapped[b.Device] = true
		}
		for _, l := range have.Links {
			mapped[l.Mark.Device] = true
		}
		for _, name := range have.Foreign() {
			was, is := have.Links[name], got.Links[name]
			if mapped[name] {
				if was.Up && !is.Up {
					t.Fatalf("%s was set down", name)
				}
				is.Master, is.Up = was.Master, was.Up
			}
			if d := cmp.Diff(was, is); d != "" {
				t.Fatalf("%s changed (-was +is):\n%s", name, d)
			}
		}
		for _, s := range Plan(want, have) {
			if have.Taken(s.Link) && !slices.Contains([]Op{OpConflict, OpPlug, OpRelease}, s.Op) && !(s.Op == OpUp && mapped[s.Link]) {
				t.Fatalf("step on a foreign link: %s", s)
			}
		}
	})
}

func TestPlanToNothingLeavesNothingOfOurs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := drawHave(t)
		if left := after(Want{}, have).Ours(); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	})
}

func TestPlanIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawHave(t), drawWant(t, "new")
		first := words(Plan(want, have))
		for range 3 {
			if d := cmp.Diff(first, words(Plan(want, have))); d != "" {
				t.Fatal(d)
			}
		}
	})
}

func TestStepsOfDifferentNodesConcernDifferentLinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawHave(t), drawWant(t, "new")
		owner := map[string]string{}
		for node, steps := range Batch(Plan(want, have)).Nodes {
			for _, s := range steps {
				if o, ok := owner[s.Link]; ok && o != node && s.Op != OpConflict {
					t.Fatalf("%s belongs to %s and %s", s.Link, o, node)
				}
				if s.Op != OpConflict {
					owner[s.Link] = node
				}
			}
		}
	})
}
