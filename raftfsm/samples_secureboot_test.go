package raftfsm

import "tenks/raftfsm/state"

// samplesV10 has Secure Boot and TPMs, which came after version 8. It stays as it is, like
// samplesV1.
func samplesV10() map[string]state.Envelope {
	e := samplesV8()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	for _, m := range []*state.Machine{&apply.Create[0].Machine, &apply.Change[0].Machine} {
		m.SecureBoot, m.TPM = true, "2.0"
	}
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e}
}

// dumpV10 is the state in the golden snapshot of version 10.
func dumpV10() state.Dump {
	d := dumpV8()
	for _, n := range d.Nodes {
		n.Machine.SecureBoot, n.Machine.TPM = true, "2.0"
	}
	return d
}
