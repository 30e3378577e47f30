package raftfsm

import "tenks/raftfsm/state"

// samplesV3 has the kinds and the fields that came with moves. It stays as it is, like
// samplesV1.
func samplesV3() map[string]state.Envelope {
	commands := []state.Command{
		state.ApplyCluster{Cluster: clusterV1(), Expect: 7, Create: []state.Node{nodeV3()},
			Change: []state.NodeChange{changeV1()}, Remove: []state.NodeRemoval{{UUID: "u3", Force: true, Forget: true}}},
		state.AdmitPeer{Peer: peerV3(), Token: "t1", Hash: tokenV2().Hash},
		state.PutPeer{Peer: peerV3()},
		state.DrainPeer{ID: "p1", Draining: true, StopMilli: 120000},
		state.StartMoves{Moves: []state.NodeMove{{UUID: "u1", Epoch: 9, To: "h2", BMC: state.Endpoint{Address: "192.0.2.12", Port: 6230}}},
			Waits: []state.NodeWait{{UUID: "u2", Epoch: 10, Reason: "it is on"}}},
		state.ReportMoves{Hypervisor: "h2", Moves: []state.MoveReport{{UUID: "u1", Start: 11, Done: 5, Total: 10, Error: "hv1 does not answer"}}},
		state.FinishMove{UUID: "u1", Start: 11},
		state.CancelMoves{Moves: []state.MoveCancel{{UUID: "u1", Start: 11, Reason: "hv2 is lost"}}},
		state.ReportDiscarded{Hypervisor: "h1", Nodes: []string{"u1"}},
	}
	out := map[string]state.Envelope{}
	for _, c := range commands {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func nodeV3() state.Node {
	n := nodeV2()
	n.Discard = []string{"h0"}
	n.Move = &state.Move{To: "h2", Name: "hv2", BMC: state.Endpoint{Address: "192.0.2.12", Port: 6230}, Start: 11, Done: 5, Total: 10, Error: "hv1 does not answer"}
	return n
}

func peerV3() state.Peer {
	p := peerV2()
	p.StopMilli = 120000
	return p
}

// dumpV3 is the state in the golden snapshot of version 3.
func dumpV3() state.Dump {
	d := dumpV2()
	node, peer := nodeV3(), peerV3()
	d.Nodes, d.Peers = []*state.Node{&node}, []*state.Peer{&peer}
	return d
}
