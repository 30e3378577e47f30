package raftfsm

import "tenks/raftfsm/state"

// samplesV23 has nodes that are pinned to a peer, and a drain that asks about them. It stays
// as it is, like samplesV1.
func samplesV23() map[string]state.Envelope {
	e := samplesV21()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	to := "hv2"
	apply.Create[0].Pin, apply.Change[0].Pin = "hv1", &to
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e,
		"drain-peer": {UnixMilli: 1795250000123, Command: state.DrainPeer{ID: "hv1", Draining: true, StopMilli: 120_000, Pins: state.PinsRefuse}}}
}

// dumpV23 is the state in the golden snapshot of version 23.
func dumpV23() state.Dump {
	d := dumpV21()
	for _, n := range d.Nodes {
		n.Pin = "hv1"
	}
	return d
}
