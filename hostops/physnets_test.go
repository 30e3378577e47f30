package hostops

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// wantedNets is what a host has that offers physnets of all kinds.
func wantedNets(tunnels ...state.Tunnel) want {
	return want{vxlan: state.Endpoint{Address: "192.0.2.11", Port: 4789}, tunnels: tunnels,
		bridges: map[string]int{"lab": 0, "flat": 1, "storage": 2, "tenant": 3},
		physnets: map[string]Physnet{"lab": {}, "flat": {Device: "eth1"}, "storage": {Device: "eth1", VLAN: 200, MTU: 1400},
			"tenant": {VNI: 5000}, "elsewhere": {Device: "eth9"}}}
}

func TestOverlaysSendToHostsThatNameTheSameVNI(t *testing.T) {
	w := wantedNets(
		state.Tunnel{Hypervisor: "h2", Name: "hv2", Physnet: "tenant", VNI: 5000, Address: "192.0.2.12", Port: 4790},
		state.Tunnel{Hypervisor: "h3", Name: "hv3", Physnet: "tenant", VNI: 5001, Address: "192.0.2.13", Port: 4789},
		state.Tunnel{Hypervisor: "h4", Name: "hv4", Physnet: "other", VNI: 5000, Address: "192.0.2.14", Port: 4789})
	want := link.Bridge{Physnet: "tenant", Name: "brtenks3", Overlay: &link.Overlay{VNI: 5000, Local: "192.0.2.11", Port: 4789,
		Remotes: []link.Remote{{Address: "192.0.2.12", Port: 4790}}}}
	if d := cmp.Diff(want, w.bridge("tenant")); d != "" {
		t.Errorf("bridge (-want +got):\n%s", d)
	}
	if got := w.disagrees("tenant"); got != "its VNI is 5000 here and 5001 on hv3: give vxlan one value in agent.yml of both" {
		t.Errorf("disagreement %q", got)
	}
	if got := w.disagrees("flat"); got != "" {
		t.Errorf("disagreement about a physnet that is no overlay: %q", got)
	}
}

func TestEndsOfOverlaysAreComparedInOneForm(t *testing.T) {
	end := func(address string) state.Tunnel {
		return state.Tunnel{Hypervisor: "h2", Name: "hv2", Physnet: "tenant", VNI: 5000, Address: address, Port: 4789}
	}
	w := wantedNets(end("2001:DB8:0::12"))
	w.vxlan.Address = "2001:DB8::11"
	want := &link.Overlay{VNI: 5000, Local: "2001:db8::11", Port: 4789, Remotes: []link.Remote{{Address: "2001:db8::12", Port: 4789}}}
	if d := cmp.Diff(want, w.bridge("tenant").Overlay); d != "" {
		t.Errorf("overlay (-want +got):\n%s", d)
	}
	if why := w.disagrees("tenant"); why != "" {
		t.Errorf("disagreement %q", why)
	}
	for _, address := range []string{"192.0.2.12", "2001:db8::11", "::ffff:192.0.2.12"} {
		w.tunnels = []state.Tunnel{end(address)}
		if got := w.bridge("tenant").Overlay.Remotes; got != nil {
			t.Errorf("%s: sends to %v", address, got)
		}
		if why := w.disagrees("tenant"); !strings.Contains(why, "on hv2: give each host's own address") {
			t.Errorf("%s: disagreement %q", address, why)
		}
	}
}

func TestTheMTUStaysWhileABridgeAndItsDeviceAreGone(t *testing.T) {
	w := want{physnets: map[string]Physnet{"flat": {Device: "br-ovs"}, "lab": {}, "set": {Device: "br-ovs", VLAN: 5, MTU: 1400}},
		bridges: map[string]int{"flat": 0, "lab": 1, "set": 2}, lastMTUs: map[string]int{"flat": 9000, "lab": 4000, "set": 9000}}
	gone := link.Link{Name: "br-ovs", Kind: link.KindSwitch} // in Open vSwitch's database only
	back := gone
	back.MTU = 8000
	for _, c := range []struct {
		device link.Link
		want   map[string]int
	}{
		{gone, map[string]int{"flat": 9000, "lab": 1500, "set": 1400}},
		{back, map[string]int{"flat": 8000, "lab": 1500, "set": 1400}},
	} {
		if d := cmp.Diff(c.want, w.mtusIn(link.Have{Links: map[string]link.Link{"br-ovs": c.device}})); d != "" {
			t.Errorf("%+v (-want +got):\n%s", c.device, d)
		}
	}
}

func TestNodesOnAnOverlayWithTwoVNIsSayWhoHasWhich(t *testing.T) {
	k := newKernel()
	w := wanted(k, nil, placed("a", nil, "p1"))
	w.physnets["p1"] = Physnet{VNI: 5000}
	w.vxlan, w.tunnels = state.Endpoint{Address: "192.0.2.11", Port: 4789}, []state.Tunnel{{Hypervisor: "h2", Name: "hv2", Physnet: "p1", VNI: 5001}}
	p, err := plan(w, present(k))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.faults["a"]); !strings.Contains(got, `port 0: physnet "p1": its VNI is 5000 here and 5001 on hv2`) {
		t.Errorf("fault %s", got)
	}
}

func TestMTUsReachTheDriverWhereTheyAreNotTheUsualOne(t *testing.T) {
	have := link.Have{Links: map[string]link.Link{
		"eth1": {Name: "eth1", MTU: 9000}, "mgmt": {Name: "mgmt", MTU: 1500},
		"brtenks7": {Name: "brtenks7", Kind: "bridge", MTU: 4000, Mark: link.Mark{Role: link.RoleBridge, Physnet: "unmapped"}}},
		Addresses: map[string][]netip.Prefix{"mgmt": {netip.MustParsePrefix("192.0.2.11/24")}}}
	got := wantedNets().mtusIn(have)
	want := map[string]int{"lab": 1500, "flat": 9000, "storage": 1400, "tenant": 1450, "elsewhere": 1500, "unmapped": 4000}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("MTUs (-want +got):\n%s", d)
	}
	n := placed("a", nil, "lab", "flat", "tenant")
	spec := withMTUs(specOf(n, state.Boot{}, decodeSetup(nil).Setup), got)
	mtus := []int{spec.Ports[0].MTU, spec.Ports[1].MTU, spec.Ports[2].MTU}
	if d := cmp.Diff([]int{0, 9000, 1450}, mtus); d != "" {
		t.Errorf("of ports (-want +got):\n%s", d)
	}
}

func TestTheMTUOfAMissingDeviceIsNotKnown(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.config.Physnets = map[string]Physnet{"lab": {}, "flat": {Device: "eth9"}, "storage": {Device: "eth9", VLAN: 200, MTU: 1400}, "tenant": {VNI: 5000}}
		e.config.VXLAN = state.Endpoint{Address: "192.0.2.11", Port: 4789}
		e.restart()
		expect := func(when string, want map[string]int, missing ...string) {
			t.Helper()
			got, err := e.host.PhysnetMTUs(t.Context())
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("%s: %v, MTUs (-want +got):\n%s", when, err, d)
			}
			var names []string
			for _, m := range e.host.Missing() {
				names = append(names, m.Physnet)
			}
			if d := cmp.Diff(missing, names); d != "" {
				t.Errorf("%s: missing (-want +got):\n%s", when, d)
			}
		}
		unknown := map[string]int{"lab": 1500, "storage": 1400}
		expect("before the first pass", unknown)
		e.mustPass()
		expect("after it", unknown, "flat", "storage", "tenant")
		e.links.add(link.Link{Name: "eth9", MTU: 9000, Up: true})
		e.mustPass()
		known := map[string]int{"lab": 1500, "storage": 1400, "flat": 9000}
		expect("the device is there", known, "tenant")
		e.links.delete("eth9")
		e.mustPass()
		expect("it is gone for a while", known, "flat", "storage", "tenant")
		e.restart()
		e.mustPass()
		expect("nobody knows any longer", unknown, "flat", "storage", "tenant")
	})
}

func TestAddressesThatAPluggedDeviceGotSinceAreToldOf(t *testing.T) {
	w := wantedNets()
	have := link.Have{Links: map[string]link.Link{
		"eth1": {Name: "eth1", Master: "brtenks1"}, "eth9": {Name: "eth9"},
		"brtenks1": {Name: "brtenks1", Kind: "bridge", Mark: link.Mark{Role: link.RoleBridge, Physnet: "flat"}}},
		Addresses: map[string][]netip.Prefix{"eth1": {netip.MustParsePrefix("192.0.2.5/24"), netip.MustParsePrefix("2001:db8::5/64")},
			"eth9": {netip.MustParsePrefix("192.0.2.9/24")}}}
	want := []Exposed{{Physnet: "flat", Device: "eth1", Bridge: "brtenks1", Addresses: "192.0.2.5/24 2001:db8::5/64"}}
	if d := cmp.Diff(want, w.exposed(have)); d != "" {
		t.Errorf("exposed (-want +got):\n%s", d)
	}
	if fix := want[0].Fix(); !strings.Contains(fix, "ip link add br-eth1 type bridge") || !strings.Contains(fix, "device: br-eth1") {
		t.Errorf("fix: %s", fix)
	}
}

func TestAnUnmappedPhysnetIsWhatIsThereOfIt(t *testing.T) {
	bridge := link.Link{Name: "brtenks3", Kind: "bridge", MTU: 1400, Mark: link.Mark{Role: link.RoleBridge, Physnet: "net"}}
	plugged := bridge
	plugged.Mark.Device = "eth1"
	theirs := link.Link{Name: "br-ex", Kind: "bridge", MTU: 1400}
	overlay := &link.Overlay{VNI: 5000, Local: "192.0.2.11", Port: 4789, Remotes: []link.Remote{{Address: "192.0.2.12", Port: 4789}}}
	for _, tt := range []struct {
		name  string
		links []link.Link
		want  link.Bridge
	}{
		{"nothing", nil, link.Bridge{}},
		{"isolated", []link.Link{bridge}, link.Bridge{Name: "brtenks3", MTU: 1400}},
		{"an interface", []link.Link{plugged}, link.Bridge{Name: "brtenks3", MTU: 1400, Device: "eth1"}},
		{"a Linux bridge", []link.Link{bridge, theirs, {Name: "p-brtenks3-phy", Kind: "veth", Master: "br-ex", Mark: link.Mark{Role: link.RoleUplink, Physnet: "net"}}},
			link.Bridge{Name: "brtenks3", MTU: 1400, Device: "br-ex"}},
		{"an access port", []link.Link{bridge, theirs, {Name: "p-brtenks3-phy", Kind: "veth", Master: "br-ex", VLAN: 1, Mark: link.Mark{Role: link.RoleUplink, Physnet: "net", VLAN: 100}}},
			link.Bridge{Name: "brtenks3", MTU: 1400, Device: "br-ex", VLAN: 100}},
		{"a VLAN", []link.Link{bridge, {Name: "eth1.100", Kind: "vlan", Master: "brtenks3", Parent: "eth1", VLAN: 100, Mark: link.Mark{Role: link.RoleVLAN, Physnet: "net"}}},
			link.Bridge{Name: "brtenks3", MTU: 1400, Device: "eth1", VLAN: 100}},
		{"an overlay", []link.Link{bridge, {Name: "x-brtenks3", Kind: "vxlan", Master: "brtenks3", Overlay: overlay, Mark: link.Mark{Role: link.RoleVXLAN, Physnet: "net"}}},
			link.Bridge{Name: "brtenks3", MTU: 1400, Overlay: overlay}},
	} {
		have := link.Have{Links: map[string]link.Link{}}
		for _, l := range tt.links {
			have.Links[l.Name] = l
		}
		tt.want.Physnet = "net"
		if d := cmp.Diff(tt.want, unmapped("net", have)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}
