package raftfsm

import "tenks/raftfsm/state"

// samplesV13 has trunks, and hypervisors with overlays. It stays as it is, like samplesV1.
func samplesV13() map[string]state.Envelope {
	apply := samplesV16()["apply-cluster"].Command.(state.ApplyCluster)
	trunks := func(m *state.Machine, ports []state.Port) {
		m.Trunks = []string{"100,200"}
		ports[0].Trunk = "100,200"
	}
	trunks(&apply.Create[0].Machine, apply.Create[0].Ports)
	trunks(&apply.Change[0].Machine, apply.Change[0].Ports)
	hypervisor := samplesV8()["put-hypervisor"].Command.(state.PutHypervisor)
	hypervisor.Hypervisor.PhysnetLinks = []state.PhysnetLink{{Physnet: "physnet1", VNI: 5000, MTU: 1450}, {Physnet: "storage", MTU: 9000}}
	hypervisor.Hypervisor.VXLAN = state.Endpoint{Address: "192.0.2.11", Port: 4789}
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{apply, hypervisor} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

// dumpV13 is the state in the golden snapshot of version 13.
func dumpV13() state.Dump {
	d, samples := dumpV16(), samplesV13()
	hypervisor := samples["put-hypervisor"].Command.(state.PutHypervisor).Hypervisor
	apply := samples["apply-cluster"].Command.(state.ApplyCluster)
	d.Hypervisors, d.Clusters, d.Nodes = []*state.Hypervisor{&hypervisor}, []*state.Cluster{&apply.Cluster}, []*state.Node{&apply.Create[0]}
	return d
}

// partV13 is a part with the ends of an overlay.
func partV13() Part {
	p := partV1()
	p.Tunnels = &state.TunnelList{Tunnels: []state.Tunnel{
		{Hypervisor: "h2", Name: "hv2", Physnet: "physnet1", VNI: 5000, Address: "2001:db8::12", Port: 4789}}}
	return p
}
