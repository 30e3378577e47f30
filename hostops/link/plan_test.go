package link

import (
	"fmt"
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
	h := Have{Mesh: testMesh, Links: map[string]Link{"lo": {Name: "lo", Kind: "device", MTU: 65536, Up: true}}}
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
	cases := []struct {
		name string
		want Want
		have Have
		plan string
	}{
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
		{"moves a device to another physnet's bridge", Want{Bridges: []Bridge{
			{Physnet: "net", Name: "brtenks0"}, {Physnet: "two", Name: "brtenks1", Device: "eth1"}}}, after(toDevice, host(device("eth1"))),
			"release eth1 brtenks0\nmark brtenks0 tenks:6f1c:bridge:net\nset mtu brtenks0 1500\ncreate bridge brtenks1\nplug in eth1 brtenks1\n"},
		{"follows the device's MTU", toDevice,
			change(after(toDevice, host(device("eth1"))), "eth1", func(l *Link) { l.MTU = 1400 }), "set mtu brtenks0 1400\n"},
		{"removes the pair of a bridge that is no longer mapped", isolated, after(toBridge, host(foreignBridge("br-ex"))),
			"set mtu brtenks0 1500\ndelete p-brtenks0-br\n"},
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
		w.Bridges = append(w.Bridges, Bridge{
			Physnet: rapid.SampledFrom([]string{"net", "two", "a:b"}).Draw(t, "physnet"),
			Name:    BridgeName(rapid.IntRange(0, i+1).Draw(t, "bridge")),
			Device:  rapid.SampledFrom(devices).Draw(t, "device"),
		})
	}
	for range rapid.IntRange(0, 5).Draw(t, label+" ports") {
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node")
		w.Ports = append(w.Ports, testPort("uuid-"+name+rapid.SampledFrom([]string{"", "x"}).Draw(t, "uuid"), name,
			rapid.IntRange(0, 2).Draw(t, "index"), BridgeName(rapid.IntRange(0, 2).Draw(t, "in"))))
	}
	return w
}

// drawHave draws a host: what some declaration led to, some of it broken since, and
// foreign links.
func drawHave(t *rapid.T) Have {
	h := host(device("eth1"), device("eth2"), foreignBridge("br-ex"))
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"brtenks0", "brtenks1", "p-a-0-br", "p-a-0-tap", "p-b-1-tap"}), 0, 2, rapid.ID).Draw(t, "foreign") {
		h.Links[name] = device(name)
	}
	h = after(drawWant(t, "old"), h)
	for _, name := range h.Ours() {
		m := newModel(h)
		l := h.Links[name]
		switch rapid.SampledFrom([]string{"", "", "", "delete", "down", "out", "mac", "mtu", "unmarked"}).Draw(t, "drift of "+name) {
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
