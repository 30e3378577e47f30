package raftfsm

import "tenks/raftfsm/state"

// samplesV6 has the kinds and the fields that came with faults and audits of BMCs. It
// stays as it is, like samplesV1.
func samplesV6() map[string]state.Envelope {
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{
		state.AddFault{Fault: faultV6()},
		state.EndFaults{IDs: []string{"f1", "f2"}, Expired: true},
		state.SetAudit{Nodes: []string{"u1", "u2"}, On: true},
		state.ApplyCluster{Cluster: samplesV5()["apply-cluster"].Command.(state.ApplyCluster).Cluster, Expect: 7, Create: []state.Node{nodeV6()},
			Change: samplesV5()["apply-cluster"].Command.(state.ApplyCluster).Change, Remove: []state.NodeRemoval{{UUID: "u3", Force: true, Forget: true}}},
	} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func faultV6() state.Fault {
	return state.Fault{ID: "f1", Kind: state.FaultError, Nodes: []string{"u1"}, Clusters: []string{"demo"}, Hypervisors: []string{"h1"},
		Protocol: "ipmi", Call: "chassis control", SharePPM: 300_000, Seed: 42, DelayMilli: 5000, Code: 0xd5, ForMilli: 600_000,
		AddedMilli: 1795250000123, CreateIndex: 41}
}

func nodeV6() state.Node {
	n := nodeV5()
	n.Audit = true
	return n
}

// dumpV6 is the state in the golden snapshot of version 6.
func dumpV6() state.Dump {
	d := dumpV5()
	node, fault := nodeV6(), faultV6()
	d.Nodes, d.Faults = []*state.Node{&node}, []*state.Fault{&fault}
	return d
}

// partV6 has the fields of a part that came with faults.
func partV6() Part {
	fault := faultV6()
	return Part{Index: 42, Since: 40, Mesh: &state.Mesh{ID: "m1", Name: "lab", Generation: 1},
		Faults: &state.FaultList{Faults: []*state.Fault{&fault}}}
}
