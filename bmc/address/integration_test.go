package address

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is a network namespace with a device eth0 that is wired to a bridge.
type space struct {
	t   *testing.T
	ns  netns.NsHandle
	mac net.HardwareAddr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wired makes namespaces whose eth0 have these addresses and are in one bridge.
func wired(t *testing.T, addresses ...[]string) []*space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	must(t, err)
	hub, err := netns.New()
	if err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	t.Cleanup(func() {
		must(t, netns.Set(home))
		runtime.UnlockOSThread()
		must(t, errors.Join(hub.Close(), home.Close()))
	})
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "hub", Flags: net.FlagUp}, MulticastSnooping: &off}
	must(t, netlink.LinkAdd(bridge))
	must(t, netlink.LinkSetUp(bridge))
	var out []*space
	for i, list := range addresses {
		out = append(out, attach(t, hub, bridge, i, list))
	}
	return out
}

func attach(t *testing.T, hub netns.NsHandle, bridge netlink.Link, number int, addresses []string) *space {
	t.Helper()
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { must(t, ns.Close()) })
	must(t, netns.Set(hub))
	s := &space{t: t, ns: ns, mac: net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(number + 1)}}
	port := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "h" + string(rune('0'+number)), Flags: net.FlagUp, MasterIndex: bridge.Attrs().Index},
		PeerName: "eth0", PeerHardwareAddr: s.mac, PeerNamespace: netlink.NsFd(ns)}
	must(t, netlink.LinkAdd(port))
	must(t, netlink.LinkSetUp(port))
	s.in(func() {
		eth0, err := netlink.LinkByName("eth0")
		must(t, err)
		// Without the kernel's detection of duplicates, which takes a second.
		must(t, netlink.LinkSetIP6AddrGenMode(eth0, 1))
		must(t, netlink.LinkSetUp(eth0))
		for _, text := range append(addresses, fmt.Sprintf("fe80::%d/64", number+1)) {
			a, err := netlink.ParseAddr(text)
			must(t, err)
			if a.IP.To4() == nil {
				a.Flags = unix.IFA_F_NODAD
			}
			must(t, netlink.AddrAdd(eth0, a))
		}
	})
	return s
}

// in runs something in the namespace.
func (s *space) in(do func()) {
	s.t.Helper()
	home, err := netns.Get()
	must(s.t, err)
	defer home.Close()
	must(s.t, netns.Set(s.ns))
	do()
	must(s.t, netns.Set(home))
}

func (s *space) open(file string) (h *Host) {
	s.t.Helper()
	s.in(func() {
		var err error
		h, err = Open(Config{File: file, BootID: "boot", Log: slog.New(slog.DiscardHandler)})
		must(s.t, err)
	})
	s.t.Cleanup(h.Close)
	return h
}

// keep returns why an address cannot be had, and how long it took.
func (s *space) keep(h *Host, want ...string) (map[netip.Addr]error, time.Duration) {
	s.t.Helper()
	var errs map[netip.Addr]error
	start := time.Now()
	s.in(func() {
		var err error
		errs, err = h.Keep(s.t.Context(), wants(want...))
		must(s.t, err)
	})
	return errs, time.Since(start)
}

// has returns the single addresses of eth0.
func (s *space) has() (out []string) {
	s.t.Helper()
	s.in(func() {
		eth0, err := netlink.LinkByName("eth0")
		must(s.t, err)
		all, err := netlink.AddrList(eth0, netlink.FAMILY_ALL)
		must(s.t, err)
		for _, a := range all {
			if bits, size := a.Mask.Size(); bits == size {
				out = append(out, a.IP.String())
			}
		}
	})
	return out
}

// neighbour is who has an address, as the namespace believes, and how sure it is.
func (s *space) neighbour(address string) (mac string, state int) {
	s.t.Helper()
	s.in(func() {
		eth0, err := netlink.LinkByName("eth0")
		must(s.t, err)
		all, err := netlink.NeighList(eth0.Attrs().Index, netlink.FAMILY_ALL)
		must(s.t, err)
		for _, n := range all {
			if n.IP.Equal(net.ParseIP(address)) {
				mac, state = n.HardwareAddr.String(), n.State
			}
		}
	})
	return mac, state
}

// believe makes the namespace sure that somebody has an address.
func (s *space) believe(address string, mac net.HardwareAddr, state int) {
	s.t.Helper()
	s.in(func() {
		eth0, err := netlink.LinkByName("eth0")
		must(s.t, err)
		must(s.t, netlink.NeighSet(&netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: net.ParseIP(address), HardwareAddr: mac, State: state}))
	})
}

func (s *space) waitNeighbour(address string, want net.HardwareAddr) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Second); ; <-time.After(5 * time.Millisecond) {
		mac, state := s.neighbour(address)
		if mac == want.String() {
			s.t.Logf("%s is at %s (state %#x)", address, mac, state)
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is at %s, state %#x, want %s", address, mac, state, want)
		}
	}
}

func TestIntegrationAnAddressMovesFromHostToHost(t *testing.T) {
	spaces := wired(t, []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"}, []string{"192.0.2.3/24", "2001:db8::3/64"})
	a, b, third := spaces[0], spaces[1], spaces[2]
	dir := t.TempDir()
	ha, hb := a.open(filepath.Join(dir, "a")), b.open(filepath.Join(dir, "b"))
	addresses := []string{"192.0.2.100", "2001:db8::100"}

	errs, took := a.keep(ha, addresses...)
	if len(errs) > 0 || strings.Join(a.has(), " ") != "192.0.2.100 2001:db8::100" {
		t.Fatalf("added: %v, has %v", errs, a.has())
	}
	t.Logf("added after %s", took.Round(time.Millisecond))
	if took < probeTime || took > 2*time.Second {
		t.Errorf("it took %s, probes take %s", took, probeTime)
	}
	for _, at := range addresses { // as after traffic: the entry is confirmed and nobody asks again
		third.believe(at, a.mac, netlink.NUD_REACHABLE)
	}

	errs, _ = b.keep(hb, addresses...)
	for _, at := range addresses {
		if err := errs[addr(at)]; err == nil || err.Error() != at+" is in use by "+a.mac.String() {
			t.Errorf("while it is on the first host: %v", err)
		}
	}
	if len(b.has()) > 0 {
		t.Errorf("the second host has %v", b.has())
	}

	if _, took := a.keep(ha); len(a.has()) > 0 || took > probeTime {
		t.Errorf("removed: %v, after %s", a.has(), took)
	}
	if errs, _ := b.keep(hb, addresses...); len(errs) > 0 || len(b.has()) != 2 {
		t.Fatalf("moved: %v, has %v", errs, b.has())
	}
	for _, at := range addresses {
		third.waitNeighbour(at, b.mac)
	}

	// The next agent neither asks nor tells, and takes away what it does not want.
	again := b.open(filepath.Join(dir, "b"))
	if errs, took := b.keep(again, addresses...); len(errs) > 0 || len(b.has()) != 2 || took > probeTime/2 {
		t.Errorf("the next agent: %v, has %v after %s", errs, b.has(), took)
	}
	b.in(func() {
		must(t, Clear(t.Context(), Config{File: filepath.Join(dir, "b"), BootID: "boot", Log: slog.New(slog.DiscardHandler)}))
	})
	if len(b.has()) > 0 {
		t.Errorf("left: %v", b.has())
	}
}

func TestIntegrationWhatForeignHostsHaveIsNotTaken(t *testing.T) {
	spaces := wired(t, []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.100/24", "2001:db8::100/64"})
	h := spaces[0].open(filepath.Join(t.TempDir(), "a"))
	want := []string{"192.0.2.1", "2001:db8::1", "192.0.2.100", "2001:db8::100", "198.51.100.1"}
	errs, took := spaces[0].keep(h, want...)
	for at, text := range map[string]string{
		"192.0.2.1":     "192.0.2.1 is this host's own, on eth0: take it out of bmc.addresses",
		"2001:db8::1":   "2001:db8::1 is this host's own, on eth0: take it out of bmc.addresses",
		"192.0.2.100":   "192.0.2.100 is in use by " + spaces[1].mac.String(),
		"2001:db8::100": "2001:db8::100 is in use by " + spaces[1].mac.String(),
		"198.51.100.1":  "no link in the BMC network of 198.51.100.1",
	} {
		if err := errs[addr(at)]; err == nil || err.Error() != text {
			t.Errorf("%s: %v, want %s", at, err, text)
		}
	}
	if has := spaces[0].has(); len(has) > 0 {
		t.Errorf("it has %v", has)
	}
	t.Logf("took %s", took.Round(time.Millisecond))
	var many []string
	for i := range 500 {
		many = append(many, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 13: 1, 14: byte(i >> 8), 15: byte(i)}).String())
	}
	errs, took = spaces[0].keep(h, many...)
	if len(errs) > 0 || took > 5*time.Second {
		t.Errorf("%d errors, after %s", len(errs), took)
	}
	t.Logf("%d addresses took %s", len(many), took.Round(time.Millisecond))
	if errs, _ := spaces[0].keep(h); len(errs) > 0 || len(spaces[0].has()) > 0 {
		t.Errorf("left: %v, %v", errs, spaces[0].has())
	}
}
