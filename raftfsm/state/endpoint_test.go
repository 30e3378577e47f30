package state

import "testing"

func TestWhereABMCIsReached(t *testing.T) {
	s := New()
	node := func(i, protocol string, e Endpoint) *Node {
		return &Node{UUID: i, Cluster: "demo", Name: i, LinkName: i, Machine: Machine{IronicDriver: protocol}, Placement: &Placement{Hypervisor: "h" + i[:1], Epoch: 1, BMC: e}}
	}
	ipmi := Endpoint{"192.0.2.1", 6230}
	bmc := PortRange{Address: "2001:db8::1", First: 6230, Last: 6239}
	err := s.Load(Dump{Index: 1, Hypervisors: []*Hypervisor{{ID: "h1", BMC: bmc, Redfish: 8000, SNMP: 1610}, {ID: "h2", BMC: bmc}}, Nodes: []*Node{
		node("1a", "ipmi", ipmi), node("1b", "redfish", NoEndpoint("1b")), node("1c", "redfish", NoEndpoint("1c")),
		node("1d", "redfish", Endpoint{"192.0.2.1", 6231}), node("2a", "redfish", NoEndpoint("2a")), node("3a", "redfish", NoEndpoint("3a")),
		node("1e", "snmp", NoEndpoint("1e")), node("2b", "snmp", NoEndpoint("2b")),
		{UUID: "0", Cluster: "demo", Name: "0", LinkName: "0", Machine: Machine{IronicDriver: "redfish"}}}})
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Snapshot()
	redfish := Endpoint{"2001:db8::1", 8000}
	for uuid, want := range map[string]Endpoint{"1a": ipmi, "1b": redfish, "1c": redfish, "1d": redfish, "2a": {}, "3a": {}, "0": {}, "1e": {"2001:db8::1", 1610}, "2b": {}} {
		n, _ := snap.Node(uuid)
		if got, ok := snap.BMC(n); got != want || ok != (want != Endpoint{}) {
			t.Errorf("node %s: %v, %t, want %v", uuid, got, ok, want)
		}
	}
	if got, want := redfish.URL(), "https://[2001:db8::1]:8000"; got != want {
		t.Errorf("URL %s, want %s", got, want)
	}
	if a, b := ipmi.String(), NoEndpoint("1b").String(); a != "192.0.2.1:6230" || b != "over Redfish" {
		t.Errorf("as people read them: %s, %s", a, b)
	}
}
