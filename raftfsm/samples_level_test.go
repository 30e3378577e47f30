package raftfsm

import "tenks/raftfsm/state"

// samplesV22 has levels. It stays as it is, like samplesV1.
func samplesV22() map[string]state.Envelope {
	return map[string]state.Envelope{"raise-level": {Request: "r-raise-level", UnixMilli: 1795250000123, Command: state.RaiseLevel{Level: 1}}}
}

// dumpV22 is the state in the golden snapshot of version 22.
func dumpV22() state.Dump {
	d := dumpV21()
	d.Level = &state.Level{Number: 1, Index: 42}
	return d
}

// partV22 is a part of a mesh with a level.
func partV22() Part {
	p := partV13()
	p.Level = &state.Level{Number: 1, Index: 42}
	return p
}
