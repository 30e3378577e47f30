package hostops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"tenks/hostops/link"
	"tenks/hostops/ovs/ovstest"
	"tenks/raftfsm/state"
)

func TestIntegrationEachKindOfDeviceIsMappedUnmappedAndMappedAgain(t *testing.T) {
	s := newSwitchEnv(t)
	s.devices()
	before := s.traces()
	far := []string{"eth1.far", "br-lin.far", "br-ovs.far"}
	for _, openVSwitch := range []bool{true, false} {
		devices := []string{"eth1", "", "eth1", "br-lin", "", "br-lin", "br-ovs", "", "br-ovs", "eth1"}
		if !openVSwitch { // the others are package link's
			devices = []string{"br-ovs", "", "br-ovs", "eth1", "br-ovs"}
		}
		s.start(openVSwitch, Physnet{})
		s.place(node("a", "p1"))
		for _, device := range devices {
			t.Logf("bridges of Open vSwitch: %v; device %q", openVSwitch, device)
			s.start(openVSwitch, Physnet{Device: device})
			s.settled(1, portLink(openVSwitch, "brtenks0"))
			if device != "" {
				s.passes("p-a-0-tap", device+".far", true)
			}
			s.reachesNone("p-a-0-tap", slices.DeleteFunc(slices.Clone(far), func(name string) bool { return name == device+".far" }))
		}
		s.removeNode("a")
		eventually(t, 20*time.Second, "nothing left, and the state knows", func() bool {
			snap, _ := s.state.Snapshot()
			_, known := snap.Node("a")
			return !known && cmp.Equal(before, s.traces())
		})
	}
}

func TestIntegrationATagFromOutsideIsolatesAndIsLeftAlone(t *testing.T) {
	s := newSwitchEnv(t)
	before := s.traces()
	s.start(true, Physnet{})
	s.place(node("a", "p1"), node("b", "p1"))
	s.settled(2)
	s.passes("p-a-0-tap", "p-b-0-tap", true)
	s.vsctl("set port p-a-0-ovs tag=100")
	s.passes("p-a-0-tap", "p-b-0-tap", false)
	must(t, netlink.LinkDel(s.link("p-b-0-tap"))) // something to mend
	s.settled(2)
	s.passes("p-a-0-tap", "p-b-0-tap", false)
	s.start(true, Physnet{})
	s.settled(2)
	s.passes("p-a-0-tap", "p-b-0-tap", false)
	must(t, netlink.LinkDel(s.link("p-a-0-ovs"))) // the tagged one
	s.settled(2)
	if got := s.vsctl("get port p-a-0-ovs tag"); got != "100" {
		t.Errorf("tag %s after the pair was made anew, want 100", got)
	}
	s.vsctl("set port p-b-0-ovs tag=100")
	s.passes("p-a-0-tap", "p-b-0-tap", true)
	s.vsctl("clear port p-a-0-ovs tag")
	s.vsctl("clear port p-b-0-ovs tag")
	s.passes("p-a-0-tap", "p-b-0-tap", true)
	s.removeNode("a")
	s.removeNode("b")
	eventually(t, 20*time.Second, "nothing left", func() bool { return cmp.Equal(before, s.traces()) })
}

func TestIntegrationWhatOpenVSwitchLosesComesBack(t *testing.T) {
	s := newSwitchEnv(t)
	s.start(true, Physnet{})
	s.place(node("a", "p1"), node("b", "p1"))
	s.settled(2)
	for _, loss := range []struct {
		name string
		do   func()
	}{
		{"a port is deleted", func() { s.vsctl("del-port p-a-0-ovs") }},
		{"the bridge is deleted", func() { s.vsctl("del-br brtenks0") }},
		{"ovs-vswitchd is killed", func() {
			must(t, s.sw.StopSwitchd())
			must(t, s.sw.StartSwitchd(t.Context()))
		}},
		{"the database is killed", func() {
			must(t, s.sw.StopServer())
			must(t, s.sw.StartServer(t.Context()))
		}},
		{"both are, and the database is empty", func() {
			must(t, s.sw.Stop())
			must(t, os.Remove(filepath.Join(s.sw.Dir, "conf.db")))
			sw, err := ovstest.Start(t.Context(), s.sw.Dir, s.sw.Socket, exec.CommandContext)
			must(t, err)
			*s.sw = *sw
		}},
	} {
		t.Log(loss.name) // no test of its own: that has another thread, in another namespace
		loss.do()
		s.settled(2, portLink(true, "brtenks0"))
		eventually(t, 10*time.Second, "the bridge has its address", func() bool {
			l, err := netlink.LinkByName("brtenks0")
			return err == nil && l.Attrs().HardwareAddr.String() == link.BridgeMAC(mesh, "p1")
		})
		s.passes("p-a-0-tap", "p-b-0-tap", true)
	}
}

func TestIntegrationALinkOfAVLANThatIsMadeAnewIsOpenedAgain(t *testing.T) {
	s := newSwitchEnv(t)
	s.pair("eth1", "eth1.far")
	if err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "far5", ParentIndex: s.link("eth1.far").Attrs().Index}, VlanId: 5}); err != nil {
		t.Skipf("this kernel has no VLAN links: %v", err)
	}
	must(t, netlink.LinkSetUp(s.link("far5")))
	s.start(true, Physnet{Device: "eth1", VLAN: 5})
	s.place(node("a", "p1"))
	s.settled(1)
	s.passes("p-a-0-tap", "far5", true)
	must(t, netlink.LinkDel(s.link("eth1.5")))
	s.settled(1)
	s.passes("p-a-0-tap", "far5", true)
}

func TestIntegrationTheTypeOfBridgesChangesUnderRunningNodes(t *testing.T) {
	s := newSwitchEnv(t)
	s.pair("eth1", "eth1.far")
	device := Physnet{Device: "eth1"}
	s.start(false, device)
	s.place(node("a", "p1"), node("b", "p1"))
	s.settled(2)
	s.power("a", state.ActionOn)
	tap := s.link("p-a-0-tap").Attrs().Index
	for _, openVSwitch := range []bool{true, false, true} {
		s.start(openVSwitch, device)
		s.settled(2, portLink(openVSwitch, "brtenks0"))
		s.passes("p-a-0-tap", "p-b-0-tap", true)
		s.passes("p-a-0-tap", "eth1.far", true)
		if now := s.link("p-a-0-tap").Attrs().Index; now != tap {
			t.Errorf("the tap of a running node was made anew: index %d, was %d", now, tap)
		}
	}
}

func TestIntegrationWithoutOpenVSwitchNodesSayWhatToDo(t *testing.T) {
	s := newSwitchEnv(t)
	must(t, s.sw.StopServer())
	must(t, os.Remove(s.sw.Socket))
	s.start(true, Physnet{})
	s.place(node("a", "p1"))
	eventually(t, 10*time.Second, "the reason", func() bool {
		return strings.Contains(s.node("a").Host.Error, "install and start openvswitch-switch")
	})
	must(t, s.sw.StartServer(t.Context()))
	s.settled(1)
}

// Open vSwitch takes no loopback device, and somebody who holds eth1 keeps it from it likewise.
func TestIntegrationADeviceThatOpenVSwitchCannotOpenIsAnError(t *testing.T) {
	s := newSwitchEnv(t)
	s.devices()
	must(t, netlink.LinkSetUp(s.link("lo")))
	s.start(true, Physnet{})
	s.place(node("a", "p1"))
	s.settled(1)
	s.start(true, Physnet{Device: "lo"})
	eventually(t, 20*time.Second, "the error", func() bool { return s.node("a").Host.Phase == state.HostError })
	if got := s.node("a").Host.Error; !strings.Contains(got, "lo") || !strings.Contains(got, "map another device in agent.yml") {
		t.Errorf("error %q", got)
	}
	s.start(true, Physnet{Device: "eth1"})
	s.settled(1, portLink(true, "brtenks0"))
	// What was in the way is gone: it is tried again, with nobody's help.
	s.vsctl("set interface eth1 type=tap")
	s.passes("p-a-0-tap", "eth1.far", true)
	s.settled(1, portLink(true, "brtenks0"))
}

// guest is a NIC on a tap as libvirt's macvtap in mode passthrough is, in a network
// namespace of its own.
func (s *switchEnv) guest(tap, address string) netns.NsHandle {
	s.t.Helper()
	home, err := netns.Get()
	must(s.t, err)
	defer home.Close()
	ns, err := netns.New()
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, ns.Close()) })
	must(s.t, netns.Set(home))
	must(s.t, netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "guest", ParentIndex: s.link(tap).Attrs().Index, Namespace: netlink.NsFd(ns)}, Mode: netlink.MACVLAN_MODE_PASSTHRU}))
	must(s.t, netns.Set(ns))
	defer func() { must(s.t, netns.Set(home)) }()
	l := s.link("guest")
	addr, err := netlink.ParseAddr(address)
	must(s.t, err)
	must(s.t, errors.Join(netlink.AddrAdd(l, addr), netlink.LinkSetUp(l)))
	return ns
}

// inside runs do on a thread in a network namespace.
func inside(ns netns.NsHandle, do func() error) error {
	ended := make(chan error, 1)
	go func() { // ends before inside does
		runtime.LockOSThread() // and is not unlocked: the thread ends with its goroutine
		if err := netns.Set(ns); err != nil {
			ended <- err
			return
		}
		ended <- do()
	}()
	return <-ended
}

func TestIntegrationGuestsTalkTCPOverAUserspaceBridge(t *testing.T) {
	s := newSwitchEnv(t)
	s.start(true, Physnet{})
	s.place(node("a", "p1"), node("b", "p1"))
	s.settled(2)
	a, b := s.guest("p-a-0-tap", "10.9.0.1/24"), s.guest("p-b-0-tap", "10.9.0.2/24")
	var listener net.Listener
	must(t, inside(a, func() (err error) { listener, err = net.Listen("tcp", "10.9.0.1:7000"); return err }))
	defer listener.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() { // ends with the connection, or the listener
		c, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write(sent)
		_ = c.Close()
	}()
	var got []byte
	began := time.Now()
	must(t, inside(b, func() error {
		c, err := net.DialTimeout("tcp", "10.9.0.1:7000", 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		got, err = io.ReadAll(c)
		return err
	}))
	if !bytes.Equal(sent, got) {
		t.Errorf("%d bytes arrived, want %d", len(got), len(sent))
	}
	t.Logf("%d bytes in %v", len(got), time.Since(began).Round(time.Millisecond))
}

func TestIntegrationAVLANOfAnOpenVSwitchBridgeAndAnOverlay(t *testing.T) {
	s := newSwitchEnv(t)
	s.devices()
	s.vsctl("set port ovs tag=30")
	addr, err := netlink.ParseAddr("10.8.0.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(s.link("eth1"), addr))
	before := s.traces()
	s.config.VXLAN = state.Endpoint{Address: "10.8.0.1", Port: 4789}
	s.start(true, Physnet{})
	s.place(node("a", "p1"))
	for _, openVSwitch := range []bool{true, false} {
		for vlan, passes := range map[int]bool{30: true, 31: false, 0: false} {
			s.start(openVSwitch, Physnet{Device: "br-ovs", VLAN: vlan})
			s.settled(1, portLink(openVSwitch, "brtenks0"))
			s.passes("p-a-0-tap", "br-ovs.far", passes)
		}
	}
	s.start(true, Physnet{VNI: 5})
	s.settled(1, portLink(true, "brtenks0"))
	if got := s.vsctl("list-ports brtenks0"); !slices.Contains(strings.Fields(got), "x-brtenks0") {
		t.Errorf("ports of an overlay's bridge: %s", got)
	}
	if got := s.vsctl("get interface x-brtenks0 error"); got != "[]" {
		t.Errorf("the overlay's port: %s", got)
	}
	s.removeNode("a")
	eventually(t, 20*time.Second, "nothing left", func() bool { return cmp.Equal(before, s.traces()) })
}

func TestIntegrationWhatAnotherToolMadeInOpenVSwitchIsTakenOver(t *testing.T) {
	s := newSwitchEnv(t)
	s.devices()
	s.pair("p-old0-0-ovs", "p-old0-0-tap")
	tap := s.link("p-old0-0-tap").Attrs()
	s.vsctl("add-br brtenks4 -- set bridge brtenks4 datapath_type=netdev")
	s.vsctl("add-port brtenks4 p-old0-0-ovs tag=7 -- set port p-old0-0-ovs external_ids:who=me")
	s.vsctl("add-port brtenks4 p-brtenks4-ovs -- set interface p-brtenks4-ovs type=patch options:peer=p-brtenks4-phy")
	s.vsctl("add-port br-ovs p-brtenks4-phy -- set interface p-brtenks4-phy type=patch options:peer=p-brtenks4-ovs")
	bridge := s.link("brtenks4").Attrs()
	rows := s.vsctl("--bare --columns=_uuid,name list port")
	have, err := s.links.Observe(t.Context())
	must(t, err)
	switches, err := s.db.Observe(t.Context())
	must(t, err)
	if found := foreignLink(annotated(have, switches, nil), switches, tap.Name); found.Problem != "" || found.Bridge != "brtenks4" || found.Device != "br-ovs" {
		t.Errorf("what there is: %+v", found)
	}
	n := node("a", "p1")
	n.Ports[0].MAC = tap.HardwareAddr.String()
	n.Origin = &state.Origin{Links: []state.OriginLink{{Tap: tap.Name, Peer: "p-old0-0-ovs", PeerMAC: s.link("p-old0-0-ovs").Attrs().HardwareAddr.String(),
		Bridge: "brtenks4", BridgeMAC: bridge.HardwareAddr.String()}}}
	s.start(true, Physnet{Device: "br-ovs"})
	s.place(n)
	s.settled(1, state.PortLink{Bridge: "brtenks4", BridgeMAC: bridge.HardwareAddr.String(), Link: "p-old0-0-ovs"})
	if got := s.vsctl("--bare --columns=_uuid,name list port"); got != rows {
		t.Errorf("ports were made anew:\n%s\nwere\n%s", got, rows)
	}
	if now := s.link(tap.Name).Attrs().Index; now != tap.Index {
		t.Errorf("the tap was made anew: index %d, was %d", now, tap.Index)
	}
	if got := s.vsctl("get port p-old0-0-ovs tag external_ids:who external_ids:tenks-node"); got != "7\nme\na" {
		t.Errorf("tag, and whose it is: %q", got)
	}
	s.pair("vnet7", "vnet7.far") // another guest of the tool's
	s.vsctl("add-port brtenks4 vnet7")
	s.removeNode("a")
	eventually(t, 20*time.Second, "the node is gone", func() bool {
		_, err := netlink.LinkByName("p-old0-0-tap")
		return err != nil && len(s.host.Shared()) == 1
	})
	if got := s.vsctl("list-ports brtenks4"); got != "p-brtenks4-ovs\nvnet7" {
		t.Errorf("ports of the bridge that another guest is in: %q", got)
	}
	s.passes("vnet7.far", "br-ovs.far", true)
	s.vsctl("del-port vnet7")
	eventually(t, 20*time.Second, "nothing left of it", func() bool {
		return s.vsctl("list-br") == "br-ovs" && s.vsctl("list-ports br-ovs") == "ovs"
	})
}

// A frame that a busy switch holds for long is seen nevertheless.
func TestIntegrationAFrameThatLeaksLateIsSeen(t *testing.T) {
	s := newSwitchEnv(t)
	s.start(true, Physnet{})
	s.place(node("a", "p1"), node("b", "p1"))
	s.settled(2)
	s.passes("p-a-0-tap", "p-b-0-tap", true)
	must(t, s.sw.Hold())
	time.AfterFunc(400*time.Millisecond, func() { _ = s.sw.Release() })
	if got := s.leaks("p-a-0-tap", []string{"p-b-0-tap"}); len(got) != 1 {
		t.Errorf("a frame that was held for 400 ms came to %v", got)
	}
}

// A host that leaves is as it was before: links with their addresses, forwarding entries, firewall
// rules, and what is in Open vSwitch.
func TestIntegrationAClearedHostIsAsItWas(t *testing.T) {
	s := newSwitchEnv(t)
	s.devices()
	addr, err := netlink.ParseAddr("10.8.0.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(s.link("marker"), addr))
	s.config.VXLAN = state.Endpoint{Address: "10.8.0.1", Port: 4789}
	before := s.traces()
	s.place(node("a", "p1"))
	for i, c := range []struct {
		openVSwitch bool
		as          Physnet
	}{{true, Physnet{Device: "eth1"}}, {true, Physnet{Device: "br-ovs", VLAN: 30}}, {true, Physnet{VNI: 5}}, {false, Physnet{Device: "br-ovs", VLAN: 30}}, {false, Physnet{Device: "eth1"}}} {
		s.close()
		s.config.DB = filepath.Join(t.TempDir(), fmt.Sprintf("%d.db", i)) // it forgets that it was cleared
		s.start(c.openVSwitch, c.as)
		s.settled(1, portLink(c.openVSwitch, "brtenks0"))
		if cmp.Equal(before, s.traces()) {
			t.Errorf("%+v: no traces of a node", c)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := s.host.Clear(ctx)
		cancel()
		must(t, err)
		if d := cmp.Diff(before, s.traces()); d != "" {
			t.Errorf("%+v (-before +after):\n%s", c, d)
		}
	}
}
