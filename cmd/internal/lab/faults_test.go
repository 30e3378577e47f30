package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testPort = 7777

// radio is a UDP socket of a host.
type radio struct {
	net.PacketConn
	t    *testing.T
	host *Host
	sent int
}

func radioOf(t *testing.T, h *Host) *radio {
	t.Helper()
	r := &radio{t: t, host: h}
	must(t, h.InNetns(func() (err error) {
		var lc net.ListenConfig
		r.PacketConn, err = lc.ListenPacket(t.Context(), "udp4", fmt.Sprintf(":%d", testPort))
		return err
	}))
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// sends sends a datagram and reports whether it arrives.
func (r *radio) sends(to *radio) bool {
	r.t.Helper()
	r.sent++
	text := fmt.Appendf(nil, "%s %d", r.host.Name(), r.sent)
	_, err := r.WriteTo(text, &net.UDPAddr{IP: net.ParseIP(to.host.Address()), Port: testPort})
	if err != nil {
		return false // no route while eth0 has no carrier
	}
	must(r.t, to.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	buffer := make([]byte, 100)
	for {
		n, _, err := to.ReadFrom(buffer)
		if err != nil {
			return false
		}
		if bytes.Equal(buffer[:n], text) {
			return true
		}
	}
}

// hears waits until datagrams arrive, or do not.
func hears(t *testing.T, from, to *radio, want bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s hears %s: %t", to.host.Name(), from.host.Name(), want), func() bool { return from.sends(to) == want })
}

// threeRadios are of hosts a, b and c that hear each other.
func threeRadios(t *testing.T) (l *Lab, a, b, c *radio) {
	t.Helper()
	RequireFaults(t)
	l = newLab(t)
	hosts, err := l.Add(t.Context(), Spec{Name: "a"}, Spec{Name: "b"}, Spec{Name: "c"})
	must(t, err)
	a, b, c = radioOf(t, hosts[0]), radioOf(t, hosts[1]), radioOf(t, hosts[2])
	for _, pair := range [][2]*radio{{a, b}, {b, c}, {c, a}} {
		hears(t, pair[0], pair[1], true)
		hears(t, pair[1], pair[0], true)
	}
	return l, a, b, c
}

func TestIntegrationLabPartitionsHosts(t *testing.T) {
	l, a, b, c := threeRadios(t)

	must(t, l.Partition(t.Context(), a.host, b.host))
	must(t, l.Partition(t.Context(), a.host, b.host))
	hears(t, a, b, false)
	hears(t, b, a, false)
	hears(t, a, c, true)
	hears(t, c, b, true)
	must(t, l.Heal(t.Context(), b.host, a.host))
	hears(t, a, b, true)
	hears(t, b, a, true)

	must(t, l.PartitionOneWay(t.Context(), a.host, b.host))
	hears(t, a, b, false)
	// Without the MAC addresses that were learnt before, too.
	output(t, b.host, "ip", "neigh", "flush", "all")
	hears(t, b, a, true)
	if a.sends(b) {
		t.Error("frames pass in the direction that is cut")
	}
	must(t, l.HealAll(t.Context()))
	hears(t, a, b, true)
}

func TestIntegrationLabIsolatesAHostSilently(t *testing.T) {
	l, a, b, _ := threeRadios(t)
	must(t, a.host.Isolate(t.Context()))
	hears(t, a, b, false)
	hears(t, b, a, false)
	if got := output(t, a.host, "cat", "/sys/class/net/eth0/carrier"); got != "1" {
		t.Errorf("carrier of an isolated host: got %s, want 1", got)
	}
	// A partition is undone without regard to it.
	must(t, l.Partition(t.Context(), a.host, b.host))
	must(t, l.Heal(t.Context(), a.host, b.host))
	if b.sends(a) {
		t.Error("healing a partition let an isolated host back in")
	}
	must(t, a.host.Rejoin(t.Context()))
	hears(t, a, b, true)

	must(t, a.host.Unplug(t.Context()))
	if got, err := a.host.Command(t.Context(), "cat", "/sys/class/net/eth0/carrier").Output(); string(got) != "0\n" {
		t.Errorf("carrier of an unplugged host: got %q (%v), want 0", got, err)
	}
	must(t, a.host.Kill(t.Context()))
	must(t, a.host.Boot(t.Context()))
	a = radioOf(t, a.host)
	if a.sends(b) {
		t.Error("a boot put the cable back")
	}
	must(t, l.HealAll(t.Context()))
	hears(t, a, b, true)
}

func TestIntegrationLabLosesAFractionOfFrames(t *testing.T) {
	l, a, b, _ := threeRadios(t)
	must(t, l.Lose(t.Context(), 0.5, a.host, b.host))
	const all = 60
	arrived := 0
	for range all {
		if a.sends(b) {
			arrived++
		}
	}
	// Binomial: outside of this once in ten million runs.
	if arrived < 10 || arrived > 50 {
		t.Errorf("%d of %d frames arrived, with half of them lost", arrived, all)
	}
	must(t, l.Lose(t.Context(), 0, a.host, b.host))
	for range 10 {
		if !a.sends(b) {
			t.Error("a frame was lost after that was undone")
		}
	}
	for _, fraction := range []float64{-0.1, 1.1} {
		if err := l.Lose(t.Context(), fraction, a.host, b.host); err == nil {
			t.Errorf("losing %v of all frames was taken", fraction)
		}
	}
}

func TestIntegrationLabPausedHostStandsStill(t *testing.T) {
	_, a, b, _ := threeRadios(t)
	ticks := a.host.Command(t.Context(), "sh", "-c", "while :; do echo; sleep 0.01; done >/run/ticks")
	still := a.host.Command(t.Context(), "sleep", "1000")
	for _, cmd := range []*exec.Cmd{ticks, still} {
		must(t, cmd.Start())
	}
	count := func() int64 {
		info, err := os.Stat(a.host.Path("/run/ticks"))
		must(t, err)
		return info.Size()
	}
	eventually(t, "the program to start", func() bool { _, err := os.Stat(a.host.Path("/run/ticks")); return err == nil })
	eventually(t, "a process to be in the host", func() bool { return inside(still.Process.Pid, a.host.inside()) })
	must(t, still.Process.Signal(syscall.SIGSTOP))
	eventually(t, "a process to stand still", func() bool { return stands(still.Process.Pid) })
	must(t, a.host.Pause(t.Context()))
	must(t, a.host.Pause(t.Context()))
	before := count()
	hears(t, a, b, false)
	hears(t, b, a, false)
	if after := count(); after != before {
		t.Errorf("a program in a paused host went on: %d, then %d", before, after)
	}
	must(t, a.host.Resume(t.Context()))
	hears(t, a, b, true)
	eventually(t, "the program to go on", func() bool { return count() > before })
	if !stands(still.Process.Pid) {
		t.Error("what stood still before the pause does not any more")
	}

	// One that is paused can lose its power.
	must(t, a.host.Pause(t.Context()))
	must(t, a.host.Kill(t.Context()))
	for _, cmd := range []*exec.Cmd{ticks, still} {
		_ = cmd.Wait() // killed
	}
	if err := a.host.Pause(t.Context()); !errors.Is(err, ErrOff) {
		t.Errorf("pause of a host that is off: got %v, want %v", err, ErrOff)
	}
	must(t, a.host.Boot(t.Context()))
	hears(t, radioOf(t, a.host), b, true)
}

func TestRulesReplaceAllThatWereThere(t *testing.T) {
	const clean = "table bridge lab {}\ndelete table bridge lab\n"
	tests := []struct {
		name string
		loss map[fault]int
		want string
	}{
		{"no fault leaves no table", nil, clean},
		{"a partition is between ports, on every network", map[fault]int{{partitioned, 1, 2}: certain}, clean + `table bridge lab {
 chain forward {
  type filter hook forward priority -300;
  iifname "h1" oifname "h2" drop
  iifname "h1" oifname "h2n*" drop
  iifname "h1n*" oifname "h2" drop
  iifname "h1n*" oifname "h2n*" drop
 }
}
`},
		{"one way lets ARP through; some of all is at random; each way has its hook",
			map[fault]int{{oneWay, 3, 1}: certain, {lossy, 1, 3}: 250_000, {isolated, 2, 0}: certain, {isolated, 0, 2}: certain}, clean + `table bridge lab {
 chain forward {
  type filter hook forward priority -300;
  iifname "h1" oifname "h3" numgen random mod 1000000 < 250000 drop
  iifname "h1" oifname "h3n*" numgen random mod 1000000 < 250000 drop
  iifname "h1n*" oifname "h3" numgen random mod 1000000 < 250000 drop
  iifname "h1n*" oifname "h3n*" numgen random mod 1000000 < 250000 drop
  iifname "h3" oifname "h1" ether type != arp drop
  iifname "h3" oifname "h1n*" ether type != arp drop
  iifname "h3n*" oifname "h1" ether type != arp drop
  iifname "h3n*" oifname "h1n*" ether type != arp drop
 }
 chain postrouting {
  type filter hook postrouting priority -300;
  oifname "h2" drop
  oifname "h2n*" drop
 }
 chain prerouting {
  type filter hook prerouting priority -300;
  iifname "h2" drop
  iifname "h2n*" drop
 }
}
`},
	}
	for _, tt := range tests {
		if got := rules(tt.loss); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestIntegrationLabNetworksAreApart(t *testing.T) {
	RequireFaults(t)
	l := newLab(t)
	a := addHost(t, l, "a")
	must(t, l.AddNetwork(t.Context(), "physnet1"))
	must(t, l.AddNetwork(t.Context(), "storage-net"))
	b := addHost(t, l, "b")
	for _, h := range []*Host{a, b} {
		if got := output(t, h, "ls", "/sys/class/net"); got != "eth-physnet1\neth-storage-net\neth0\nlo" {
			t.Fatalf("host %s: interfaces: %q", h.Name(), got)
		}
	}
	for _, name := range []string{"", "physnet1", "A", "twelve-bytes", "a/b"} {
		if err := l.AddNetwork(t.Context(), name); err == nil {
			t.Errorf("network %q was taken", name)
		}
	}
	one, two, other := sniff(t, b, "eth-physnet1"), sniff(t, b, "eth-storage-net"), sniff(t, b, "eth0")
	const mac = "02:00:00:00:00:99" // not the interface's, which the kernel uses, too
	send := func() { broadcast(t, a, "eth-physnet1", mac) }
	send()
	if seen := senders(t, one, mac, 1, 5*time.Second); seen[mac] != 1 {
		t.Errorf("the same network: got %v, want a frame of %s", seen, mac)
	}
	if seen := senders(t, two, mac, 1, 50*time.Millisecond); seen[mac] != 0 {
		t.Errorf("another network has a frame of %s", mac)
	}
	if seen := senders(t, other, mac, 1, 50*time.Millisecond); seen[mac] != 0 {
		t.Errorf("the hosts' network has a frame of %s", mac)
	}
	must(t, l.Partition(t.Context(), a, b))
	send()
	if seen := senders(t, one, mac, 1, 100*time.Millisecond); seen[mac] != 0 {
		t.Error("a partition lets frames of another network through")
	}
	must(t, l.HealAll(t.Context()))
	must(t, a.Unplug(t.Context()))
	send()
	if seen := senders(t, one, mac, 1, 5*time.Second); seen[mac] != 1 {
		t.Error("pulling eth0's cable cuts another network")
	}
	must(t, b.Kill(t.Context()))
	must(t, b.Boot(t.Context()))
	if got := output(t, b, "cat", "/sys/class/net/eth-physnet1/address", "/sys/class/net/eth0/address"); got != b.mac(1)+"\n"+b.mac(0) {
		t.Errorf("MAC addresses after a boot: %q", got)
	}
}

// broadcast sends a frame of an experimental EtherType to everybody.
func broadcast(t *testing.T, h *Host, device, mac string) {
	t.Helper()
	from, err := net.ParseMAC(mac)
	must(t, err)
	out := sniff(t, h, device)
	frame := bytes.Repeat([]byte{0xff}, 6)
	frame = append(append(frame, from...), 0x88, 0xb5)
	frame = append(make([]byte, 10), append(frame, make([]byte, 46)...)...) // virtio_net_hdr before it
	_, err = out.Write(frame)
	must(t, err)
}

func TestIntegrationLabReaddressesAHost(t *testing.T) {
	l := newLab(t)
	hosts, err := l.Add(t.Context(), Spec{Name: "a"}, Spec{Name: "b"})
	must(t, err)
	a, b := hosts[0], hosts[1]
	first := a.Address()
	must(t, a.Readdress(t.Context(), "10.77.0.201"))
	if a.Address() != "10.77.0.201" {
		t.Errorf("address: got %s", a.Address())
	}
	ra, rb := radioOf(t, a), radioOf(t, b)
	hears(t, rb, ra, true)
	for _, address := range []string{"10.77.0.201", "10.77.0.254", "10.77.0.1", "10.78.0.201", "x", ""} {
		if err := b.Readdress(t.Context(), address); err == nil {
			t.Errorf("b was given the address %q", address)
		}
	}
	must(t, a.Kill(t.Context()))
	must(t, a.Boot(t.Context()))
	if got := output(t, a, "ip", "-4", "-o", "addr", "show", "dev", "eth0"); !strings.Contains(got, "inet 10.77.0.201/24") {
		t.Errorf("after a boot: %s", got)
	}
	must(t, a.Readdress(t.Context(), first))
	hears(t, rb, radioOf(t, a), true)
}

func TestStandsTellsAStoppedProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	must(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	if stands(cmd.Process.Pid) {
		t.Error("one that runs stands")
	}
	must(t, cmd.Process.Signal(unix.SIGSTOP))
	eventually(t, "it to stand", func() bool { return stands(cmd.Process.Pid) })
	if stands(1 << 30) {
		t.Error("one that is not there stands")
	}
}
