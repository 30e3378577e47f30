package hostops

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tenks/hostops/link"
	"tenks/hostops/nettest"
	"tenks/hostops/ovs"
	"tenks/hostops/ovs/ovstest"
	"tenks/raftfsm/state"
)

// switchEnv is a host with real links and an Open vSwitch of its own.
type switchEnv struct {
	*env
	t     *testing.T
	sw    *ovstest.Switch
	links *link.Host
	db    *ovs.Host
	queue *nettest.Queue
}

// hopsMost are the veth pairs and switches that a frame may pass from one tap to another: tap,
// bridge of ours, uplink, the host's bridge, and what is beyond it.
const hopsMost = 5

func newSwitchEnv(t *testing.T) *switchEnv {
	t.Helper()
	if missing := ovstest.Missing(); missing != "" {
		t.Skip(missing)
	}
	e, _, links := realEnv(t)
	dir, err := os.MkdirTemp("", "ovs") //nolint:usetesting // short: it has a socket
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	sw, err := ovstest.Start(t.Context(), dir, filepath.Join(dir, "db.sock"), exec.CommandContext)
	must(t, err)
	t.Cleanup(func() { must(t, sw.Stop()) })
	db := ovs.Open(ovs.Config{Mesh: mesh, DB: sw.DB(), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { must(t, db.Close()) })
	userspace, err := link.Open(link.Config{Mesh: mesh, Userspace: true, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, userspace.Close()) })
	t.Cleanup(e.close) // before what it uses
	e.config.Links, e.config.Switches, e.config.Datapath = userspace, db, ovs.DatapathNetdev
	return &switchEnv{env: e, t: t, sw: sw, links: links, db: db, queue: nettest.NewQueue(t)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start begins with another agent.yml: an agent that was restarted.
func (s *switchEnv) start(openVSwitch bool, p1 Physnet) {
	s.t.Helper()
	s.close()
	s.config.OVS = openVSwitch
	s.config.Physnets = map[string]Physnet{"p1": p1}
	s.open()
	s.run()
}

func (s *switchEnv) vsctl(args string) string {
	s.t.Helper()
	out, err := s.sw.Vsctl(s.t.Context(), strings.Fields(args)...)
	must(s.t, err)
	return out
}

// pair makes a veth pair that is up.
func (s *switchEnv) pair(a, b string) {
	s.t.Helper()
	must(s.t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a, Flags: net.FlagUp}, PeerName: b}))
	must(s.t, netlink.LinkSetUp(s.link(b)))
}

func (s *switchEnv) link(name string) netlink.Link {
	s.t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		s.t.Fatalf("link %s: %v", name, err)
	}
	return l
}

// settled waits until all n nodes are ready as the state says, and passes write nothing.
func (s *switchEnv) settled(n int, links ...state.PortLink) {
	s.t.Helper()
	quiet, last := 0, Stats{}
	deadline := time.Now().Add(20 * time.Second)
	for quiet < 2 || !s.allReady(n) || len(links) > 0 && !cmp.Equal(s.node("a").Host.Links, links) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not settled within 20 s: a is %+v, want links %+v\n%s", s.node("a").Host, links, s.vsctl("show"))
		}
		s.host.wakeSoon()
		<-time.After(20 * time.Millisecond)
		now := s.host.Stats()
		if now.Passes == last.Passes {
			continue
		}
		quiet++
		if now.LinkWrites != last.LinkWrites || now.DriverWrites != last.DriverWrites {
			quiet = 0
		}
		last = now
	}
}

// passes fails the test unless frames pass between two interfaces, or do not.
func (s *switchEnv) passes(from, to string, want bool) {
	s.t.Helper()
	if !want {
		s.reachesNone(from, []string{to})
		s.reachesNone(to, []string{from})
		return
	}
	a, b := s.tap(from), s.tap(to)
	defer a.Close()
	defer b.Close()
	for _, way := range [][2]*ovstest.Tap{{a, b}, {b, a}} {
		got, err := ovstest.Reaches(way[0], way[1], 5*time.Second)
		must(s.t, err)
		if !got {
			s.t.Errorf("no frames from %s to %s\n%s", way[0].Name, way[1].Name, s.vsctl("show"))
		}
	}
}

// reachesNone fails the test if a frame from one interface comes to any of others.
func (s *switchEnv) reachesNone(from string, others []string) {
	s.t.Helper()
	for _, name := range s.leaks(from, others) {
		s.t.Errorf("a frame from %s came to %s\n%s", from, name, s.vsctl("show"))
	}
}

// leaks returns to which of others a frame from one interface comes.
func (s *switchEnv) leaks(from string, others []string) (came []string) {
	s.t.Helper()
	a := s.tap(from)
	defer a.Close()
	var taps []*ovstest.Tap
	defer func() {
		for _, b := range taps {
			must(s.t, b.Close())
		}
	}()
	for _, name := range others {
		taps = append(taps, s.tap(name))
	}
	text := fmt.Sprintf("from %s %d", from, time.Now().UnixNano())
	must(s.t, a.Send(text))
	s.queue.Drain(s.t.Context(), hopsMost, s.db.Probe)
	for _, b := range taps {
		if b.Received(text) {
			came = append(came, b.Name)
		}
	}
	return came
}

func (s *switchEnv) tap(name string) *ovstest.Tap {
	s.t.Helper()
	t, err := ovstest.OpenTap(name)
	must(s.t, err)
	return t
}

// traces is everything that there is, to be compared before and after.
func (s *switchEnv) traces() []string {
	s.t.Helper()
	have, err := s.links.Observe(s.t.Context())
	must(s.t, err)
	var out []string
	for name, l := range have.Links {
		out = append(out, fmt.Sprintf("link %s %s in %q MTU %d up %v %s addresses %v", name, l.Kind, l.Master, l.MTU, l.Up, l.MAC, have.Addresses[name]))
	}
	fdb, err := netlink.NeighList(0, unix.AF_BRIDGE)
	must(s.t, err)
	for _, e := range fdb {
		if e.State&unix.NUD_PERMANENT == 0 { // what a bridge learned comes and goes
			continue
		}
		l, err := netlink.LinkByIndex(e.LinkIndex)
		must(s.t, err)
		out = append(out, fmt.Sprintf("fdb %s %s %v", l.Attrs().Name, e.HardwareAddr, e.IP))
	}
	if nft, err := exec.LookPath("nft"); err == nil {
		rules, err := exec.CommandContext(s.t.Context(), nft, "list", "ruleset").CombinedOutput()
		must(s.t, err)
		out = append(out, "nft "+string(rules))
	}
	for _, table := range []string{"Bridge", "Port", "Interface"} {
		out = append(out, strings.Split(s.vsctl("--bare --columns=name,external_ids list "+table), "\n")...)
	}
	slices.Sort(out)
	return out
}

// devices makes one device of each kind, each with an interface beyond it.
func (s *switchEnv) devices() {
	s.t.Helper()
	s.pair("eth1", "eth1.far")
	s.pair("lin", "br-lin.far")
	s.pair("ovs", "br-ovs.far")
	must(s.t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br-lin", Flags: net.FlagUp}}))
	must(s.t, netlink.LinkSetMaster(s.link("lin"), s.link("br-lin")))
	s.vsctl("add-br br-ovs -- set bridge br-ovs datapath_type=netdev -- add-port br-ovs ovs")
}

func portLink(bridgeType bool, bridge string) state.PortLink {
	l := state.PortLink{Bridge: bridge, BridgeMAC: link.BridgeMAC(mesh, "p1"), Link: "p-a-0-br"}
	if bridgeType {
		l.Link = "p-a-0-ovs"
	}
	return l
}
