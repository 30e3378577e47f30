package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenks/cmd/internal/api"
)

const tenant = "physnets: {tenant: {vxlan: 5000}}\n"

func tenants(count int) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  small: {memory_mb: 128, vcpus: 1, driver: fake, physical_networks: [tenant]}
specs: [{type: small, count: %d, placement: {spread: zone}}]
`, count)
}

// experimental is the EtherType for what is only local (IEEE 802 §9.2.4).
const experimental = 0x88b5

// frames is a packet(7) socket at a node's end of a link, as a guest would be.
type frames struct {
	fd  int
	mac net.HardwareAddr
}

// guestOn opens the first port of a node; it has no guest.
func (h *host) guestOn(n api.Node) frames {
	h.t.Helper()
	var f frames
	err := h.InNetns(func() error {
		l, err := net.InterfaceByName(strings.TrimSuffix(n.Ports[0].Link, "-br") + "-tap")
		if err != nil {
			return err
		}
		protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, experimental))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(protocol))
		if err != nil {
			return err
		}
		f = frames{fd, l.HardwareAddr}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: l.Index})
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(f.fd) })
	return f
}

// reaches reports whether a frame of so many bytes comes from one guest to another.
func (f frames) reaches(to frames, size int, word string) bool {
	frame := slices.Concat(to.mac, f.mac, []byte{experimental >> 8, experimental & 0xff}, []byte(word))
	frame = append(frame, make([]byte, max(0, size+14-len(frame)))...)
	if _, err := unix.Write(f.fd, frame); err != nil {
		return false
	}
	buffer := make([]byte, 4096)
	for deadline := time.Now().Add(200 * time.Millisecond); time.Now().Before(deadline); {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(to.fd), Events: unix.POLLIN}}, 50)
		n, err := unix.Read(to.fd, buffer)
		if err == nil && n == len(frame) && bytes.Contains(buffer[:n], []byte(word)) {
			return true
		}
	}
	return false
}

// exchange waits until all nodes reach each other, with frames as large as the overlay takes.
func exchange(t *testing.T, hosts []*host, when string) {
	t.Helper()
	var guests []frames
	for _, n := range hosts[0].nodes() {
		guests = append(guests, named(hosts, n.Hypervisor).guestOn(n))
	}
	// As a guest that starts: bridges learn where it is now, and forget where it was.
	for _, g := range guests {
		frame := append(slices.Concat(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, g.mac), experimental>>8, experimental&0xff)
		if _, err := unix.Write(g.fd, append(frame, make([]byte, 60)...)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for i, a := range guests {
		for j, b := range guests {
			if i != j {
				hosts[0].wait(20*time.Second, fmt.Sprintf("a frame from node %d to node %d %s", i, j, when), func() bool {
					return a.reaches(b, 1450, fmt.Sprintf("%s %d to %d", when, i, j))
				})
			}
		}
	}
	t.Logf("%s: %d nodes exchanged frames of 1450 bytes within %s", when, len(guests), time.Since(began).Round(time.Millisecond))
}

// remotes are whom the host's overlay sends to.
func (h *host) remotes() (out []string) {
	h.t.Helper()
	fdb, err := h.try("bridge", "fdb", "show", "dev", "x-brtenks0")
	if err != nil {
		return nil // there is no overlay
	}
	for line := range strings.Lines(fdb) {
		if f := strings.Fields(line); f[0] == "00:00:00:00:00:00" {
			out = append(out, f[2])
		}
	}
	slices.Sort(out)
	return out
}

// sendTo waits until each host sends to those of the others that have nodes, and nobody else.
func sendTo(t *testing.T, hosts []*host, when string) {
	t.Helper()
	holders := map[string]bool{}
	for _, n := range hosts[0].nodes() {
		holders[n.Hypervisor] = true
	}
	for _, h := range hosts {
		var want []string
		for _, o := range hosts {
			if holders[h.Name()] && holders[o.Name()] && o != h {
				want = append(want, o.Address())
			}
		}
		slices.Sort(want)
		h.wait(20*time.Second, fmt.Sprintf("%s to send to %v %s; now to %v", h.Name(), want, when, h.remotes()), func() bool {
			return slices.Equal(h.remotes(), want)
		})
		t.Logf("%s: %s sends to %v", when, h.Name(), want)
	}
}

// Of four hosts one follows no log: it knows the others' ends from its part of the state.
func TestIntegrationOverlayJoinsNodesOfDifferentHostsAlsoAfterOneIsLostAndJoinsAnew(t *testing.T) {
	besideOthers(t)
	_, hosts := fakeMeshWith(t, 4, tenant)
	first := hosts[0]
	apply := func(count int) {
		t.Helper()
		first.tenks("apply", "-f", first.write("demo.yml", tenants(count)), "--wait=1m")
	}
	first.wait(20*time.Second, "four hypervisors", func() bool {
		peers, err := first.api.Peers(t.Context())
		return err == nil && len(peers) == 4 && !slices.ContainsFunc(peers, func(p api.Peer) bool { return len(p.Drivers) == 0 })
	})
	apply(4)
	sendTo(t, hosts, "at first")
	exchange(t, hosts, "at first")

	apply(3)
	sendTo(t, hosts, "after a node went")
	apply(4)
	sendTo(t, hosts, "after it came back")
	t.Logf("tenks peer list:\n%s", first.tenks("peer", "list"))

	lost := named(hosts, first.node("tk3").Hypervisor)
	if lost == first {
		lost = hosts[2]
	}
	if err := lost.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == lost })
	first.wait(20*time.Second, "the lost host to go", func() bool {
		_, err := first.tryTenks("peer", "remove", lost.Name(), "--force")
		return err == nil
	})
	first.waitReady(4, 30*time.Second)
	sendTo(t, left, "after a host was lost")
	exchange(t, left, "after a host was lost")

	if err := os.RemoveAll(lost.Path(dataDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(lost.Path(dataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := lost.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost.enterFake(left, 4, tenant)
	first.wait(20*time.Second, "four hypervisors again", func() bool {
		peers, err := first.api.Peers(t.Context())
		return err == nil && len(peers) >= 4 && slices.ContainsFunc(peers, func(p api.Peer) bool { return p.Name == lost.Name() && len(p.Drivers) > 0 })
	})
	apply(5)
	sendTo(t, hosts, "after it joined anew")
	exchange(t, hosts, "after it joined anew")

	first.tenks("destroy", "demo", "--wait=1m")
	for _, h := range hosts {
		h.wait(20*time.Second, "nothing but its own links on "+h.Name(), func() bool {
			return len(strings.Split(strings.TrimSpace(h.run("ip", "-o", "link")), "\n")) == 2 // lo and eth0
		})
	}
}
