package link

import (
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// addressed gives a device an address and returns it.
func addressed(t *testing.T, name, prefix string) {
	t.Helper()
	l := add(t, wire(name, 1500))
	addr, err := netlink.ParseAddr(prefix)
	must(t, err)
	addr.Flags = 0x02 // IFA_F_NODAD: usable at once
	must(t, netlink.AddrAdd(l, addr))
	must(t, netlink.LinkSetUp(byName(t, "far."+name)))
}

func overlay(local string, vni int, remotes ...Remote) Want {
	return Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Overlay: &Overlay{VNI: vni, Local: local, Port: 4789, Remotes: remotes}}},
		Ports: []Port{testPort("n1", "a", 0, "brtenks0")}}
}

func TestIntegrationAnOverlaySendsToItsRemotesAndNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		name, prefix, local, other, third string
		mtu                               int
	}{
		{"IPv4", "192.0.2.11/24", "192.0.2.11", "192.0.2.12", "192.0.2.13", 1450},
		{"IPv6", "2001:db8::11/64", "2001:db8::11", "2001:db8::12", "2001:db8::13", 1430},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := openHost(t)
			addressed(t, "mgmt", tt.prefix)
			two := []Remote{{tt.other, 4789}, {tt.third, 4790}}
			for _, remotes := range [][]Remote{two, two[1:], nil, two[:1]} {
				have := converge(t, h, overlay(tt.local, 5000, remotes...))
				l := have.Links["x-brtenks0"]
				want := &Overlay{VNI: 5000, Local: tt.local, Port: 4789, Remotes: slices.Clone(remotes)}
				if len(remotes) == 0 {
					want.Remotes = nil
				}
				if d := cmp.Diff(want, l.Overlay); d != "" || l.Master != "brtenks0" || l.MTU != tt.mtu || have.Links["p-a-0-tap"].MTU != tt.mtu {
					t.Errorf("%s in %s, MTU %d, tap %d (-want +got):\n%s", l.Name, l.Master, l.MTU, have.Links["p-a-0-tap"].MTU, d)
				}
			}
			if vx := byName(t, "x-brtenks0").(*netlink.Vxlan); vx.Learning {
				t.Error("the link learns")
			}
			if out, err := exec.Command("bridge", "fdb", "show", "dev", "x-brtenks0").Output(); err == nil {
				t.Logf("bridge fdb show dev x-brtenks0:\n%s", out)
				if n := strings.Count(string(out), "00:00:00:00:00:00 dst"); n != 1 {
					t.Errorf("%d entries for all frames, want 1", n)
				}
			}
			converge(t, h, overlay(tt.local, 5001, two...))
			have := converge(t, h, Want{})
			if left := have.Ours(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestIntegrationSomebodysOverlayIsNamedAndLeftAlone(t *testing.T) {
	h := openHost(t)
	addressed(t, "mgmt", "192.0.2.11/24")
	add(t, &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "theirs"}, VxlanId: 5000, Port: 4789, SrcAddr: net.IPv4(192, 0, 2, 11)})
	err := h.ApplyPlan(t.Context(), Plan(overlay("192.0.2.11", 5000), observe(t, h)), 4).Err()
	if err == nil || !strings.Contains(err.Error(), "the host has another link for the same") {
		t.Errorf("error %v, want one that says that there is another link", err)
	}
	byName(t, "theirs")
}

// Twice, because each kind must go as whole as it came.
func TestIntegrationEachKindIsMappedUnmappedAndMappedAgain(t *testing.T) {
	kinds := []struct {
		name   string
		bridge Bridge
		// made is what there is of ours but for the bridge and the port's pair.
		made []string
	}{
		{"isolated", Bridge{}, nil},
		{"interface", Bridge{Device: "eth1"}, nil},
		{"Linux bridge", Bridge{Device: "br-ex"}, []string{"p-brtenks0-br", "p-brtenks0-phy"}},
		{"VLAN of an interface", Bridge{Device: "eth1", VLAN: 100}, []string{"eth1.100"}},
		{"VLAN of a Linux bridge", Bridge{Device: "br-ex", VLAN: 100}, []string{"br-ex.100"}},
		{"overlay", Bridge{Overlay: &Overlay{VNI: 5000, Local: "192.0.2.11", Port: 4789, Remotes: []Remote{{"192.0.2.12", 4789}}}}, []string{"x-brtenks0"}},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			h := openHost(t)
			addressed(t, "mgmt", "192.0.2.11/24")
			add(t, wire("eth1", 1400))
			// With an address of its own: another goes with the last port.
			add(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br-ex", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}})
			skipWithoutVLANs(t, k.bridge)
			before := observe(t, h)
			b := k.bridge
			b.Physnet, b.Name = "net", "brtenks0"
			want := Want{Bridges: []Bridge{b}, Ports: []Port{testPort("n1", "a", 0, "brtenks0")}}
			for range 2 {
				ours := converge(t, h, want).Ours()
				wanted := append([]string{"brtenks0", "p-a-0-br", "p-a-0-tap"}, k.made...)
				slices.Sort(wanted)
				if d := cmp.Diff(wanted, ours); d != "" {
					t.Fatalf("links (-want +got):\n%s", d)
				}
				unmapped := converge(t, h, isolated(want.Ports...))
				if master := unmapped.Links["eth1"].Master; master != "" {
					t.Errorf("eth1 is in %s", master)
				}
			}
			after := converge(t, h, Want{})
			for _, have := range []Have{before, after} { // a device stays up
				l := have.Links["eth1"]
				l.Up = true
				have.Links["eth1"] = l
			}
			if d := cmp.Diff(before.Links, after.Links); d != "" {
				t.Errorf("links (-before +after):\n%s", d)
			}
		})
	}
}

// skipWithoutVLANs tries what the kernel must know.
func skipWithoutVLANs(t *testing.T, b Bridge) {
	t.Helper()
	if b.VLAN == 0 {
		return
	}
	err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "try", ParentIndex: byName(t, "eth1").Attrs().Index}, VlanId: 4000})
	if err != nil {
		want := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: b.Device, VLAN: b.VLAN}}}
		h, openErr := Open(Config{Mesh: testMesh, Log: slog.New(slog.DiscardHandler)})
		must(t, openErr)
		defer h.Close()
		said := h.ApplyPlan(t.Context(), Plan(want, observe(t, h)), 1).Err()
		if said == nil || !strings.Contains(said.Error(), "modprobe 8021q") {
			t.Errorf("error %v, want one that says what to load", said)
		}
		t.Skipf("this kernel has no VLAN links: %v", said)
	}
	must(t, netlink.LinkDel(byName(t, "try")))
}

func TestIntegrationAnAccessPortOfABridgeThatFiltersVLANs(t *testing.T) {
	h := openHost(t)
	filters := true
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br-ex"}, VlanFiltering: &filters}); err != nil {
		t.Skipf("this kernel has no bridges that filter VLANs: %v", err)
	}
	want := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "br-ex", VLAN: 100}}}
	have := converge(t, h, want)
	if l := have.Links["p-brtenks0-phy"]; l.VLAN != 100 || l.Master != "br-ex" {
		t.Errorf("uplink %+v, want it in VLAN 100 of br-ex", l)
	}
	if left := converge(t, h, Want{}).Ours(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
