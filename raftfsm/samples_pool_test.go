package raftfsm

import "tenks/raftfsm/state"

// samplesV8 has the fields that came with addresses of BMCs, which was after version 11. It
// stays as it is, like samplesV1.
func samplesV8() map[string]state.Envelope {
	pool := state.AddressPool{{First: "192.0.2.100", Last: "192.0.2.199"}, {First: "2001:db8::100", Last: "2001:db8::1ff"}}
	apply := samplesV11()["apply-cluster"].Command.(state.ApplyCluster)
	apply.Create[0].Audit = true
	apply.Cluster.BMCPool, apply.Create[0].BMCPool, apply.Change[0].BMCPool = pool, pool, pool
	apply.Create[0].BMCAddress, apply.Change[0].BMCAddress = "192.0.2.100", "2001:db8::100"
	hypervisor := samplesV11()["put-hypervisor"].Command.(state.PutHypervisor)
	hypervisor.Hypervisor.Networks = []string{"192.0.2.11/24", "2001:db8::/64"}
	place := samplesV1()["place-nodes"].Command.(state.PlaceNodes)
	place.Placements[0].BMCAddress = "192.0.2.100"
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{apply, hypervisor, place} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

// dumpV8 is the state in the golden snapshot of version 8.
func dumpV8() state.Dump {
	d, samples := dumpV11(), samplesV8()
	hypervisor := samples["put-hypervisor"].Command.(state.PutHypervisor).Hypervisor
	apply := samples["apply-cluster"].Command.(state.ApplyCluster)
	d.Hypervisors, d.Clusters, d.Nodes = []*state.Hypervisor{&hypervisor}, []*state.Cluster{&apply.Cluster}, []*state.Node{&apply.Create[0]}
	return d
}
