package raftfsm

import "tenks/raftfsm/state"

// samplesV11 has the key of BMC logins. It stays as it is, like samplesV1.
func samplesV11() map[string]state.Envelope {
	out := samplesV9()
	e := out["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	for _, account := range []*state.Account{&apply.Cluster.BMC, &apply.Create[0].BMC, &apply.Change[0].BMC} {
		account.Key = state.NewSecret("key of twenty bytes.")
	}
	e.Command = apply
	out["apply-cluster"] = e
	return out
}

// dumpV11 is the state in the golden snapshot of version 11.
func dumpV11() state.Dump {
	d := dumpV9()
	for _, c := range d.Clusters {
		c.BMC.Key = state.NewSecret("k")
	}
	for _, n := range d.Nodes {
		n.BMC.Key = state.NewSecret("k")
	}
	return d
}
