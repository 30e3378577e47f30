package raftfsm

import "tenks/raftfsm/state"

// samplesV12 has BMCs that answer sessions of IPMI 1.5. It stays as it is, like samplesV1.
func samplesV12() map[string]state.Envelope {
	e := samplesV10()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	for _, account := range []*state.Account{&apply.Cluster.BMC, &apply.Create[0].BMC, &apply.Change[0].BMC} {
		account.IPMI15 = true
	}
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e}
}

// dumpV12 is the state in the golden snapshot of version 12.
func dumpV12() state.Dump {
	d := dumpV10()
	for _, c := range d.Clusters {
		c.BMC.IPMI15 = true
	}
	for _, n := range d.Nodes {
		n.BMC.IPMI15 = true
	}
	return d
}
