package raftfsm

import "tenks/raftfsm/state"

// samplesV16 has the kind and the fields that came with flavors of Nova. It stays as it is,
// like samplesV1.
func samplesV16() map[string]state.Envelope {
	apply := samplesV18()["apply-cluster"].Command.(state.ApplyCluster)
	apply.Cluster.Flavors, apply.Cluster.FlavorStatus, apply.Cluster.WaitForPlacement = []state.Flavor{flavorV16()}, flavorsV16(), true
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{apply, state.ReportFlavors{Clusters: []state.ClusterFlavorReport{{Cluster: "demo", Status: flavorsV16()}}}} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func flavorV16() state.Flavor {
	return state.Flavor{Name: "gpu", ResourceClass: "my.compute", NodeType: "compute", MemoryMB: 4096, VCPUs: 2, DiskGB: 15,
		EphemeralGB: 4, SwapMB: 512, RequiredTraits: []string{"CUSTOM_GPU"}, ForbiddenTraits: []string{"CUSTOM_OLD"},
		CustomSpecs: map[string]string{"hw:numa_nodes": "1"}}
}

func flavorsV16() state.FlavorStatus {
	return state.FlavorStatus{Begun: true, Index: 41, Flavors: []state.FlavorReport{{Name: "gpu", ID: "f1", Error: "refused"}}, Error: "no answer"}
}

// dumpV16 is the state in the golden snapshot of version 16.
func dumpV16() state.Dump {
	d := dumpV18()
	apply := samplesV16()["apply-cluster"].Command.(state.ApplyCluster)
	d.Clusters = []*state.Cluster{&apply.Cluster}
	return d
}
