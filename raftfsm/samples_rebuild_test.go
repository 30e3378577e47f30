package raftfsm

import "tenks/raftfsm/state"

// samplesV5 has the fields that came with nodes that are made anew when their host is
// lost. It stays as it is, like samplesV1.
func samplesV5() map[string]state.Envelope {
	cluster, change := clusterV1(), changeV1()
	cluster.Specs[0].StopAfterMilli, change.StopAfterMilli = 30000, 45000
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{
		state.ApplyCluster{Cluster: cluster, Expect: 7, Create: []state.Node{nodeV5()},
			Change: []state.NodeChange{change}, Remove: []state.NodeRemoval{{UUID: "u3", Force: true, Forget: true}}},
		state.ReportHost{Hypervisor: "h1", Nodes: []state.NodeHostReport{{UUID: "u1", Epoch: 9, Status: nodeV5().Host}}},
		state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: "u1", Epoch: 9, Reason: "its hypervisor hv1 is lost", LostIndex: 8}}},
	} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func nodeV5() state.Node {
	n := nodeV3()
	n.StopAfterMilli, n.Host.StopAfterMilli = 30000, 15000
	return n
}

// dumpV5 is the state in the golden snapshot of version 5.
func dumpV5() state.Dump {
	d := dumpV4()
	node := nodeV5()
	d.Nodes = []*state.Node{&node}
	return d
}
