package raftfsm

import "tenks/raftfsm/state"

// samplesV21 has volumes that are made anew. It stays as it is, like samplesV1.
func samplesV21() map[string]state.Envelope {
	e := samplesV14()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	apply.Create[0].Machine.Volumes[1].Made, apply.Change[0].Machine.Volumes[1].Made = 1, 2
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e}
}

// dumpV21 is the state in the golden snapshot of version 21.
func dumpV21() state.Dump {
	d := dumpV14()
	for _, n := range d.Nodes {
		n.Machine.Volumes[1].Made = 1
	}
	return d
}
