package transport_test

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"tenks/cluster/transport"
)

// host is a network namespace of its own with one link.
type host struct {
	ns   netns.NsHandle
	link *netlink.Handle
}

// newHosts returns two hosts on one wire, at 192.0.2.1 and 192.0.2.2.
func newHosts(t *testing.T) [2]host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	var hosts [2]host
	for i := range hosts {
		inside(t, nil, func() {
			ns, err := netns.New()
			if err != nil {
				t.Skipf("no network namespace: %v", err)
			}
			h, err := netlink.NewHandle()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.Close(); ns.Close() })
			hosts[i] = host{ns, h}
		})
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "wire"
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: "wire", PeerNamespace: netlink.NsFd(hosts[1].ns)}
	if err := hosts[0].link.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	for i, address := range []string{"192.0.2.1/24", "192.0.2.2/24"} {
		a, err := netlink.ParseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		l := hosts[i].wire(t)
		if err := hosts[i].link.AddrAdd(l, a); err != nil {
			t.Fatal(err)
		}
		if err := hosts[i].link.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	return hosts
}

func (h host) wire(t *testing.T) netlink.Link {
	t.Helper()
	l, err := h.link.LinkByName("wire")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// inside runs f in the namespace of h, or in whichever f makes, and comes back.
func inside(t *testing.T, h *host, f func()) {
	t.Helper()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err) // the thread stays locked, and ends with its goroutine
		}
		home.Close()
		runtime.UnlockOSThread()
	}()
	if h != nil {
		if err := netns.Set(h.ns); err != nil {
			t.Fatal(err)
		}
	}
	f()
}

// A host that loses its power says nothing: both an idle connection and one that is
// being written to end within 15 s.
func TestIntegrationADeadHostIsNoticed(t *testing.T) {
	hosts := newHosts(t)
	var l net.Listener
	inside(t, &hosts[1], func() {
		var err error
		if l, err = transport.TCP().Listen(t.Context(), "192.0.2.2:7740"); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	// Two that were dialed and two that were accepted: of each, one is idle.
	var conns []net.Conn
	for range 2 {
		inside(t, &hosts[0], func() {
			near, err := transport.TCP().Dial(t.Context(), "192.0.2.2:7740")
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, near)
		})
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, far)
	}
	for _, c := range conns {
		t.Cleanup(func() { c.Close() })
	}
	start := time.Now()
	if err := hosts[1].link.LinkSetDown(hosts[1].wire(t)); err != nil {
		t.Fatal(err)
	}
	for _, busy := range conns[2:] {
		busy.Write([]byte("is anybody there?"))
	}
	for i, c := range conns {
		c.SetReadDeadline(start.Add(time.Minute))
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(start); err == nil || took > 15*time.Second {
			t.Errorf("connection %d: %v after %v", i, err, took)
		}
	}
}
