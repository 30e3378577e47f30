package state

import (
	"errors"
	"testing"
)

func TestWhichAddressesAreOfAPool(t *testing.T) {
	pool := AddressPool{{"192.0.2.100", "192.0.2.199"}, {"2001:db8::100", "2001:db8::1ff"}, {"198.51.100.7", "198.51.100.7"}, {"198.51.100.9", "198.51.100.8"}, {"::1", "192.0.2.1"}, {"", "x"}}
	for address, want := range map[string]bool{"192.0.2.99": false, "192.0.2.100": true, "192.0.2.199": true, "192.0.2.200": false,
		"2001:db8::ff": false, "2001:db8::100": true, "2001:db8::1ff": true, "198.51.100.7": true, "198.51.100.8": false, "::ffff:192.0.2.100": false, "": false, "hv1": false} {
		if got := pool.Contains(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
	if got, want := pool[:3].String(), "192.0.2.100-192.0.2.199, 2001:db8::100-2001:db8::1ff, 198.51.100.7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// pooled is a mesh whose hypervisors have 192.0.2.101, with tk1 and tk2 of a pool.
func pooled(t *testing.T) *log {
	l := newLog(t)
	pool := AddressPool{{"192.0.2.100", "192.0.2.102"}}
	give := func(n *Node) { n.BMCPool, n.BMCAddress = pool, "192.0.2.102" }
	l.must(hypervisor("h1"), hypervisor("h2"), ApplyCluster{Cluster: Cluster{Name: "demo", BMCPool: pool},
		Create: []Node{with(declared(1), give), with(declared(2), give)}})
	return l
}

func placeAt(uuid, on, address string) PlaceNodes {
	return PlaceNodes{Placements: []NodePlacement{{UUID: uuid, Hypervisor: on, BMC: NoEndpoint(uuid), BMCAddress: address}}}
}

func TestANodeGetsAnAddressOnceAndKeepsIt(t *testing.T) {
	l := pooled(t)
	if got := l.node("tk1").BMCAddress; got != "" {
		t.Errorf("before it is placed: %s", got)
	}
	for _, not := range []string{"192.0.2.101", "192.0.2.103", "192.0.2.0100", "hv1"} { // a host's, another pool's, none
		l.must(placeAt("u1", "h1", not))
		if n := l.node("tk1"); n.Placement != nil || n.BMCAddress != "" {
			t.Errorf("placed at %s: %q", not, n.BMCAddress)
		}
	}
	l.must(placeAt("u1", "h1", "192.0.2.100"), placeAt("u2", "h2", "192.0.2.100"))
	if one, two := l.node("tk1"), l.node("tk2"); one.BMCAddress != "192.0.2.100" || two.Placement != nil {
		t.Errorf("tk1 has %q, and tk2 is at %+v", one.BMCAddress, two.Placement)
	}
	if at, ok := l.snap().BMC(l.node("tk1")); !ok || at != (Endpoint{"192.0.2.100", 623}) {
		t.Errorf("it is reached at %v", at)
	}

	l.must(UnplaceNodes{Nodes: []NodeUnplacement{{UUID: "u1", Epoch: l.node("tk1").Placement.Epoch, Reason: "lost"}}},
		placeAt("u2", "h2", "192.0.2.100"), placeAt("u1", "h2", "192.0.2.102"))
	if one, two := l.node("tk1"), l.node("tk2"); one.BMCAddress != "192.0.2.100" || one.Placement != nil || two.Placement != nil {
		t.Errorf("while it is nowhere: %q, tk1 at %+v, tk2 at %+v", one.BMCAddress, one.Placement, two.Placement)
	}
	l.must(placeAt("u1", "h2", "192.0.2.100"))
	if n := l.node("tk1"); n.BMCAddress != "192.0.2.100" || n.Placement == nil {
		t.Errorf("placed again: %q at %+v", n.BMCAddress, n.Placement)
	}
	l.must(StartMoves{Moves: []NodeMove{{UUID: "u1", Epoch: l.node("tk1").Placement.Epoch, To: "h1", BMC: NoEndpoint("u1")}}})
	if n := l.node("tk1"); n.Moving() {
		t.Errorf("moves to where it was: %+v", n.Move)
	}

	l.must(RemoveNodes{[]NodeRemoval{{UUID: "u1"}}}, ReportHost{"h2", []NodeHostReport{{"u1", l.node("tk1").Placement.Epoch, HostStatus{Phase: HostGone}}}},
		placeAt("u2", "h2", "192.0.2.100"))
	if n := l.node("tk2"); n.BMCAddress != "192.0.2.100" {
		t.Errorf("the address of a node that is gone is not free: %q", n.BMCAddress)
	}
}

func TestADeclarationGivesAnotherAddress(t *testing.T) {
	l := pooled(t)
	l.must(placeAt("u1", "h1", "192.0.2.100"), placeAt("u2", "h2", "192.0.2.102"))
	change := func(address string) error {
		c, _ := l.snap().Cluster("demo")
		n := l.node("tk1")
		return l.try(ApplyCluster{Cluster: *c, Expect: c.ModifyIndex,
			Change: []NodeChange{{UUID: "u1", Machine: n.Machine, Ports: n.Ports, BMC: n.BMC, BMCPool: n.BMCPool, BMCAddress: address}}})
	}
	if err := change("192.0.2.102"); !errors.Is(err, ErrConflict) {
		t.Errorf("that of tk2: %v", err)
	}
	if err := change("192.0.2.0102"); err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("none: %v", err)
	}
	for _, address := range []string{"198.51.100.1", ""} {
		if err := change(address); err != nil || l.node("tk1").BMCAddress != address {
			t.Errorf("%q: %v, it has %q", address, err, l.node("tk1").BMCAddress)
		}
	}
}

func TestANodeOfAPoolIsReachedAtTheStandardPorts(t *testing.T) {
	for _, tt := range []struct {
		protocol, address string
		want              Endpoint
		text              string
	}{
		{"ipmi", "192.0.2.100", Endpoint{"192.0.2.100", 623}, "192.0.2.100:623 https://192.0.2.100:623"},
		{"redfish", "192.0.2.100", Endpoint{"192.0.2.100", 443}, "192.0.2.100:443 https://192.0.2.100"},
		{"redfish", "2001:db8::1", Endpoint{"2001:db8::1", 443}, "[2001:db8::1]:443 https://[2001:db8::1]"},
	} {
		n := Node{Machine: Machine{IronicDriver: tt.protocol}, BMCAddress: tt.address}
		got, ok := n.OwnEndpoint()
		if text := got.String() + " " + got.URL(); !ok || got != tt.want || text != tt.text {
			t.Errorf("%s at %s: %+v, %t, %s", tt.protocol, tt.address, got, ok, text)
		}
	}
	if e, ok := (&Node{}).OwnEndpoint(); ok {
		t.Errorf("without an address: %v", e)
	}
}

func TestWhichAddressesAHypervisorServesAndHas(t *testing.T) {
	h := Hypervisor{Address: "10.0.0.1", BMC: PortRange{Address: "10.0.0.2"}, Networks: []string{"192.0.2.11/24", "198.51.100.0/24", "2001:db8::1/64", "x"}}
	for address, want := range map[string]bool{"192.0.2.1": true, "198.51.100.255": true, "203.0.113.1": false, "2001:db8::ff": true, "2001:db9::": false, "": false} {
		if got := h.Serves(address); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	want := []string{"10.0.0.1", "10.0.0.2", "192.0.2.11", "2001:db8::1"}
	if got := h.Addresses(); len(got) != 4 || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("got %v, want %v", got, want)
	}
}
