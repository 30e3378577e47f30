package ovs

import (
	"errors"
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

	"tenks/hostops/nettest"
	"tenks/hostops/ovs/ovstest"
)

// rig is an Open vSwitch of the test's own, and the Host that is tested on it.
type rig struct {
	tb   testing.TB
	sw   *ovstest.Switch
	host *Host
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	if missing := ovstest.Missing(); missing != "" {
		tb.Skip(missing)
	}
	nettest.Namespace(tb)
	dir, err := os.MkdirTemp("", "ovs") //nolint:usetesting // short: it has a socket
	must(tb, err)
	tb.Cleanup(func() { must(tb, os.RemoveAll(dir)) })
	sw, err := ovstest.Start(tb.Context(), dir, filepath.Join(dir, "db.sock"), exec.CommandContext)
	must(tb, err)
	tb.Cleanup(func() { must(tb, sw.Stop()) })
	r := &rig{tb: tb, sw: sw, host: Open(Config{Mesh: testMesh, DB: sw.DB(), Log: slog.New(slog.DiscardHandler)})}
	tb.Cleanup(func() { must(tb, r.host.Close()) })
	return r
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// vsctl is what somebody else does.
func (r *rig) vsctl(args string) string {
	r.tb.Helper()
	out, err := r.sw.Vsctl(r.tb.Context(), strings.Fields(args)...)
	must(r.tb, err)
	return out
}

func (r *rig) observe() Have {
	r.tb.Helper()
	have, err := r.host.Observe(r.tb.Context())
	must(r.tb, err)
	must(r.tb, have.Down)
	return have
}

// converge applies a plan and checks that nothing is left to do.
func (r *rig) converge(want Want) Have {
	r.tb.Helper()
	for _, s := range Plan(want, r.observe()) {
		must(r.tb, r.host.Apply(r.tb.Context(), s))
	}
	have := r.observe()
	if again := Plan(want, have); len(again) > 0 {
		r.tb.Fatalf("left to do after the plan:\n%s", words(again))
	}
	return have
}

// pair makes a veth pair whose first end is for a bridge.
func (r *rig) pair(name, peer string) {
	r.tb.Helper()
	must(r.tb, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Flags: net.FlagUp}, PeerName: peer}))
	l, err := netlink.LinkByName(peer)
	must(r.tb, err)
	must(r.tb, netlink.LinkSetUp(l))
}

func TestIntegrationABridgeHasItsAddressMTUAndMark(t *testing.T) {
	r := newRig(t)
	r.pair("p-a-0-ovs", "p-a-0-tap")
	have := r.converge(oneNode())
	if d := cmp.Diff(HasBridge{Name: "brtenks0", MAC: testMAC, Datapath: DatapathNetdev, MTU: 1400, Mark: Mark{Role: RoleBridge, Physnet: "net"}}, have.Bridges["brtenks0"]); d != "" {
		t.Errorf("bridge (-want +got):\n%s", d)
	}
	if d := cmp.Diff(HasPort{Name: "p-a-0-ovs", Bridge: "brtenks0", Mark: nodeMark("n1"), Open: true}, have.Ports["p-a-0-ovs"]); d != "" {
		t.Errorf("port (-want +got):\n%s", d)
	}
	l, err := netlink.LinkByName("brtenks0")
	must(t, err)
	if l.Attrs().HardwareAddr.String() != testMAC || l.Attrs().MTU != 1400 {
		t.Errorf("brtenks0 has %s, MTU %d", l.Attrs().HardwareAddr, l.Attrs().MTU)
	}
	r.converge(Want{})
	if got := r.vsctl("list-br"); got != "" {
		t.Errorf("bridges left: %s", got)
	}
	for _, table := range []string{"Bridge", "Port", "Interface"} {
		if got := r.vsctl("--bare list " + table); got != "" {
			t.Errorf("%s rows left: %s", table, got)
		}
	}
	if _, err := netlink.LinkByName("brtenks0"); err == nil {
		t.Error("brtenks0 is still there")
	}
}

func TestIntegrationOnlyWhatIsOursIsMended(t *testing.T) {
	r := newRig(t)
	r.pair("p-a-0-ovs", "p-a-0-tap")
	r.vsctl("add-br br-ex -- set bridge br-ex datapath_type=netdev")
	r.converge(oneNode())
	theirs := []string{
		"set port p-a-0-ovs tag=100 trunks=7,8 vlan_mode=native-untagged other_config:x=y external_ids:ngs=1",
		"set interface p-a-0-ovs ingress_policing_rate=1000 external_ids:iface-id=z",
		"set bridge brtenks0 fail_mode=secure other_config:disable-in-band=true external_ids:who=me",
		"set bridge br-ex other_config:hwaddr=02:00:00:00:00:07",
	}
	for _, change := range theirs {
		r.vsctl(change)
	}
	dump := func() string {
		return r.vsctl("list port p-a-0-ovs") + "\n" + r.vsctl("list interface p-a-0-ovs") + "\n" + r.vsctl("list bridge brtenks0") + "\n" + r.vsctl("list bridge br-ex")
	}
	before := dump()
	for _, drift := range []string{
		"remove port p-a-0-ovs external_ids tenks-node",
		"set bridge brtenks0 datapath_type=system",
		"set bridge brtenks0 other_config:hwaddr=02:00:00:00:00:09",
		"set interface brtenks0 mtu_request=1300",
	} {
		if strings.HasPrefix(drift, "remove port") { // then nobody knows whose it is
			r.vsctl("set port p-a-0-ovs external_ids:tenks-port=4")
		} else {
			r.vsctl(drift)
		}
		if plan := Plan(oneNode(), r.observe()); len(plan) != 1 {
			t.Errorf("%s: plan:\n%s", drift, words(plan))
		}
		r.converge(oneNode())
		// A host that was started anew sees the same.
		must(t, r.host.Close())
	}
	if d := cmp.Diff(strings.Split(steady(before), "\n"), strings.Split(steady(dump()), "\n")); d != "" {
		t.Errorf("rows (-before +after):\n%s", d)
	}
}

// steady leaves out what Open vSwitch counts and says by itself.
func steady(rows string) string {
	lines := strings.Split(rows, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool {
		column, _, _ := strings.Cut(l, " ")
		return slices.Contains([]string{"statistics", "status", "ifindex", "link_resets", "ofport", "datapath_id", "flow_tables", "error", "duplex", "link_speed"}, column)
	}), "\n")
}

func TestIntegrationAPatchPortJoinsABridgeOfTheHost(t *testing.T) {
	r := newRig(t)
	r.vsctl("add-br br-ex -- set bridge br-ex datapath_type=netdev")
	uplink := Mark{Role: RoleUplink, Physnet: "net"}
	want := Want{Bridges: []Bridge{testBridge()}, Ports: []Port{
		{Name: "p-brtenks0-ovs", Bridge: "brtenks0", Peer: "p-brtenks0-phy", Mark: uplink},
		{Name: "p-brtenks0-phy", Bridge: "br-ex", Peer: "p-brtenks0-ovs", Tag: 30, Mark: uplink},
	}}
	have := r.converge(want)
	for _, name := range []string{"p-brtenks0-ovs", "p-brtenks0-phy"} {
		if err := have.Fault(name); err != nil {
			t.Error(err)
		}
	}
	r.vsctl("clear port p-brtenks0-phy tag")
	r.vsctl("set interface p-brtenks0-phy options:peer=nowhere")
	r.converge(want)
	r.vsctl("del-br br-ex")
	if plan := Plan(want, r.observe()); len(plan) != 1 || !strings.Contains(words(plan), "has no bridge br-ex") {
		t.Errorf("plan without br-ex:\n%s", words(plan))
	}
	r.vsctl("add-br br-ex -- set bridge br-ex datapath_type=netdev")
	r.converge(want)
	want.Ports[1].Tag = 0
	r.converge(want)
	r.converge(Want{})
	if got := r.vsctl("list-ports br-ex") + r.vsctl("list-br"); got != "br-ex" {
		t.Errorf("left: %s", got)
	}
}

func TestIntegrationWhatOthersHaveIsRefused(t *testing.T) {
	r := newRig(t)
	r.pair("p-a-0-ovs", "p-a-0-tap")
	r.vsctl("add-br brtenks0 -- set bridge brtenks0 datapath_type=netdev -- add-port brtenks0 p-a-0-ovs")
	for _, s := range []Step{
		{Op: OpBridge, Bridge: testBridge()}, {Op: OpPort, Port: oneNode().Ports[0]},
		{Op: OpDeletePort, Port: Port{Name: "p-a-0-ovs"}}, {Op: OpDeleteBridge, Bridge: testBridge()},
	} {
		if err := r.host.Apply(t.Context(), s); err == nil || !strings.Contains(err.Error(), "not ours") {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestIntegrationAnInterfaceThatComesBackIsOpenedAgain(t *testing.T) {
	r := newRig(t)
	r.pair("p-a-0-ovs", "p-a-0-tap")
	r.pair("p-b-0-ovs", "p-b-0-tap")
	want := twoNodes()
	r.converge(want)
	if !r.reaches("p-a-0-tap", "p-b-0-tap") {
		t.Fatal("no frames")
	}
	r.vsctl("set port p-a-0-ovs tag=9")
	r.vsctl("set port p-b-0-ovs tag=9")
	anew := want
	anew.Anew = []string{"p-a-0-ovs"}
	for _, s := range Plan(anew, r.observe()) {
		must(t, r.host.Apply(t.Context(), s))
		if s.Op == OpClosePort {
			l, err := netlink.LinkByName("p-a-0-ovs")
			must(t, err)
			must(t, netlink.LinkDel(l))
			r.pair("p-a-0-ovs", "p-a-0-tap")
		}
	}
	if have := r.converge(want); have.Ports["p-a-0-ovs"].Tag != 9 {
		t.Errorf("the tag is gone: %+v", have.Ports["p-a-0-ovs"])
	}
	if !r.reaches("p-a-0-tap", "p-b-0-tap") {
		t.Fatal("no frames after the pair was made anew")
	}
}

// reaches reports whether frames pass between two taps, both ways.
func (r *rig) reaches(a, b string) bool {
	r.tb.Helper()
	x, err := ovstest.OpenTap(a)
	must(r.tb, err)
	defer x.Close()
	y, err := ovstest.OpenTap(b)
	must(r.tb, err)
	defer y.Close()
	there, err := ovstest.Reaches(x, y, 2*time.Second)
	must(r.tb, err)
	if !there {
		return false
	}
	back, err := ovstest.Reaches(y, x, 2*time.Second)
	must(r.tb, err)
	return back
}

func (r *rig) await(what string, done func() bool) {
	r.tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.tb.Fatalf("not within 20 s: %s\n%s", what, r.vsctl("show"))
		}
	}
}

func TestIntegrationADatabaseThatRestartsIsFoundAgain(t *testing.T) {
	r := newRig(t)
	r.pair("p-a-0-ovs", "p-a-0-tap")
	woken := make(chan struct{}, 1)
	watched := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() {
		watched <- r.host.Watch(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	r.converge(oneNode())
	<-woken
	must(t, r.sw.StopServer())
	r.await("the loss is seen", func() bool {
		have, err := r.host.Observe(t.Context())
		must(t, err)
		return have.Down != nil
	})
	must(t, r.sw.StartServer(t.Context()))
	r.await("the database answers", func() bool {
		have, err := r.host.Observe(t.Context())
		must(t, err)
		return have.Down == nil
	})
	r.converge(oneNode())
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

func TestIntegrationASwitchThatDoesNotRunIsSaid(t *testing.T) {
	r := newRig(t)
	must(t, r.host.Probe(t.Context()))
	must(t, r.sw.StopSwitchd())
	ctx, cancel := contextOf(t)
	defer cancel()
	r.host.cfg.settle = 300 * time.Millisecond
	err := r.host.Apply(ctx, Step{Op: OpBridge, Bridge: testBridge()})
	if err == nil || !strings.Contains(err.Error(), "ovs-vswitchd does not carry it out") {
		t.Errorf("without ovs-vswitchd: %v", err)
	}
	must(t, r.sw.StopServer())
	if err := r.host.Probe(ctx); err == nil {
		t.Error("ovs-vswitchd answers although it does not run")
	}
	var have Have
	r.await("the loss is seen", func() bool {
		have, err = r.host.Observe(t.Context())
		must(t, err)
		return have.Down != nil
	})
	if !strings.Contains(have.Down.Error(), "start openvswitch-switch") {
		t.Errorf("without a database: %v", have.Down)
	}
	if plan := Plan(oneNode(), have); len(plan) > 0 {
		t.Errorf("plan without a database:\n%s", words(plan))
	}
	if err := r.host.Apply(t.Context(), Step{Op: OpBridge, Bridge: testBridge()}); err == nil || errors.Is(err, ctx.Err()) {
		t.Errorf("apply without a database: %v", err)
	}
}

func TestIntegrationADeviceThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	r := newRig(t)
	want := Want{Bridges: []Bridge{testBridge()}, Ports: []Port{{Name: "eth7", Bridge: "brtenks0", Mark: Mark{Role: RoleDevice, Physnet: "net"}}}}
	for range 2 {
		var errs error
		for _, s := range Plan(want, r.observe()) {
			errs = errors.Join(errs, r.host.Apply(t.Context(), s))
		}
		if errs == nil || !strings.Contains(errs.Error(), "eth7") || !strings.Contains(errs.Error(), "agent.yml") {
			t.Errorf("a device that is not there: %v", errs)
		}
	}
	r.pair("eth7", "eth7.far")
	if have := r.converge(want); have.Fault("eth7") != nil {
		t.Errorf("once it is there: %v", have.Fault("eth7"))
	}
}
