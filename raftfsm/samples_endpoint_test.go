package raftfsm

import "tenks/raftfsm/state"

// samplesV20 has BMCs whose endpoint follows their host's. It stays as it is, like samplesV1.
func samplesV20() map[string]state.Envelope {
	e := samplesV15()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	apply.Change[0].Endpoint = &state.Endpoint{Address: "192.0.2.12", Port: 7000}
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e}
}

// dumpV20 is the state in the golden snapshot of version 20: as before.
func dumpV20() state.Dump { return dumpV15() }
