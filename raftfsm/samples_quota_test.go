package raftfsm

import "tenks/raftfsm/state"

// samplesV17 has quotas, and nodes that are made anew because they were declared
// otherwise. It stays as it is, like samplesV1.
func samplesV17() map[string]state.Envelope {
	e := samplesV13()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	apply.Create[0].Anew, apply.Change[0].Anew = true, true
	e.Command = apply
	quota := state.SetQuota{Cluster: "demo", Quota: quotaV17()}
	return map[string]state.Envelope{"apply-cluster": e,
		"set-quota": {Request: "r-set-quota", UnixMilli: 1795250000123, Command: quota}}
}

func quotaV17() state.Quota { return state.Quota{Nodes: 10, VCPUs: 40, MemoryMB: 65536, DiskGB: 400} }

// dumpV17 is the state in the golden snapshot of version 17.
func dumpV17() state.Dump {
	d := dumpV13()
	for _, n := range d.Nodes {
		n.Anew = true
	}
	d.Quotas = []*state.QuotaRow{{Cluster: "demo", Quota: quotaV17(), ModifyIndex: 42}}
	return d
}
