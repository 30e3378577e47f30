package state

import (
	"fmt"
	"testing"
)

// overlaid returns a store with hosts h1 and h2, on which tenant is an overlay, h3, on which it
// is none, and a node that is placed nowhere yet.
func overlaid(t *testing.T) (s *Store, do func(Command)) {
	t.Helper()
	s = New()
	index := uint64(0)
	do = func(c Command) {
		t.Helper()
		index++
		if err := s.Apply(index, Envelope{Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	for i, vni := range []int{5000, 5000, 0} {
		h := Hypervisor{ID: fmt.Sprintf("h%d", i+1), Name: fmt.Sprintf("hv%d", i+1)}
		if vni != 0 {
			h.PhysnetLinks = []PhysnetLink{{Physnet: "tenant", VNI: vni}}
			h.VXLAN = Endpoint{Address: fmt.Sprintf("192.0.2.1%d", i+1), Port: 4789}
		}
		do(PutHypervisor{Hypervisor: h})
	}
	do(ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{
		{UUID: "u1", Name: "tk0", LinkName: "tk0", Cluster: "demo", Ports: []Port{{MAC: "m1", Physnet: "tenant"}}}}})
	return s, do
}

func TestTunnelsFollowTheNodesAndWakeOnlyTheirOverlay(t *testing.T) {
	s, do := overlaid(t)
	placed := PlaceNodes{Placements: []NodePlacement{{UUID: "u1", Hypervisor: "h2", BMC: Endpoint{Address: "a", Port: 1}}}}
	want := Tunnel{Hypervisor: "h2", Name: "hv2", Physnet: "tenant", VNI: 5000, Address: "192.0.2.12", Port: 4789}
	other := want
	other.VNI = 5001
	for _, tt := range []struct {
		name    string
		command Command
		want    []Tunnel
		wakes   bool
	}{
		{"a node is placed on the other host", placed, []Tunnel{want}, true},
		{"a report changes none", ReportHost{Hypervisor: "h2", Nodes: []NodeHostReport{{UUID: "u1", Epoch: 5, Status: HostStatus{Phase: HostReady}}}}, []Tunnel{want}, false},
		{"the other host has another VNI", PutHypervisor{Hypervisor: Hypervisor{ID: "h2", Name: "hv2", VXLAN: Endpoint{Address: "192.0.2.12", Port: 4789},
			PhysnetLinks: []PhysnetLink{{Physnet: "tenant", VNI: 5001}}}}, []Tunnel{other}, true},
		{"the node loses its placement", UnplaceNodes{Nodes: []NodeUnplacement{{UUID: "u1", Epoch: 5}}}, nil, true},
	} {
		before, _ := s.Snapshot()
		mine, none := before.WatchOn("h1"), before.WatchOn("h3")
		do(tt.command)
		after, _ := s.Snapshot()
		if got := after.Tunnels("h1"); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: tunnels of h1 %+v, want %+v", tt.name, got, tt.want)
		}
		if got := closed(mine); got != tt.wakes {
			t.Errorf("%s: h1 was woken: %t, want %t", tt.name, got, tt.wakes)
		}
		if closed(none) {
			t.Errorf("%s: h3, which has no overlay, was woken", tt.name)
		}
		if got := after.PartOf("h1", before.Index()).Tunnels != nil; got != tt.wakes {
			t.Errorf("%s: the delta for h1 has tunnels: %t, want %t", tt.name, got, tt.wakes)
		}
		if got := after.Tunnels("h2"); len(got) != 0 {
			t.Errorf("%s: tunnels of h2 %+v, want none: h1 has no ports", tt.name, got)
		}
	}
}

func TestAHostThatGoesTakesItsTunnelsAlong(t *testing.T) {
	s, do := overlaid(t)
	do(PutPeer{Peer: Peer{ID: "h1", Name: "hv1"}})
	token := Token{ID: "t2", Hash: make([]byte, 32), Uses: 1}
	do(PutToken{Token: token})
	do(AdmitPeer{Peer: Peer{ID: "h2", Name: "hv2"}, Token: "t2", Hash: token.Hash})
	do(PlaceNodes{Placements: []NodePlacement{{UUID: "u1", Hypervisor: "h2", BMC: Endpoint{Address: "a", Port: 1}}}})
	do(MarkPeers{Lost: []string{"h2"}})
	snap, _ := s.Snapshot()
	if got := snap.Tunnels("h1"); len(got) != 1 {
		t.Errorf("tunnels %+v, want that of the lost host: its node waits for it", got)
	}
	do(RemovePeer{ID: "h2", Force: true})
	snap, _ = s.Snapshot()
	if got := snap.Tunnels("h1"); len(got) != 0 {
		t.Errorf("tunnels %+v, want none", got)
	}
}
