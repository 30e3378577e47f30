package link

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tenks/hostops/nettest"
)

func openHost(tb testing.TB) *Host {
	tb.Helper()
	nettest.Namespace(tb)
	h, err := Open(Config{Mesh: testMesh, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func observe(tb testing.TB, h *Host) Have {
	tb.Helper()
	have, err := h.Observe(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return have
}

// converge applies a plan and checks that nothing is left to do.
func converge(tb testing.TB, h *Host, want Want) Have {
	tb.Helper()
	plan := Plan(want, observe(tb, h))
	if err := h.ApplyPlan(tb.Context(), plan, 4).Err(); err != nil {
		tb.Fatalf("apply: %v", err)
	}
	have := observe(tb, h)
	if again := Plan(want, have); len(again) > 0 {
		tb.Fatalf("left to do after the plan:\n%s", words(again))
	}
	return have
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func add(tb testing.TB, l netlink.Link) netlink.Link {
	tb.Helper()
	must(tb, netlink.LinkAdd(l))
	return byName(tb, l.Attrs().Name)
}

func byName(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		tb.Fatalf("link %s: %v", name, err)
	}
	return l
}

// wire is a device with something at its other end: not every kernel has dummies.
func wire(name string, mtu int) netlink.Link {
	return &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu, Flags: net.FlagUp}, PeerName: "far." + name, PeerMTU: uint32(mtu)}
}

func linuxBridge(name string) netlink.Link {
	return &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
}

func isolated(ports ...Port) Want {
	return Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0"}}, Ports: ports}
}

func mappedTo(device string, ports ...Port) Want {
	return Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: device}}, Ports: ports}
}

func TestIntegrationAPortIsInItsBridgeAndUpWhileNothingUsesIt(t *testing.T) {
	h := openHost(t)
	port := testPort("n1", "a", 0, "brtenks0")
	have := converge(t, h, isolated(port))
	mark := Mark{Role: RolePort, Node: "n1", Index: 0}
	want := map[string]Link{
		"brtenks0":  {Name: "brtenks0", Kind: "bridge", MAC: BridgeMAC(testMesh, "net"), Up: true, MTU: 1500, Mark: Mark{Role: RoleBridge, Physnet: "net"}},
		"p-a-0-br":  {Name: "p-a-0-br", Kind: "veth", MAC: birthMAC(testMesh, "p-a-0-br"), Up: true, MTU: 1500, Master: "brtenks0", Peer: "p-a-0-tap", Mark: mark},
		"p-a-0-tap": {Name: "p-a-0-tap", Kind: "veth", MAC: port.MAC, Up: true, MTU: 1500, Peer: "p-a-0-br", Mark: mark},
		"lo":        have.Links["lo"],
	}
	if d := cmp.Diff(want, have.Links); d != "" {
		t.Errorf("links (-want +got):\n%s", d)
	}
	for name, alias := range map[string]string{"brtenks0": "tenks:6f1c:bridge:net", "p-a-0-br": "tenks:6f1c:port:n1:0", "p-a-0-tap": "tenks:6f1c:port:n1:0"} {
		if got := byName(t, name).Attrs().Alias; got != alias {
			t.Errorf("alias of %s: got %q, want %q", name, got, alias)
		}
	}
}

func TestIntegrationTheHostHasNoAddressOnPhysnets(t *testing.T) {
	h := openHost(t)
	converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0")))
	for _, name := range []string{"brtenks0", "p-a-0-br", "p-a-0-tap"} {
		addrs, err := netlink.AddrList(byName(t, name), netlink.FAMILY_ALL)
		must(t, err)
		if len(addrs) > 0 {
			t.Errorf("%s has addresses: %v", name, addrs)
		}
	}
}

func TestIntegrationBridgesForwardAtOnceWithoutSTP(t *testing.T) {
	h := openHost(t)
	converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0")))
	out := ipDetails(t, "brtenks0")
	for _, want := range []string{"forward_delay 0 ", "stp_state 0 "} {
		if !strings.Contains(out, want) {
			t.Errorf("brtenks0 lacks %q: %s", want, out)
		}
	}
	if port := ipDetails(t, "p-a-0-br"); !strings.Contains(port, "state forwarding") {
		t.Errorf("p-a-0-br does not forward: %s", port)
	}
}

func TestIntegrationTheBridgeKeepsItsMACAsPortsComeAndGo(t *testing.T) {
	h := openHost(t)
	converge(t, h, isolated())
	converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0"), testPort("n1", "a", 1, "brtenks0")))
	have := converge(t, h, isolated())
	if got := have.Links["brtenks0"].MAC; got != BridgeMAC(testMesh, "net") {
		t.Errorf("MAC: got %s, want %s", got, BridgeMAC(testMesh, "net"))
	}
}

func TestIntegrationDriftIsMended(t *testing.T) {
	ports := []Port{testPort("n1", "a", 0, "brtenks0"), testPort("n2", "b", 0, "brtenks0")}
	cases := []struct {
		name  string
		drift func(t *testing.T)
	}{
		{"a veth deleted", func(t *testing.T) { must(t, netlink.LinkDel(byName(t, "p-a-0-tap"))) }},
		{"the bridge deleted", func(t *testing.T) { must(t, netlink.LinkDel(byName(t, "brtenks0"))) }},
		{"a port out of the bridge", func(t *testing.T) { must(t, netlink.LinkSetNoMaster(byName(t, "p-a-0-br"))) }},
		{"the switch side down", func(t *testing.T) { must(t, netlink.LinkSetDown(byName(t, "p-a-0-br"))) }},
		{"the node side down", func(t *testing.T) { must(t, netlink.LinkSetDown(byName(t, "p-a-0-tap"))) }},
		{"the bridge down", func(t *testing.T) { must(t, netlink.LinkSetDown(byName(t, "brtenks0"))) }},
		{"another MTU", func(t *testing.T) { must(t, netlink.LinkSetMTU(byName(t, "p-b-0-br"), 1400)) }},
		{"an alias gone", func(t *testing.T) { must(t, netlink.LinkSetAlias(byName(t, "p-a-0-tap"), "")) }},
		{"an alias written over", func(t *testing.T) { must(t, netlink.LinkSetAlias(byName(t, "p-a-0-br"), "mine")) }},
		{"a port renamed", func(t *testing.T) {
			must(t, netlink.LinkSetDown(byName(t, "p-a-0-tap")))
			must(t, netlink.LinkSetName(byName(t, "p-a-0-tap"), "oops"))
		}},
		{"another address", func(t *testing.T) {
			must(t, netlink.LinkSetHardwareAddr(byName(t, "p-a-0-tap"), []byte{2, 0, 0, 0, 0, 9}))
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := openHost(t)
			before := converge(t, h, isolated(ports...))
			untouched := byName(t, "p-b-0-tap").Attrs().Index
			c.drift(t)
			if len(Plan(isolated(ports...), observe(t, h))) == 0 {
				t.Fatal("the drift was not seen")
			}
			after := converge(t, h, isolated(ports...))
			if d := cmp.Diff(before.Links, after.Links); d != "" {
				t.Errorf("links (-before +after):\n%s", d)
			}
			if byName(t, "p-b-0-tap").Attrs().Index != untouched {
				t.Error("the other node's port was made anew")
			}
		})
	}
}

func TestIntegrationAMappedInterfaceIsPluggedInAndReleasedUnharmed(t *testing.T) {
	h := openHost(t)
	add(t, wire("eth9", 9000))
	before := observe(t, h).Links["eth9"]
	have := converge(t, h, mappedTo("eth9", testPort("n1", "a", 0, "brtenks0")))
	for _, name := range []string{"brtenks0", "p-a-0-br", "p-a-0-tap"} {
		if got := have.Links[name].MTU; got != 9000 {
			t.Errorf("MTU of %s: got %d, want the device's 9000", name, got)
		}
	}
	if got := have.Links["eth9"].Master; got != "brtenks0" {
		t.Errorf("eth9 is in %q, want brtenks0", got)
	}
	have = converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0")))
	if d := cmp.Diff(before, have.Links["eth9"]); d != "" {
		t.Errorf("unmapped device (-before +after):\n%s", d)
	}
	converge(t, h, mappedTo("eth9"))
	have = converge(t, h, Want{})
	if d := cmp.Diff(before, have.Links["eth9"]); d != "" {
		t.Errorf("device after its bridge went (-before +after):\n%s", d)
	}
	if left := have.Ours(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationAMappedBridgeIsJoinedByAPair(t *testing.T) {
	h := openHost(t)
	// An MTU that was set by hand stays, whatever ports come and go.
	must(t, netlink.LinkSetMTU(add(t, linuxBridge("br-ex")), 1450))
	before := observe(t, h).Links["br-ex"]
	have := converge(t, h, mappedTo("br-ex"))
	inner, outer := have.Links["p-brtenks0-br"], have.Links["p-brtenks0-phy"]
	if inner.Master != "brtenks0" || outer.Master != "br-ex" || !inner.Up || !outer.Up || outer.MTU != 1450 {
		t.Errorf("uplink: got %+v and %+v", inner, outer)
	}
	have = converge(t, h, isolated())
	if have.Links["p-brtenks0-br"].Ours() {
		t.Error("the pair is there after the physnet was unmapped")
	}
	before.MAC = have.Links["br-ex"].MAC // a bridge without an address of its own follows its ports
	if d := cmp.Diff(before, have.Links["br-ex"]); d != "" {
		t.Errorf("their bridge (-before +after):\n%s", d)
	}
}

func TestIntegrationADeviceTheHostUsesIsRefused(t *testing.T) {
	cases := []struct {
		name  string
		setup func(t *testing.T, dev netlink.Link)
		want  string
	}{
		{"an address", func(t *testing.T, dev netlink.Link) {
			addr, err := netlink.ParseAddr("192.0.2.1/24")
			must(t, err)
			must(t, netlink.AddrAdd(dev, addr))
		}, "interface eth9: plug in: the host has address 192.0.2.1/24 on it, which a bridge's port does not answer for: " + MoveAddresses("eth9")},
		{"an address of a DHCP client", func(t *testing.T, dev netlink.Link) {
			addr, err := netlink.ParseAddr("192.0.2.1/24")
			must(t, err)
			addr.ValidLft, addr.PreferedLft = 3600, 3600
			must(t, netlink.AddrAdd(dev, addr))
		}, "interface eth9: plug in: the host has address 192.0.2.1/24 on it, by DHCP, which a bridge's port does not answer for: " + MoveAddresses("eth9")},
		{"an IPv6 address by advertisements", func(t *testing.T, dev netlink.Link) {
			addr, err := netlink.ParseAddr("2001:db8::1/64")
			must(t, err)
			addr.ValidLft, addr.PreferedLft = 3600, 3600
			must(t, netlink.AddrAdd(dev, addr))
		}, "interface eth9: plug in: the host has address 2001:db8::1/64 on it, by a router's advertisements or DHCP, which a bridge's port does not answer for: " + MoveAddresses("eth9")},
		{"the default route", func(t *testing.T, dev netlink.Link) {
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: dev.Attrs().Index, Scope: unix.RT_SCOPE_LINK, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}))
		}, "interface eth9: plug in: the host's default route is on it: " + MoveAddresses("eth9")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := openHost(t)
			dev := add(t, wire("eth9", 1500))
			c.setup(t, dev)
			err := h.ApplyPlan(t.Context(), Plan(mappedTo("eth9"), observe(t, h)), 1).Err()
			if err == nil || err.Error() != c.want {
				t.Errorf("error: got %v, want %s", err, c.want)
			}
			if got := observe(t, h).Links["eth9"].Master; got != "" {
				t.Errorf("eth9 is in %s, want it left alone", got)
			}
		})
	}
}

func TestIntegrationForeignLinksNamedLikeOursAreNeverTouched(t *testing.T) {
	h := openHost(t)
	add(t, linuxBridge("brtenks0"))
	add(t, wire("p-b-0-tap", 1500))
	before := observe(t, h)
	want := Want{
		Bridges: []Bridge{{Physnet: "net", Name: "brtenks0"}, {Physnet: "two", Name: "brtenks1"}},
		Ports:   []Port{testPort("n1", "a", 0, "brtenks0"), testPort("n2", "b", 0, "brtenks1"), testPort("n3", "c", 0, "brtenks1")},
	}
	f := h.ApplyPlan(t.Context(), Plan(want, before), 4)
	messages := []string{fmt.Sprint(f.Host), fmt.Sprint(f.Nodes["n1"]), fmt.Sprint(f.Nodes["n2"]), fmt.Sprint(f.Nodes["n3"])}
	if d := cmp.Diff([]string{
		`physnet "net": interface brtenks0 exists and is not ours`,
		`port 0: interface brtenks0 exists and is not ours`,
		`interface p-b-0-tap exists and is not ours`,
		`<nil>`,
	}, messages); d != "" {
		t.Errorf("errors (-want +got):\n%s", d)
	}
	after := observe(t, h)
	for _, name := range before.Foreign() {
		if d := cmp.Diff(before.Links[name], after.Links[name]); d != "" {
			t.Errorf("%s (-before +after):\n%s", name, d)
		}
	}
	// Steps of an old plan look again before they act.
	for _, s := range []Step{{Op: OpDelete, Link: "brtenks0"}, {Op: OpSetMTU, Link: "brtenks0", MTU: 1400}, {Op: OpCreateBridge, Link: "brtenks0", MAC: "02:00:00:00:00:01", MTU: 1500, Alias: "x"}} {
		if err := h.Apply(t.Context(), s); err == nil {
			t.Errorf("step %s on a foreign bridge was carried out", s)
		}
	}
}

func TestIntegrationStepsMayBeRepeated(t *testing.T) {
	h := openHost(t)
	add(t, wire("eth9", 1500))
	want := mappedTo("eth9", testPort("n1", "a", 0, "brtenks0"))
	for _, target := range []Want{want, {}} {
		plan := Plan(target, observe(t, h))
		for range 2 {
			for _, s := range plan {
				must(t, h.Apply(t.Context(), s))
			}
		}
		// Every step twice, one after the other.
		for _, s := range plan {
			must(t, h.Apply(t.Context(), s))
			must(t, h.Apply(t.Context(), s))
		}
		if again := Plan(target, observe(t, h)); len(again) > 0 {
			t.Errorf("left to do:\n%s", words(again))
		}
	}
}

func TestIntegrationAnyPrefixOfAPlanIsCompletedByTheNext(t *testing.T) {
	setup := func(t *testing.T) *Host {
		h := openHost(t)
		add(t, wire("eth9", 1400))
		add(t, linuxBridge("br-ex"))
		return h
	}
	full := Want{
		Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "eth9"}, {Physnet: "two", Name: "brtenks1", Device: "br-ex"}},
		Ports:   []Port{testPort("n1", "a", 0, "brtenks0"), testPort("n2", "b", 0, "brtenks1")},
	}
	for from, target := range map[string]Want{"creation": full, "removal": {}} {
		for n := range 7 {
			t.Run(fmt.Sprintf("%s killed after %d steps", from, n), func(t *testing.T) {
				h := setup(t)
				foreign := observe(t, h)
				if from == "removal" {
					converge(t, h, full)
				}
				plan := Plan(target, observe(t, h))
				for _, s := range plan[:min(n, len(plan))] {
					must(t, h.Apply(t.Context(), s))
				}
				have := converge(t, h, target)
				if got, want := len(have.Foreign()), len(foreign.Foreign()); got != want {
					t.Errorf("foreign links: got %v, want %v", have.Foreign(), foreign.Foreign())
				}
			})
		}
	}
}

// The messages of one step are a kill apart, too: a link is made in the first and
// marked in the second.
func TestIntegrationALinkMadeButNotMarkedIsCompletedOrDeleted(t *testing.T) {
	born := func(t *testing.T, h *Host) {
		must(t, h.rtnl.addBridge(change{name: "brtenks0", mac: birthMAC(testMesh, "brtenks0")}))
		must(t, h.rtnl.addPair(change{name: "p-a-0-br", mac: birthMAC(testMesh, "p-a-0-br")}, change{name: "p-a-0-tap", mac: "52:54:00:00:01:00"}))
	}
	t.Run("completed", func(t *testing.T) {
		h := openHost(t)
		born(t, h)
		indices := []int{byName(t, "brtenks0").Attrs().Index, byName(t, "p-a-0-tap").Attrs().Index}
		have := converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0")))
		if d := cmp.Diff([]string{"brtenks0", "p-a-0-br", "p-a-0-tap"}, have.Ours()); d != "" {
			t.Errorf("ours (-want +got):\n%s", d)
		}
		if d := cmp.Diff(indices, []int{byName(t, "brtenks0").Attrs().Index, byName(t, "p-a-0-tap").Attrs().Index}); d != "" {
			t.Errorf("made anew (-want +got):\n%s", d)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		h := openHost(t)
		born(t, h)
		if left := converge(t, h, Want{}).Links; len(left) != 1 {
			t.Errorf("links: got %v, want lo only", left)
		}
	})
	t.Run("by a repeated step", func(t *testing.T) {
		h := openHost(t)
		want := isolated(testPort("n1", "a", 0, "brtenks0"))
		plan := Plan(want, observe(t, h))
		born(t, h)
		for _, s := range plan {
			must(t, h.Apply(t.Context(), s))
		}
		if again := Plan(want, observe(t, h)); len(again) > 0 {
			t.Errorf("left to do:\n%s", words(again))
		}
	})
}

func TestIntegrationAnotherMeshOnTheHostIsForeign(t *testing.T) {
	h := openHost(t)
	converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0")))
	other, err := Open(Config{Mesh: "other", Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer func() { must(t, other.Close()) }()
	have := observe(t, other)
	if len(have.Ours()) > 0 || len(Plan(Want{}, have)) > 0 {
		t.Errorf("ours: got %v, want none", have.Ours())
	}
	if d := cmp.Diff(map[string]int{"net": 1}, AssignBridges([]string{"net"}, have.Indices(), have.Taken)); d != "" {
		t.Errorf("bridge indices (-want +got):\n%s", d)
	}
}

func TestIntegrationWatchWakesOnALinkChangeAndEndsWithItsContext(t *testing.T) {
	h := openHost(t)
	converge(t, h, isolated(testPort("n1", "a", 0, "brtenks0")))
	ctx, cancel := context.WithCancel(t.Context())
	var wakes atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- h.Watch(ctx, func() { wakes.Add(1) }) }() // waited for below
	await(t, "the first wake", func() bool { return wakes.Load() > 0 })
	before := wakes.Load() // the kernel may still be telling of the creation
	must(t, netlink.LinkDel(byName(t, "p-a-0-tap")))
	await(t, "a wake after the deletion", func() bool { return wakes.Load() > before })
	cancel()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("Watch did not end")
	}
}

// Each pair is some ten messages.
func TestIntegrationWatchMakesOneWakeOfManyChanges(t *testing.T) {
	h := openHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wakes atomic.Int64
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- h.Watch(ctx, func() { wakes.Add(1) }) }() // waited for below
	await(t, "the first wake", func() bool { return wakes.Load() > 0 })
	pairs(t, h, 30)
	await(t, "a wake after a change", func() bool { return wakes.Load() > 1 })
	cancel()
	must(t, <-ended)
	if n, took := wakes.Load(), time.Since(began); n > int64(took/watchRest)+2 {
		t.Errorf("%d wakes in %s", n, took)
	}
}

// ipDetails is what ip-link(8) shows: the netlink package does not read STP.
func ipDetails(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", "-d", "-o", "link", "show", name).CombinedOutput()
	if err != nil {
		t.Skipf("ip: %v: %s", err, out)
	}
	return string(out)
}

// await polls a condition that is to hold within 5 s.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited for %s", what)
		}
	}
}

// BenchmarkPorts makes and deletes 100 ports, and for comparison the same pairs by
// the netlink package alone.
func BenchmarkPorts(b *testing.B) {
	const n = 100
	var ports []Port
	for i := range n {
		ports = append(ports, testPort(fmt.Sprintf("n%03d", i), fmt.Sprintf("a%03d", i), 0, "brtenks0"))
	}
	for _, workers := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("create/workers=%d", workers), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				h := openHost(b)
				converge(b, h, isolated())
				b.StartTimer()
				plan := Plan(isolated(ports...), observe(b, h))
				must(b, h.ApplyPlan(b.Context(), plan, workers).Err())
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "ports/s")
		})
	}
	b.Run("create/bare", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			nettest.Namespace(b)
			bridge := add(b, linuxBridge("brtenks0"))
			b.StartTimer()
			for _, p := range ports {
				must(b, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: p.Peer, MasterIndex: bridge.Attrs().Index, Flags: net.FlagUp}, PeerName: p.Tap}))
				must(b, netlink.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: p.Tap}}))
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "ports/s")
	})
	b.Run("delete/workers=4", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			h := openHost(b)
			converge(b, h, isolated(ports...))
			b.StartTimer()
			must(b, h.ApplyPlan(b.Context(), Plan(isolated(), observe(b, h)), 4).Err())
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "ports/s")
	})
	b.Run("observe and plan, nothing to do", func(b *testing.B) {
		h := openHost(b)
		converge(b, h, isolated(ports...))
		b.ResetTimer()
		for b.Loop() {
			if len(Plan(isolated(ports...), observe(b, h))) > 0 {
				b.Fatal("something to do")
			}
		}
	})
}
