package raftfsm

import "tenks/raftfsm/state"

// samplesV26 has the network data of nodes. It stays as it is, like samplesV1.
func samplesV26() map[string]state.Envelope {
	e := samplesV23()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	for _, e := range []*state.Enrolment{apply.Cluster.Specs[0].Enrol, apply.Create[0].Enrol, apply.Change[0].Enrol} {
		e.NetworkData = `{"links":[],"networks":[],"services":[]}`
	}
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e}
}

// dumpV26 is the state in the golden snapshot of version 26.
func dumpV26() state.Dump {
	d, apply := dumpV23(), samplesV26()["apply-cluster"].Command.(state.ApplyCluster)
	d.Clusters, d.Nodes = []*state.Cluster{&apply.Cluster}, []*state.Node{&apply.Create[0]}
	return d
}
