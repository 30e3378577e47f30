package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const netGuest = `<domain type="qemu"><name>guest</name><memory unit="MiB">64</memory>
<os><type arch="x86_64" machine="pc">hvm</type><boot dev="network"/></os>
<devices><interface type="direct"><mac address="%s"/><source dev="p0" mode="bridge"/><model type="virtio"/></interface>
<interface type="direct"><mac address="%s"/><source dev="p0" mode="bridge"/><model type="virtio"/></interface></devices></domain>`

// sniff returns a socket that gets what arrives at an interface of the host.
func sniff(t *testing.T, h *Host, device string) *os.File {
	t.Helper()
	var f *os.File
	must(t, h.InNetns(func() (err error) {
		f, err = openPort(device)
		return err
	}))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// senders counts frames by their source MAC, until those of mac are enough, or the time
// is over. IPv6 is left out: the host's kernel speaks it on a macvtap device, with the
// guest's MAC.
func senders(t *testing.T, f *os.File, mac string, enough int, limit time.Duration) map[string]int {
	t.Helper()
	must(t, f.SetReadDeadline(time.Now().Add(limit)))
	const header = 10 // virtio_net_hdr
	seen, buffer := map[string]int{}, make([]byte, maxFrame)
	for seen[mac] < enough {
		n, err := f.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		must(t, err)
		if n >= header+14 && !bytes.Equal(buffer[header+12:header+14], []byte{0x86, 0xdd}) {
			m := buffer[header+6 : header+12]
			seen[fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])]++
		}
	}
	return seen
}

func TestIntegrationLabGuestsOfHostsWithTheSameInterfaceNumbersAreApart(t *testing.T) {
	l := newLab(t)
	hosts, err := l.AddHosts(t.Context(), 2)
	must(t, err)
	macs := func(i int) []string {
		return []string{fmt.Sprintf("52:54:00:00:0%d:01", i), fmt.Sprintf("52:54:00:00:0%d:02", i)}
	}
	var wires []*os.File
	for i, h := range hosts {
		output(t, h, "ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1")
		output(t, h, "sh", "-c", "ip link set p0 up && ip link set p1 up")
		wires = append(wires, sniff(t, h, "p1"))
		must(t, os.WriteFile(h.Path("/var/lib/tenks/guest.xml"), fmt.Appendf(nil, netGuest, macs(i)[0], macs(i)[1]), 0o600))
	}
	must(t, forAll(hosts, func(h *Host) error {
		return h.Virsh(t.Context(), "create", "/var/lib/tenks/guest.xml")
	}))
	const nodes = "cd /dev && ls -1 tap*"
	if a, b := output(t, hosts[0], "sh", "-c", nodes), output(t, hosts[1], "sh", "-c", nodes); a != b || len(strings.Fields(a)) != 2 {
		t.Fatalf("nodes of macvtap devices: %q and %q: not the same two: this test shows nothing", a, b)
	}
	// Each host first waits for its own guest, whose frames may be with the other; then
	// all that came meanwhile counts.
	seen := []map[string]int{{}, {}}
	collect := func(i int, mac string, enough int, limit time.Duration) {
		for from, n := range senders(t, wires[i], mac, enough, limit) {
			seen[i][from] += n
		}
	}
	for i := range hosts {
		collect(i, macs(i)[0], 1, 40*time.Second)
	}
	for i, h := range hosts {
		collect(i, "", 1, 100*time.Millisecond)
		t.Logf("host %s: frames by sender: %v", h.Name(), seen[i])
		// The firmware turns to the second NIC long after.
		if seen[i][macs(i)[0]] == 0 {
			t.Errorf("host %s: no frames of its guest", h.Name())
		}
		for _, mac := range macs(1 - i) {
			if seen[i][mac] > 0 {
				t.Errorf("host %s: %d frames of the other's guest", h.Name(), seen[i][mac])
			}
		}
	}
	must(t, hosts[0].Virsh(t.Context(), "destroy", "guest"))
	eventually(t, "its nodes to go", func() bool {
		left, err := filepath.Glob(filepath.Join(rootOf(hosts[0].started()), "dev/tap*"))
		return err == nil && len(left) == 0
	})
	if got := output(t, hosts[1], "sh", "-c", nodes); len(strings.Fields(got)) != 2 {
		t.Errorf("nodes of the other host's: got %q, want two", got)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := await(ctx, func() (bool, error) { return ok(), nil }); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

func TestIntegrationLabHostHasItsOwnDev(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	output(t, h, "sh", "-c", `set -e
		for f in null zero full random urandom; do test -c /dev/$f; done
		echo lost >/dev/null; test "$(head -c 3 /dev/zero | wc -c)" = 3
		test "$(echo in | cat /dev/stdin)" = in; echo >/dev/stderr
		test -c /dev/net/tun; : >/dev/shm/file; touch /dev/mark`)
	// A terminal of the host's own: it has a name there.
	if got := output(t, h, "script", "-qec", "tty", "/dev/null"); got != "/dev/pts/0" {
		t.Errorf("terminal: got %q, want the first one of the host", got)
	}
	for _, path := range []string{"/dev/mark", "/dev/shm/file"} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is on this machine (%v)", path, err)
		}
	}
}

func TestIntegrationLabMakesDeviceNodesSoonEnoughForLibvirt(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	output(t, h, "sh", "-c", "ip link add p0 type veth peer name p1 && ip link set p0 up")
	// libvirt tries ten times, 20 ms apart (virNetDevMacVLanTapOpen).
	got := output(t, h, "sh", "-c", `
		for i in 1 2 3 4 5 6 7 8 9 10; do
			ip link add link p0 name mt$i type macvtap mode bridge
			node=/dev/tap$(cat /sys/class/net/mt$i/ifindex)
			try=0; until [ -c $node ] || [ $try = 10 ]; do sleep 0.02; try=$((try+1)); done
			[ -c $node ] || echo $node is missing
			[ "$(stat -c %Hr:%Lr $node)" = "$(cat /sys/class/macvtap/${node#/dev/}/dev)" ] || echo $node is another device
		done`)
	if got != "" {
		t.Error(got)
	}
}

func TestIntegrationLabUdevCatchesUpWithWhatItMissed(t *testing.T) {
	h := addHost(t, newLab(t), "hv1")
	output(t, h, "sh", "-c", "ip link add p0 type veth peer name p1 && ip link add link p0 name mt0 type macvtap")
	node := "/dev/tap" + output(t, h, "cat", "/sys/class/net/mt0/ifindex")
	path := rootOf(h.started()) + node
	eventually(t, node, func() bool { _, err := os.Stat(path); return err == nil })
	must(t, os.Remove(path))
	output(t, h, "mknod", "/dev/tap4711", "c", "1", "3")
	must(t, h.udev.catchUp())
	if got := output(t, h, "sh", "-c", "ls /dev/tap*"); got != node {
		t.Errorf("nodes: got %q, want %s", got, node)
	}
}

func TestParseUevent(t *testing.T) {
	message := func(lines ...string) []byte { return []byte(strings.Join(lines, "\x00") + "\x00") }
	const head = "add@/devices/virtual/net/mt0/macvtap/tap4"
	tests := []struct {
		name    string
		message []byte
		want    uevent
		ok      bool
	}{
		{"a device that came", message(head, "ACTION=add", "SUBSYSTEM=macvtap", "MAJOR=246", "MINOR=1", "DEVNAME=tap4", "SEQNUM=7"),
			uevent{"tap4", true, unix.Mkdev(246, 1)}, true},
		{"a device that went", message(head, "ACTION=remove", "SUBSYSTEM=macvtap", "MAJOR=246", "MINOR=1", "DEVNAME=tap4"),
			uevent{"tap4", false, unix.Mkdev(246, 1)}, true},
		{"another subsystem's", message(head, "ACTION=add", "SUBSYSTEM=net", "MAJOR=246", "MINOR=1", "DEVNAME=tap4"), uevent{}, false},
		{"another action", message(head, "ACTION=change", "SUBSYSTEM=macvtap", "MAJOR=246", "MINOR=1", "DEVNAME=tap4"), uevent{}, false},
		{"a name that is a path", message(head, "ACTION=remove", "SUBSYSTEM=macvtap", "MAJOR=1", "MINOR=1", "DEVNAME=../etc/passwd"), uevent{}, false},
		{"no numbers", message(head, "ACTION=add", "SUBSYSTEM=macvtap", "DEVNAME=tap4"), uevent{}, false},
		{"nothing", nil, uevent{}, false},
	}
	for _, tt := range tests {
		got, ok := parseUevent(tt.message)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: got %+v, %t, want %+v, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParseUevent(f *testing.F) {
	f.Add([]byte("add@/x\x00ACTION=add\x00SUBSYSTEM=macvtap\x00MAJOR=246\x00MINOR=1\x00DEVNAME=tap4\x00"))
	f.Add([]byte("=\x00=="))
	f.Fuzz(func(t *testing.T, message []byte) {
		if e, ok := parseUevent(message); ok && filepath.Base(e.name) != e.name {
			t.Errorf("name %q leaves the directory", e.name)
		}
	})
}
