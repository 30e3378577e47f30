package raftfsm

import "tenks/raftfsm/state"

// samplesV4 has the kinds and the fields that came with the rotation of keys. It stays
// as it is, like samplesV1.
func samplesV4() map[string]state.Envelope {
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{
		state.PutKeys{Keys: keysV4(), Expect: 6},
		state.DropTokens{IDs: []string{"t1", "t2"}},
	} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func keysV4() state.Keys {
	k := keysV2()
	k.Authorities[0].AddedMilli, k.Authorities[0].RetiredMilli, k.Authorities[0].Forced = 1795250000001, 1795250000002, true
	k.Gossip[0].Since, k.Gossip[0].AddedMilli, k.Gossip[0].Retired, k.Gossip[0].Forced = 4, 1795250000003, true, true
	return k
}

// dumpV4 is the state in the golden snapshot of version 4.
func dumpV4() state.Dump {
	d := dumpV3()
	keys := keysV4()
	d.Keys = &keys
	return d
}
