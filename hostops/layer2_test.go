package hostops

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/raftfsm/state"
)

// inOrder is a plan in words, one step a line.
func inOrder(b layerBatches) string {
	var lines []string
	add := func(steps []layerStep) {
		for _, s := range steps {
			lines = append(lines, s.String())
		}
	}
	add(b.before)
	for _, node := range slices.Sorted(maps.Keys(b.nodes)) {
		add(b.nodes[node])
	}
	add(b.after)
	return strings.Join(lines, "\n")
}

// switchHost is a host with a device of each kind.
func switchHost() have {
	h := have{links: link.Have{Mesh: mesh, Links: map[string]link.Link{
		"eth1":   {Name: "eth1", Kind: "device", MTU: 1500, Up: true},
		"br-lin": {Name: "br-lin", Kind: "bridge", MTU: 1500, Up: true},
		"br-ovs": {Name: "br-ovs", Kind: "tuntap", MTU: 1400},
	}}}
	h.switches = ovs.Have{Mesh: mesh, Bridges: map[string]ovs.HasBridge{"br-ovs": {Name: "br-ovs", Datapath: ovs.DatapathNetdev}}, Ports: map[string]ovs.HasPort{}}
	return h
}

func TestLinksAndOpenVSwitchArePlannedInOneOrder(t *testing.T) {
	mac := link.BridgeMAC(mesh, "p1")
	port := func(suffix string) link.Port {
		return link.Port{Node: "n", Tap: "p-n-0-tap", Peer: "p-n-0" + suffix, MAC: "52:54:00:00:00:01", Bridge: "brtenks0"}
	}
	linux, own := link.Bridge{Physnet: "p1", Name: "brtenks0"}, link.Bridge{Physnet: "p1", Name: "brtenks0", Switch: true}
	adopted := own
	adopted.Adopt = true
	on := func(b link.Bridge, device string, vlan int) link.Bridge {
		b.Device, b.VLAN = device, vlan
		return b
	}
	for _, c := range []struct {
		name     string
		bridge   link.Bridge
		datapath string
		change   func(h *have)
		want     string
	}{
		{name: "an isolated bridge", bridge: own, want: "set bridge brtenks0 netdev " + mac + ` MTU 1500
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "an interface becomes a port once the host may lose it", bridge: on(own, "eth1", 0), want: "set bridge brtenks0 netdev " + mac + ` MTU 1500
plug in eth1 brtenks0, set port eth1 in brtenks0
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a bridge of the same datapath is patched", bridge: on(own, "br-ovs", 30), want: "set bridge brtenks0 netdev " + mac + ` MTU 1400
set port p-brtenks0-ovs in brtenks0 to p-brtenks0-phy
set port p-brtenks0-phy in br-ovs to p-brtenks0-ovs VLAN 30
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "one of another datapath is joined by a pair", bridge: on(own, "br-ovs", 0), datapath: ovs.DatapathSystem,
			want: "create pair p-brtenks0-ovs–p-brtenks0-phy in brtenks0\nset bridge brtenks0 system " + mac + ` MTU 1400
set port p-brtenks0-ovs in brtenks0
set port p-brtenks0-phy in br-ovs
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a Linux bridge is joined by a pair", bridge: on(own, "br-lin", 0), want: "create pair p-brtenks0-ovs–p-brtenks0-phy in brtenks0\nset bridge brtenks0 netdev " + mac + ` MTU 1500
set port p-brtenks0-ovs in brtenks0
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a Linux bridge of ours and a bridge of Open vSwitch", bridge: on(linux, "br-ovs", 7), want: `create bridge brtenks0
create pair p-brtenks0-br–p-brtenks0-phy in brtenks0
set port p-brtenks0-phy in br-ovs VLAN 7
create pair p-n-0-br–p-n-0-tap in brtenks0`},
		{name: "the VLAN link of an interface is a port", bridge: on(own, "eth1", 5), want: "create vlan eth1.5 of eth1 in brtenks0\nset bridge brtenks0 netdev " + mac + ` MTU 1500
set port eth1.5 in brtenks0
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a device that is missing keeps what joined it", bridge: on(own, "eth9", 0), change: func(h *have) {
			h.switches.Ports["eth9"] = ovs.HasPort{Name: "eth9", Bridge: "brtenks0", Mark: ovs.Mark{Role: ovs.RoleDevice, Physnet: "p1"}}
		}, want: "physnet \"p1\": device eth9 does not exist\nset bridge brtenks0 netdev " + mac + ` MTU 1500
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a port whose pair is made anew is closed meanwhile", bridge: own, change: func(h *have) {
			h.switches.Bridges["brtenks0"] = ovs.HasBridge{Name: "brtenks0", MAC: mac, Datapath: ovs.DatapathNetdev, MTU: 1500, Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}
			h.switches.Ports["p-n-0-ovs"] = ovs.HasPort{Name: "p-n-0-ovs", Bridge: "brtenks0", Mark: ovs.Mark{Role: ovs.RolePort, Node: "n"}}
		}, want: `close port p-n-0-ovs
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a VLAN's link that is made anew is closed meanwhile", bridge: on(own, "eth1", 5), change: func(h *have) {
			h.switches.Bridges["brtenks0"] = ovs.HasBridge{Name: "brtenks0", MAC: mac, Datapath: ovs.DatapathNetdev, MTU: 1500, Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}
			h.switches.Ports["eth1.5"] = ovs.HasPort{Name: "eth1.5", Bridge: "brtenks0", Mark: ovs.Mark{Role: ovs.RoleUplink, Physnet: "p1"}}
		}, want: `close port eth1.5
create vlan eth1.5 of eth1 in brtenks0
set port eth1.5 in brtenks0
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a bridge gives its name to a Linux bridge first", bridge: linux, change: func(h *have) {
			h.links.Links["brtenks0"] = link.Link{Name: "brtenks0", Kind: "tuntap", MTU: 1500}
			h.switches.Bridges["brtenks0"] = ovs.HasBridge{Name: "brtenks0", MAC: mac, Datapath: ovs.DatapathNetdev, MTU: 1500, Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}
		}, want: `delete bridge brtenks0
create bridge brtenks0
create pair p-n-0-br–p-n-0-tap in brtenks0`},
		{name: "a bridge that is taken over keeps its datapath", bridge: adopted, change: func(h *have) {
			h.links.Links["brtenks0"] = link.Link{Name: "brtenks0", Kind: "openvswitch", MTU: 1500}
			h.switches.Bridges["brtenks0"] = ovs.HasBridge{Name: "brtenks0", Datapath: ovs.DatapathSystem}
		}, want: "set bridge brtenks0 system " + mac + ` MTU 1500
create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "a bridge that others have ports in keeps its type", bridge: linux, change: func(h *have) {
			h.links.Links["brtenks0"] = link.Link{Name: "brtenks0", Kind: "tuntap", MTU: 1500}
			h.switches.Bridges["brtenks0"] = ovs.HasBridge{Name: "brtenks0", MAC: mac, Datapath: ovs.DatapathNetdev, MTU: 1500, Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}
			h.switches.Ports["vnet7"] = ovs.HasPort{Name: "vnet7", Bridge: "brtenks0"}
		}, want: `create pair p-n-0-ovs–p-n-0-tap in brtenks0
set port p-n-0-ovs in brtenks0`},
		{name: "an interface is left alone while nothing can be known", bridge: on(own, "eth1", 0), change: func(h *have) { h.switches = ovs.Have{Down: errors.New("down")} },
			want: "create pair p-n-0-ovs–p-n-0-tap in brtenks0"},
		{name: "what cannot be known is not touched", bridge: own, change: func(h *have) { h.switches = ovs.Have{Down: errors.New("down")} },
			want: "create pair p-n-0-ovs–p-n-0-tap in brtenks0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, datapath := switchHost(), ovs.DatapathNetdev
			if c.datapath != "" {
				datapath = c.datapath
			}
			if c.change != nil {
				c.change(&h)
			}
			h.links = annotated(h.links, h.switches, nil)
			c.bridge.Switch = h.ofSwitch(c.bridge.Name, c.bridge.Switch)
			b := h.joint(c.bridge, datapath)
			suffix := "-br"
			if b.Switch {
				suffix = "-ovs"
			}
			got := inOrder(layered(link.Want{Bridges: []link.Bridge{b}, Ports: []link.Port{port(suffix)}}, h))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}

func TestAConflictOfOneVLANHoldsUpNoOtherOfTheDevice(t *testing.T) {
	h := switchHost()
	h.links.Links["own5"] = link.Link{Name: "own5", Kind: "vlan", Parent: "eth1", VLAN: 5, MTU: 1500}
	h.links = annotated(h.links, h.switches, nil)
	want := link.Want{}
	for i, physnet := range []string{"p1", "p2"} {
		want.Bridges = append(want.Bridges, h.joint(link.Bridge{Physnet: physnet, Name: link.BridgeName(i), Device: "eth1", VLAN: 5 + i, Switch: true}, ovs.DatapathNetdev))
	}
	b := layered(want, h)
	if got := inOrder(b); !strings.Contains(got, "set port eth1.6 in brtenks1") || strings.Contains(got, "set port eth1.5") {
		t.Errorf("plan:\n%s", got)
	}
	for _, s := range b.before {
		if s.Op == link.OpConflict && !cmp.Equal(blamed(s, want), []string{"brtenks0"}) {
			t.Errorf("%v is about %v", s, blamed(s, want))
		}
	}
	for name, bridges := range map[string][]string{"eth1": {"brtenks0", "brtenks1"}, "p-brtenks1-phy": {"brtenks1"}, "eth1.6": {"brtenks1"}, "brtenks0": {"brtenks0"}, "other": {"other"}} {
		if got := blamed(layerStep{Step: link.Step{Op: link.OpUp, Link: name}}, want); !cmp.Equal(got, bridges) {
			t.Errorf("a step of %s is about %v, want %v", name, got, bridges)
		}
	}
}

func TestBridgesStayOfTheirTypeWhileOpenVSwitchDoesNotAnswer(t *testing.T) {
	k := newKernel()
	a := placed("a", nil, "p1")
	w := wanted(k, nil, a)
	p, err := plan(w, present(k))
	if err != nil {
		t.Fatal(err)
	}
	h := carryOut(k, present(k), p)
	w.ovs, w.datapath = true, ovs.DatapathNetdev
	h.switches = ovs.Have{Down: errors.New("down")}
	if p, err = plan(w, h); err != nil || len(p.before)+len(p.nodes)+len(p.after) > 0 {
		t.Errorf("a Linux bridge with guests was not left alone: %v, %+v, %v, %v", p.before, p.nodes, p.after, err)
	}
	h.switches.Down = nil
	if p, err = plan(w, h); err != nil || len(p.before) == 0 {
		t.Errorf("nothing to do once it answers: %v", err)
	}
	l := h.links.Links["brtenks0"]
	l.Kind = link.KindSwitch
	h.links.Links["brtenks0"], h.switches.Down = l, errors.New("down")
	if !h.ofSwitch("brtenks0", false) || h.ofSwitch("brtenks1", false) || !h.ofSwitch("brtenks1", true) {
		t.Error("a bridge of Open vSwitch becomes another while that does not answer, or one that is not there is not as wanted")
	}
}

func TestWhatJoinsABridgeOfOthersGuestsStays(t *testing.T) {
	h := switchHost()
	h.links.Links["brtenks0"] = link.Link{Name: "brtenks0", Kind: "openvswitch", MTU: 1500}
	for name, in := range map[string]string{"p-brtenks0-ovs": "brtenks0", "p-brtenks0-phy": "br-lin"} {
		h.links.Links[name] = link.Link{Name: name, Kind: "veth", MTU: 1500, Master: in, Mark: link.Mark{Role: link.RoleUplink, Physnet: "p1"}}
	}
	h.switches.Bridges["brtenks0"] = ovs.HasBridge{Name: "brtenks0", Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}
	h.switches.Ports["p-brtenks0-ovs"] = ovs.HasPort{Name: "p-brtenks0-ovs", Bridge: "brtenks0", Mark: ovs.Mark{Role: ovs.RoleUplink, Physnet: "p1"}}
	alone := h.switches.Ports
	for _, others := range []string{"vnet7", ""} {
		h.switches.Ports = maps.Clone(alone)
		if others != "" {
			h.switches.Ports[others] = ovs.HasPort{Name: others, Bridge: "brtenks0"}
		}
		now := have{links: annotated(h.links, h.switches, nil), switches: h.switches}
		left := inOrder(layered(link.Want{}, now)) == ""
		found := now.shared(nil, true)
		if kept := others != ""; left != kept || (len(found) == 1 && strings.Contains(found[0].Problem, "vnet7")) != kept {
			t.Errorf("with a port %q of others: all is left alone: %v; said: %v", others, left, found)
		}
	}
}

func TestBridgesKeepTheirNamesWhileOpenVSwitchLosesThem(t *testing.T) {
	tap := link.Link{Name: "brtenks0", Kind: "tuntap", MTU: 1500}
	for _, c := range []struct {
		name       string
		link       link.Link
		switches   ovs.Have
		remembered map[string]int
		ours       bool
	}{
		{name: "the database has it", link: tap, ours: true, switches: ovs.Have{Bridges: map[string]ovs.HasBridge{"brtenks0": {Name: "brtenks0", Mark: ovs.Mark{Role: ovs.RoleBridge, Physnet: "p1"}}}}},
		{name: "the database does not answer", link: tap, ours: true, switches: ovs.Have{Down: errors.New("down")}, remembered: map[string]int{"p1": 0}},
		{name: "the database has lost it, and its interface still goes", link: tap, ours: true, remembered: map[string]int{"p1": 0}},
		{name: "somebody else's bridge", link: tap, remembered: map[string]int{"p1": 0}, switches: ovs.Have{Bridges: map[string]ovs.HasBridge{"brtenks0": {Name: "brtenks0"}}}},
		{name: "somebody else's interface", link: link.Link{Name: "brtenks0", Kind: "dummy"}, remembered: map[string]int{"p1": 0}},
		{name: "a name that nobody remembers", link: tap, switches: ovs.Have{Down: errors.New("down")}},
	} {
		have := annotated(link.Have{Mesh: mesh, Links: map[string]link.Link{c.link.Name: c.link}}, c.switches, c.remembered)
		if got := have.Links["brtenks0"].Ours(); got != c.ours || have.Taken("brtenks0") == c.ours {
			t.Errorf("%s: ours %v, taken %v", c.name, got, have.Taken("brtenks0"))
		}
	}
}

func TestAnOpenVSwitchThatDoesNotAnswerIsBusy(t *testing.T) {
	h := switchHost()
	want := link.Want{Bridges: []link.Bridge{{Physnet: "p1", Name: "brtenks0", Switch: true}}, Ports: []link.Port{{Node: "n", Peer: "p-n-0-ovs", Bridge: "brtenks0"}}}
	if _, faults := h.portLinks(want); faults["n"] == nil || errors.Is(faults["n"], state.ErrBusy) {
		t.Errorf("a port that is not there: %v", faults["n"])
	}
	h.switches = ovs.Have{Down: errors.New("start it")}
	if _, faults := h.portLinks(want); !errors.Is(faults["n"], state.ErrBusy) || !strings.Contains(faults["n"].Error(), "start it") {
		t.Errorf("Open vSwitch does not answer: %v", faults["n"])
	}
}

func TestAnUplinkThatOpenVSwitchCannotOpenIsTheErrorOfItsNodes(t *testing.T) {
	good := func(name, bridge string, mark ovs.Mark) ovs.HasPort {
		return ovs.HasPort{Name: name, Bridge: bridge, Open: true, Mark: mark}
	}
	uplink := ovs.Mark{Role: ovs.RoleUplink, Physnet: "p1"}
	for _, c := range []struct {
		name   string
		bridge link.Bridge
		port   ovs.HasPort
		change func(*ovs.HasPort)
		want   string
	}{
		{name: "a device", bridge: link.Bridge{Switch: true, Device: "eth1"}, port: good("eth1", "brtenks0", ovs.Mark{Role: ovs.RoleDevice, Physnet: "p1"})},
		{name: "a device that is busy", bridge: link.Bridge{Switch: true, Device: "eth1"}, port: good("eth1", "brtenks0", ovs.Mark{Role: ovs.RoleDevice, Physnet: "p1"}),
			change: func(p *ovs.HasPort) {
				p.Open, p.Error = false, "could not add network device eth1 to ofproto (Device or resource busy)"
			}, want: "resource busy"},
		{name: "the VLAN link of a device is not opened", bridge: link.Bridge{Switch: true, Device: "eth1", VLAN: 5}, port: good("eth1.5", "brtenks0", uplink),
			change: func(p *ovs.HasPort) { p.Open = false }, want: "has not opened eth1.5"},
		{name: "the end of a Linux bridge's pair", bridge: link.Bridge{Device: "br-ovs"}, port: good("p-brtenks0-phy", "br-ovs", uplink)},
		{name: "the end of a Linux bridge's pair is not there", bridge: link.Bridge{Device: "br-ovs"}, port: good("other", "br-ovs", uplink), want: "no port p-brtenks0-phy"},
	} {
		h := switchHost()
		if c.change != nil {
			c.change(&c.port)
		}
		h.switches.Ports[c.port.Name] = c.port
		peer := "p-n-0-br"
		if c.bridge.Switch {
			peer = "p-n-0-ovs"
			h.switches.Ports[peer] = good(peer, "brtenks0", ovs.Mark{Role: ovs.RolePort, Node: "n"})
			h.links.Links["brtenks0"] = link.Link{Name: "brtenks0", MAC: "02:00:00:00:00:01"}
		}
		c.bridge.Physnet, c.bridge.Name = "p1", "brtenks0"
		want := link.Want{Bridges: []link.Bridge{h.joint(c.bridge, ovs.DatapathNetdev)}, Ports: []link.Port{{Node: "n", Peer: peer, Bridge: "brtenks0"}}}
		_, faults := h.portLinks(want)
		got := faults["n"]
		if (c.want == "") != (got == nil) || got != nil && (!strings.Contains(got.Error(), c.want) || !strings.Contains(got.Error(), "agent.yml") || errors.Is(got, state.ErrBusy)) {
			t.Errorf("%s: fault %v, want %q", c.name, got, c.want)
		}
	}
}
